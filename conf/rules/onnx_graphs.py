"""The inputs and outputs of an ONNX file's graph, read without its weights.

Knows the bytes of protobuf and the few fields of ONNX that lead there. All else is skipped by a seek, so that a file of any
size costs a few reads. Does not know onnxruntime, nor which values can be served.
Sources: Protocol Buffers' encoding guide; onnx.proto for the fields of ModelProto, GraphProto, ValueInfoProto and TypeProto.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_FIELDS = 500_000  # a bound on time, about a second; a large model has some ten thousand
LONGEST_NAME = 200  # bytes that are kept
DEEPEST = 4  # kinds within kinds that are named
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields on the wire; the groups 3 and 4 are no part of ONNX
GRAPH = 7  # of a model
INPUT, OUTPUT = 11, 12  # of a graph
NAME, TYPE = 1, 2  # of a value
TENSOR, SEQUENCE, MAP, OPTIONAL = 1, 4, 5, 9  # of a type
KINDS = {TENSOR: "tensor", SEQUENCE: "sequence", MAP: "map", 7: "opaque value", 8: "sparse tensor", OPTIONAL: "optional value"}
INSIDE = 1  # of a sequence or an optional value: the kind of what is inside


class GraphError(ValueError):
    """The file is no ONNX model, or not a whole one. The text says why."""


class GraphTooLarge(Exception):
    """The file has more fields than are looked at."""


@dataclass(frozen=True)
class Value:
    """An input or output. role: "input" or "output". kind: "tensor", or as in "sequence of maps"; "" where it is not said."""

    role: str
    name: str
    kind: str


def values_of(path: Path) -> tuple[Value, ...]:
    """Return the inputs and outputs of the graph in an ONNX file. Raises GraphError, GraphTooLarge, OSError."""
    with path.open("rb") as file:
        reader = _Reader(file)
        found = list(reader.values(path.stat().st_size))
    if not reader.has_graph:
        raise GraphError("it holds no graph")
    return tuple(found)


class _Reader:
    """Walks through a file's fields. Each generator leaves the file at the end of the message that it was given."""

    def __init__(self, file: BinaryIO):
        self._file, self._left, self.has_graph = file, MOST_FIELDS, False

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
        name, kind = "", ""
        for number, size in self._fields(end):
            if number == NAME:
                name = self._file.read(min(size, LONGEST_NAME)).decode(errors="replace")
            elif number == TYPE:
                kind = self._kind(self._file.tell() + size, DEEPEST)
        return Value(role, name, kind)

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
        """Yield the number and size of each field of bytes up to a place in the file, which stands at its first byte then."""
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
        """Read a whole number of at most ten bytes, seven bits in each, the lowest first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise GraphError("it is cut short: it ends within a field")
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
        raise GraphError(f"the number that ends at byte {self._file.tell()} is longer than any")
