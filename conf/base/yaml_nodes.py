"""YAML as plain values that know their lines. The only module that imports yaml."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import yaml

from serving.settings.reader import ConfigError, Node, Reader, Table

MAX_DEPTH = 20
MAX_NUMBER = 100  # characters: YAML reads 9:9:9 as a number of base 60, and a long one takes half a minute
TEXT = "tag:yaml.org,2002:str"
SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool")}

LineMistakes = list[tuple[int, str]]
Form = TypeVar("Form")


def compose(text: str) -> tuple[Node | None, LineMistakes]:
    """Return the root of one document, None where it cannot be read, and all mistakes of syntax as (line, message)."""
    try:
        refused = _refused(text)
        if refused:
            return None, [refused]
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return None, [(line, f"not YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [(1, f"not YAML: {str(error).splitlines()[0]}")]
    if root is None:
        return None, [(1, "the file is empty")]
    mistakes: LineMistakes = []
    return _node(root, mistakes), mistakes


def read_table(
    file: str, text: str, form: type[Form], judge: Callable[[Form], Iterable[tuple[str, str]]] = lambda _: ()
) -> tuple[Form, Mapping[str, int]]:
    """Return the table in a file's text, and the line of each value by its path. file: its name in mistakes.

    judge: returns the mistakes between fields that are right by themselves, each with the path of its value. Where the form has
    a field `optional`, the file lists there which names are passed over where they are not known.
    Raises ConfigError with every mistake.
    """
    root, mistakes = compose(text)
    reader = Reader(file, mistakes)
    if root and isinstance(root.value, dict) and "optional" in getattr(form, "__dataclass_fields__", {}):
        listed = root.value["optional"].plain() if "optional" in root.value else ()
        reader.optional = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else ()
    found = reader.read(Table(form), root) if root else None
    if isinstance(found, form):
        for path, message in judge(found):
            reader.add_at(path, message)
    if reader.mistakes or not isinstance(found, form):
        raise ConfigError(reader.sentences())
    return found, reader.lines


def documents(text: str) -> list[Any]:
    """Return the values of all documents of a rendered text."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document is not None]


class _Dumper(yaml.SafeDumper):
    """Writes a value out wherever it stands, since anchors and aliases are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(value: Any) -> str:
    """Return plain values as YAML, tables in their own order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _refused(text: str) -> tuple[int, str] | None:
    """Return the line and the message of what no file may hold. Only the parser looks, since the composer calls itself."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return _line(event), f"nested more than {MAX_DEPTH} deep"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return _line(event), "anchors (&) and aliases (*) may not stand here: write the value out"
    return None


def _line(item: Any) -> int:
    return int(item.start_mark.line) + 1


def _node(node: Any, mistakes: LineMistakes) -> Node:
    if isinstance(node, yaml.MappingNode):
        return Node(_table(node, mistakes), _line(node))
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(item, mistakes) for item in node.value], _line(node))
    return Node(_scalar(node, mistakes), _line(node))


def _table(node: Any, mistakes: LineMistakes) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in node.value:
        if key.tag != TEXT:
            mistakes.append((_line(key), "a name must be a text: put it in quotes"))
        elif key.value in found:
            mistakes.append((_line(key), f"{key.value!r} is already set on line {found[key.value].line}; keep one of the two"))
        else:
            found[key.value] = Node(_node(value, mistakes).value, _line(key))
    return found


def _scalar(node: Any, mistakes: LineMistakes) -> Any:
    """Return a text, number or flag; None for null. Anything else, such as a date, is the text that stands there."""
    if node.tag == TEXT:
        return node.value
    if node.tag in SCALARS:
        try:
            if len(node.value) > MAX_NUMBER:
                raise ValueError
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, KeyError, OverflowError, IndexError):
            mistakes.append((_line(node), f"{node.value[:40]!r} is not a value that YAML can read: put it in quotes"))
            return ""
    return None if node.tag.endswith(":null") else node.value
