"""The one reader of configuration files: value.py, regions.yaml and alerts.yaml become values, or every mistake with its line.

Each file's parser turns its text into plain values with lines. Their dataclasses declare what a field allows by `setting`.
"""

import ast
import difflib
import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from serving.settings.validators import Validator

MAX_SEARCHES = 200  # for one file: each takes about a millisecond, and a file may hold thousands of wrong names
MAX_SUGGESTED = 100  # characters; for a longer name or value nothing is suggested
REQUIRED: Any = object()
FILE_TYPES = {stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


@dataclass(frozen=True)
class Table:
    """The form of a value that is a dataclass of settings."""

    type: type


@dataclass(frozen=True)
class List:
    """The form of a value that is a list of tables."""

    type: type


@dataclass(frozen=True)
class Named:
    """The form of a table of tables. Each stands under a name, which `key` validates and which becomes its field `name`."""

    type: type
    key: Validator


Form = Validator | Table | List | Named


@dataclass(frozen=True)
class Node:
    """A value of a file and its line. value: a text, number or flag, a list of nodes, or a dict from text to node."""

    value: Any
    line: int

    def plain(self) -> Any:
        """Return the value without its lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


class ConfigError(Exception):
    """A configuration file cannot be used. mistakes: one sentence each, as `alerts.yaml:7: what is wrong; what to do`."""

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


class UnreadableError(Exception):
    """The file cannot be read as text. The message continues a sentence that begins with the file's name."""


def setting(default: Any, form: Form, meaning: str, *, unit: str = "", deprecation: str = "", group: str = "") -> Any:
    """Declare one setting as a field of a dataclass. default: REQUIRED where the file must set it.

    deprecation: the warning for a file that still sets it. group: the title of the group that this setting begins.
    """
    metadata = {"form": form, "meaning": meaning, "unit": unit, "deprecation": deprecation, "group": group}
    if default is REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def text_of(path: Path, most: int) -> str:
    """Return the text of a UTF-8 file, without its byte order mark. most: the largest size, KiB.

    Raises UnreadableError where the file is missing, too large, not UTF-8 text, or not a regular file. A named pipe or a
    device is refused at once: reading it might never end.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            file_type = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
            if file_type != stat.S_IFREG:
                raise UnreadableError(f"is {FILE_TYPES.get(file_type, 'not a file')}, and only a regular file is read")
            content = file.read(most * 1024 + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from None
    if len(content) > most * 1024:
        raise UnreadableError(f"has more than {most} KiB, and no more are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None


class Nearest:
    """Finds the nearest known name for the first MAX_SEARCHES wrong names of one file."""

    def __init__(self) -> None:
        self._searches = 0

    def to(self, name: str, known: Iterable[str]) -> str:
        """Return the known name that is most like `name`, or "" where none is like it or no search is left."""
        if self._searches >= MAX_SEARCHES or len(name) > MAX_SUGGESTED:
            return ""
        self._searches += 1
        return next(iter(difflib.get_close_matches(name, known, 1)), "")


class Reader:
    """Turns the nodes of one file into values, and collects its mistakes.

    mistakes: (line, message) each, line 0 for the file as a whole. lines: of each value, by its path such as "regions.hk.gpu".
    """

    def __init__(self, file: str, mistakes: Iterable[tuple[int, str]] = ()):
        self.file, self.mistakes, self.nearest = file, list(mistakes), Nearest()
        self.lines: dict[str, int] = {}
        self.optional: Collection[str] = ()  # names that are passed over where they are not known

    def add(self, line: int, message: str) -> None:
        self.mistakes.append((line, message))

    def add_at(self, path: str, message: str) -> None:
        """Add a mistake at the line of a path, or of the nearest table around it that the file holds."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        self.add(self.lines.get(path, 0), message)

    def sentences(self, found: Iterable[tuple[int, str]] | None = None) -> list[str]:
        """Return mistakes, or other messages, in the order of their lines. Each begins with the file and the line."""
        told = sorted(set(self.mistakes if found is None else found))
        return [f"{self.file}:{line}: {text}" if line else f"{self.file}: {text}" for line, text in told]

    def convert(self, validator: Validator, value: Any, path: str, unit: str = "") -> Any:
        """Return a plain value as its field's type, None after a mistake. path: its place, whose line is known."""
        try:
            return validator.convert(value)
        except (ValueError, TypeError, OverflowError):
            allowed = validator.allowed + (f" ({unit})" if unit else "")
            self.add_at(path, f"{path} is {_shown(value)}, but must be {allowed}{_suggested(validator, value)}")
            return None

    def read(self, form: Form, node: Node, path: str = "") -> Any:
        """Return the value of a node; None where it has a mistake, which is added to mistakes."""
        self.lines[path] = node.line
        if isinstance(form, Validator):
            return self.convert(form, node.plain(), path)
        if isinstance(form, List):
            return self._list(form, node, path)
        if not isinstance(node.value, dict):
            self.add_at(path, f"{path or 'the file'} must be a table of {', '.join(_known(form.type))}")
            return None
        return self._named(form, node.value, path) if isinstance(form, Named) else self._table(form.type, node.value, path)

    def _list(self, form: List, node: Node, path: str) -> tuple[Any, ...] | None:
        if not isinstance(node.value, list):
            self.add_at(path, f"{path} must be a list of tables, each of {', '.join(_known(form.type))}")
            return None
        return tuple(self.read(Table(form.type), item, f"{path}[{index}]") for index, item in enumerate(node.value))

    def _named(self, form: Named, nodes: Mapping[str, Node], path: str) -> dict[str, Any]:
        found = {}
        for key, node in nodes.items():
            inner = f"{path}.{key}"
            self.lines[inner] = node.line
            valid = self.convert(form.key, key, inner)
            if not isinstance(node.value, dict):
                self.add_at(inner, f"{inner} must be a table of {', '.join(_known(form.type))}")
            elif valid:
                found[key] = self._table(form.type, node.value, inner, {"name": key})
        return found

    def _table(self, type_: type, nodes: Mapping[str, Node], path: str, given: Mapping[str, str] | None = None) -> Any:
        known, values, before = _known(type_), dict[str, Any](given or {}), len(self.mistakes)
        for key, node in nodes.items():
            inner = f"{path}.{key}" if path else key
            self.lines[inner] = node.line
            if key in known:
                values[known[key].name] = self.read(known[key].metadata["form"], node, inner)
            elif key not in self.optional:
                near = self.nearest.to(key, known)
                cure = f"did you mean {near!r}?" if near else f"the settings here are {', '.join(known)}"
                self.add(node.line, f"no setting {key!r} here; {cure}")
        for key, about in known.items():
            if key not in nodes and about.default is MISSING and about.default_factory is MISSING:
                self.add_at(path, f"{path}{'.' * bool(path)}{key} is missing; add {key}: {_example(about)}")
        return type_(**values) if len(self.mistakes) == before else None


def _known(type_: type) -> dict[str, Field[Any]]:
    """Return a dataclass's settings by their names in the file. The field `for_` is `for` there, a keyword of Python."""
    return {each.name.rstrip("_"): each for each in fields(type_) if "form" in each.metadata}


def _example(about: Field[Any]) -> str:
    form, meaning = about.metadata["form"], about.metadata["meaning"]
    words = meaning.rstrip(".") if meaning[1].isupper() else f"{meaning[0].lower()}{meaning[1:].rstrip('.')}"
    return f"{form.example if isinstance(form, Validator) else '...'} ({words})"


def _shown(value: object) -> str:
    try:
        shown = "nothing" if value is None else repr(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _suggested(validator: Validator, value: Any) -> str:
    """Return a suggestion for a literal that is not allowed, as the end of a sentence, or "" where there is none."""
    if isinstance(value, str) and len(value) > MAX_SUGGESTED:
        return ""
    with suppress(ValueError, SyntaxError):  # the value cannot be written out, or the string is not a literal
        near = next((meant for meant in validator.near(value) if _is_allowed(validator, meant)), None)
        if near is not None:
            return f"; did you mean {_literal(near)}?" if len(_literal(near)) <= MAX_SUGGESTED else ""
        if isinstance(value, str) and _is_allowed(validator, ast.literal_eval(value)):
            return f"; drop the quotes: {value}"
    return ""


def _is_allowed(validator: Validator, value: Any) -> bool:
    try:
        validator.convert(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')
