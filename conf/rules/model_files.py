"""The model's files in a service's folder, as facts that rules judge, and the inputs and outputs of an ONNX file's graph.

A graph is read without onnxruntime and without its weights: by the encoding of protobuf, and the few fields of ONNX that lead
to inputs and outputs. Others are skipped, so that a file of any size costs a few reads.
Sources: Protocol Buffers' encoding guide, and onnx.proto for ModelProto, GraphProto, ValueInfoProto and TypeProto.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serving.settings import UnreadableError, text_of
from serving.settings.model_files import pointed_size

MAX_FILES = 10_000  # Entries of model/.
MAX_REQUIREMENTS = 256  # KiB
MAX_FIELDS = 500_000  # About a second of work. A large model has some ten thousand fields.
MAX_NAME = 200  # Bytes of a name that are kept.
MAX_DEPTH = 4  # Levels of kinds within kinds that are named.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # The wire types. ONNX does not use groups, 3 and 4.
GRAPH = 7  # A field of ModelProto.
INPUT, OUTPUT = 11, 12  # Fields of GraphProto.
NAME, TYPE = 1, 2  # Fields of ValueInfoProto.
TENSOR, SEQUENCE, MAP, OPTIONAL = 1, 4, 5, 9  # Fields of TypeProto.
SHAPE, AXIS = 2, 1  # Fields of TypeProto.Tensor and of TensorShapeProto.
FIXED_SIZE = b"\x08"  # The tag of a size in an axis. Another field is the name of an open one.
KINDS = {TENSOR: "tensor", SEQUENCE: "sequence", MAP: "map", 7: "opaque value", 8: "sparse tensor", OPTIONAL: "optional value"}
INSIDE = 1  # The field of a sequence or an optional value that holds the kind of its content.


class GraphError(ValueError):
    """The file is not an ONNX model, or not a complete one. The text says why."""


class GraphTooLarge(Exception):
    """The file has more than MAX_FIELDS fields."""


@dataclass(frozen=True)
class Value:
    """An input or output of a graph. role: "input" or "output". kind: as "tensor" or "sequence of maps", "" for unknown.

    shape: of a tensor. An axis that is left open counts as 1.
    """

    role: str
    name: str
    kind: str
    shape: tuple[int, ...] = ()


def values_of(path: Path) -> tuple[Value, ...]:
    """Return the inputs and outputs of the graph in an ONNX file. Raises GraphError, GraphTooLarge and OSError."""
    with path.open("rb") as file:
        reader = _Reader(file)
        found = list(reader.values(path.stat().st_size))
    if not reader.has_graph:
        raise GraphError("it holds no graph")
    return tuple(found)


class _Reader:
    """Walks through a file's fields. Each method reads one message and leaves the file at the message's end, the byte `end`."""

    def __init__(self, file: BinaryIO):
        self._file, self._left, self.has_graph = file, MAX_FIELDS, False

    def values(self, end: int) -> Iterator[Value]:
        for number, size in self._fields(end):
            if number == GRAPH:
                self.has_graph = True
                yield from self._graph(self._file.tell() + size)

    def _graph(self, end: int) -> Iterator[Value]:
        for number, size in self._fields(end):
            if number in (INPUT, OUTPUT):
                yield self._value("input" if number == INPUT else "output", self._file.tell() + size)

    def _value(self, role: str, end: int) -> Value:
        name, kind, shape = "", "", list[int]()
        for number, size in self._fields(end):
            if number == NAME:
                name = self._file.read(min(size, MAX_NAME)).decode(errors="replace")
            elif number == TYPE:
                start = self._file.tell()
                kind = self._kind(start + size, MAX_DEPTH)
                self._file.seek(start)
                shape = list(self._shape(start + size, (TENSOR, SHAPE, AXIS)))
        return Value(role, name, kind, tuple(shape))

    def _shape(self, end: int, path: tuple[int, ...]) -> Iterator[int]:
        """Yield the size of each axis. path: the fields that lead to an axis."""
        if not path:
            size = self._varint() if self._file.read(1) == FIXED_SIZE else 1
            yield size if size < 2**63 else 1  # exporters write -1 for an open size, too
            return
        for number, size in self._fields(end):
            if number == path[0]:
                yield from self._shape(self._file.tell() + size, path[1:])

    def _kind(self, end: int, deepest: int) -> str:
        kind = ""
        for number, size in self._fields(end):
            if number in KINDS:
                kind = KINDS[number]
                if number in (SEQUENCE, OPTIONAL) and deepest:
                    first, of, rest = self._inside(self._file.tell() + size, deepest).partition(" of ")
                    kind += f" of {first}s{of}{rest}"
        return kind

    def _inside(self, end: int, deepest: int) -> str:
        kind = ""
        for number, size in self._fields(end):
            if number == INSIDE:
                kind = self._kind(self._file.tell() + size, deepest - 1)
        return kind or "value"

    def _fields(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield number and size of each field of bytes in a message. The file stands at the field's first byte meanwhile."""
        file = self._file
        while (at := file.tell()) < end:
            self._left -= 1
            if not self._left:
                raise GraphTooLarge
            tag = self._varint()
            number, wire = tag >> 3, tag & 7
            if number == 0 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
                raise GraphError(f"byte {at} begins no field of a model")
            size = {FIXED64: 8, FIXED32: 4}.get(wire, 0) if wire != BYTES else self._varint()
            if wire == VARINT:
                self._varint()
            start = file.tell()
            if start + size > end:
                raise GraphError(f"it is cut short: a field at byte {at} has {size} bytes, and {end - start} are left")
            if wire == BYTES:
                yield number, size
            file.seek(start + size)

    def _varint(self) -> int:
        """Return a whole number of at most ten bytes, which hold seven bits each, the lowest first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise GraphError("it is cut short: it ends within a field")
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
        raise GraphError(f"the number that ends at byte {self._file.tell()} is longer than any")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a service's model."""

    path: str = ""
    there: bool = False  # Whether the path is a file.
    pointer: bool = False  # Whether Git LFS has not fetched a file.
    parts: tuple[str, ...] = ()  # The files that the model is split into.
    checksums: bool = False  # Whether a .sha256 lies beside it.
    size: int = 0  # Bytes, with files beside it that hold its weights. A pointer counts as the file that it stands for.
    made: bool = False  # Whether model/Makefile can make it.
    values: tuple[Value, ...] = ()  # The inputs and outputs of its graph.
    broken: str = ""  # Why it is not an ONNX model.
    unread: str = ""  # Why its graph was not read, though the file may be right.
    others: int = 0  # Bytes of further ONNX files in model/.
    requirements: tuple[str, ...] = ()  # The lines of src/requirements.txt.
    folder: bool = False  # Whether the path is a folder.
    inside: tuple[str, ...] = ()  # The ONNX files in that folder.


def model_files(service: Path, model_path: str) -> ModelFiles:
    """Return the files of a service's model. Parts of a model are called model.onnx-aa, -ab and so on."""
    path = service / model_path
    around = list(path.parent.iterdir()) if model_path and path.parent.is_dir() else []
    family = sorted(item for item in around if item.is_file() and item.name.startswith(path.name))
    parts = tuple(item.name for item in family if item.name.startswith(f"{path.name}-"))
    values, broken, unread = _graph(path) if path in family and pointed_size(path) is None else ((), "", "")
    others = _onnx_files(service / "model")
    return ModelFiles(
        path=model_path,
        there=path in family,
        pointer=any(pointed_size(item) is not None for item in family),
        parts=parts,
        checksums=(path.parent / f"{path.name}.sha256").is_file(),  # "" in "." has no name to replace
        size=sum(map(_size, family)),
        made=(service / "model" / "Makefile").is_file(),
        values=values,
        broken=broken,
        unread=unread,
        others=sum(map(_size, others.difference(family))),
        requirements=_lines(service / "src" / "requirements.txt"),
        folder=path.is_dir() and bool(model_path),
        inside=tuple(sorted(str(item.relative_to(service)) for item in others if item.is_relative_to(path))),
    )


def _onnx_files(folder: Path) -> set[Path]:
    """Return the ONNX files among the first MAX_FILES entries of a folder, which may be a link to a whole disk."""
    found: set[Path] = set()
    seen = 0
    for place, _, names in os.walk(folder):
        found.update(Path(place, name) for name in names if ".onnx" in name and not name.endswith(".sha256"))
        seen += 1 + len(names)
        if seen > MAX_FILES:
            break
    return {item for item in found if item.is_file()}


def _size(path: Path) -> int:
    pointed = pointed_size(path)
    return path.stat().st_size if pointed is None else pointed


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(text_of(path, MAX_REQUIREMENTS).splitlines())
    except UnreadableError:
        return ()


def _graph(path: Path) -> tuple[tuple[Value, ...], str, str]:
    """Return the inputs and outputs of a model's graph, why it is not an ONNX model, and why it was not read."""
    if path.suffix == ".ort":
        return (), "", "it is in onnxruntime's own format"
    try:
        return values_of(path), "", ""
    except GraphError as error:
        return (), str(error), ""
    except GraphTooLarge:
        return (), "", "it has too many parts"
    except OSError as error:
        return (), "", str(error.strerror)
