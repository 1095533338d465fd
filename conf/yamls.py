"""YAML as plain values that know their line. The only module that imports yaml.

Knows YAML's syntax. Does not know what a file means.
"""

from dataclasses import dataclass
from typing import Any

import yaml

LARGEST_FILE = 1024 * 1024  # characters: a file of settings is written by hand
DEEPEST = 20
SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool")}

Mistakes = list[tuple[int, str]]


@dataclass(frozen=True)
class Node:
    """A value at a line. value: a text, number or flag, a list of nodes, or a dict from text to node."""

    value: Any
    line: int

    def plain(self) -> Any:
        """Return the value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


def compose(text: str) -> tuple[Node | None, Mistakes]:
    """Read one document and every mistake of syntax; no node where nothing can be made of the text."""
    if len(text) > LARGEST_FILE:
        return None, [(1, f"the file has {len(text)} characters, at most {LARGEST_FILE} are read")]
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                return None, [(_line(event), "anchors (&) and aliases (*) may not stand here: write the value out")]
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return None, [(line, f"not YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [(1, f"not YAML: {str(error).splitlines()[0]}")]
    if root is None:
        return None, [(1, "the file is empty")]
    mistakes: Mistakes = []
    return _node(root, mistakes, DEEPEST), mistakes


def documents(text: str) -> list[Any]:
    """Return the values of all documents of rendered text."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document is not None]


def _line(item: Any) -> int:
    return int(item.start_mark.line) + 1


def _node(node: Any, mistakes: Mistakes, depth: int) -> Node:
    if depth == 0:
        mistakes.append((_line(node), f"nested more than {DEEPEST} deep"))
        return Node("", _line(node))
    if isinstance(node, yaml.MappingNode):
        return Node(_table(node, mistakes, depth), _line(node))
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(item, mistakes, depth - 1) for item in node.value], _line(node))
    return Node(_scalar(node, mistakes), _line(node))


def _table(node: Any, mistakes: Mistakes, depth: int) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            mistakes.append((_line(key), "a name must be a text: put it in quotes"))
        elif key.value in found:
            mistakes.append((_line(key), f"{key.value!r} is set on line {found[key.value].line} already; keep one of the two"))
        else:
            found[key.value] = Node(_node(value, mistakes, depth - 1).value, _line(key))
    return found


def _scalar(node: Any, mistakes: Mistakes) -> Any:
    """Return a text, number or flag; None where YAML reads something else, which no kind of value allows."""
    if node.tag in SCALARS:
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, KeyError, OverflowError, IndexError):
            mistakes.append((_line(node), f"{node.value[:40]!r} is no value that YAML can read: put it in quotes"))
            return ""
    return None if node.tag.endswith(":null") else node.value
