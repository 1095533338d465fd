"""A YAML file of settings, read into frozen dataclasses. All mistakes are collected, each with file and line.

Knows dataclasses whose fields were declared by yaml_field. Does not know what a field is for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from conf.base.yamls import Node
from serving.settings import Nearest
from serving.settings.nearest import nearest_value
from serving.settings.validators import Validator


@dataclass(frozen=True)
class Table:
    """The spec of a value that is a dataclass of such fields."""

    type: type


@dataclass(frozen=True)
class List:
    """The spec of a value that is a list of tables."""

    type: type


@dataclass(frozen=True)
class Named:
    """The spec of a value that is a table of tables, each under a name that becomes its field `name`. key: the name's kind."""

    type: type
    key: Validator


Spec = Validator | Table | List | Named


class FileError(Exception):
    """A file cannot be used. mistakes: one sentence each, as `alerts.yaml:7: what is wrong; what to do`."""

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


def yaml_field(spec: Spec, meaning: str, default: Any = MISSING) -> Any:
    """Declare a field of a dataclass: what it allows, a sentence on its meaning, and its default if it may be left out."""
    about = {"spec": spec, "meaning": meaning}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=about)
    return field(default=default, metadata=about)


class Reader:
    """Turns nodes into values, and collects mistakes.

    mistakes: (line, message) each. lines: the line of each value, by its path such as "regions.hk.gpu".
    """

    def __init__(self, file: str, mistakes: Iterable[tuple[int, str]] = ()):
        self.file, self.mistakes, self.lines = file, list(mistakes), {"": 1}
        self._nearest = Nearest()

    def add_mistake(self, path: str, message: str) -> None:
        """Add a mistake at the line of a path, or of the nearest table around it that the file holds."""
        while path not in self.lines:
            path = path.rpartition(".")[0]
        self.mistakes.append((self.lines[path], message))

    def sentences(self) -> list[str]:
        return [f"{self.file}:{line}: {text}" for line, text in sorted(set(self.mistakes))]

    def read(self, spec: Spec, node: Node, path: str) -> Any:
        """Return the value of a node; None where it has a mistake, which is added to mistakes."""
        self.lines[path] = node.line
        if isinstance(spec, Validator):
            return self._convert(spec, node, path)
        if isinstance(spec, List):
            return self._list(spec, node, path)
        if not isinstance(node.value, dict):
            self.add_mistake(path, f"{path or 'the file'} must be a table of {self._names(spec.type)}")
            return None
        return self._named(spec, node.value, path) if isinstance(spec, Named) else self._table(spec.type, node.value, path)

    def _convert(self, kind: Validator, node: Node, path: str) -> Any:
        value = node.plain()
        try:
            return kind.convert(value)
        except (ValueError, TypeError, OverflowError):
            shown = "nothing" if value is None else repr(value)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            self.add_mistake(path, f"{path} is {shown}, but must be {kind.allowed}{nearest_value(kind, value)}")
            return None

    def _list(self, spec: List, node: Node, path: str) -> tuple[Any, ...] | None:
        if not isinstance(node.value, list):
            self.add_mistake(path, f"{path} must be a list of tables, each of {self._names(spec.type)}")
            return None
        return tuple(self.read(Table(spec.type), item, f"{path}[{index}]") for index, item in enumerate(node.value))

    def _named(self, spec: Named, nodes: Mapping[str, Node], path: str) -> dict[str, Any]:
        found = {}
        for key, node in nodes.items():
            inner = f"{path}.{key}"
            self.lines[inner] = node.line
            if self._convert(spec.key, Node(key, node.line), inner) and isinstance(node.value, dict):
                found[key] = self._table(spec.type, node.value, inner, key)
            elif not isinstance(node.value, dict):
                self.add_mistake(inner, f"{inner} must be a table of {self._names(spec.type)}")
        return found

    def _table(self, type_: type, nodes: Mapping[str, Node], path: str, name: str = "") -> Any:
        known: dict[str, Field[Any]] = {_name_in_file(f): f for f in fields(type_) if "spec" in f.metadata}
        values: dict[str, Any] = {"name": name} if name else {}
        before = len(self.mistakes)
        for key, node in nodes.items():
            inner = f"{path}.{key}" if path else key
            self.lines[inner] = node.line
            if key in known:
                values[known[key].name] = self.read(known[key].metadata["spec"], node, inner)
            else:
                near = self._nearest.to(key, known)
                cure = f"did you mean {near!r}?" if near else f"known are {self._names(type_)}"
                self.add_mistake(inner, f"no field {key!r} here; {cure}")
        for key in known:
            if key not in nodes and known[key].default is MISSING and known[key].default_factory is MISSING:
                where = f"{path} has no {key}" if path else f"{key} is missing"
                self.add_mistake(path, f"{where}: {self._cure(key, known[key])}")
        return type_(**values) if len(self.mistakes) == before else None

    def _cure(self, key: str, about: Field[Any]) -> str:
        spec = about.metadata["spec"]
        meaning, example = about.metadata["meaning"], spec.example if isinstance(spec, Validator) else "..."
        return f"add {key}: {example} ({meaning[0].lower()}{meaning[1:].rstrip('.')})"

    def _names(self, type_: type) -> str:
        return ", ".join(_name_in_file(f) for f in fields(type_) if "spec" in f.metadata)


def _name_in_file(about: Field[Any]) -> str:
    """Return a field's name in the file: the field `for_` is `for` there, which is a keyword of Python."""
    return about.name.rstrip("_")
