"""The inputs and outputs of a model are read from its file, whatever the file holds and however large it is."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import conf.rules.model_files
from conf.rules.model_files import GraphError, GraphTooLarge, Value, values_of
from serving.base.process import peak_bytes
from tests import small_models
from tests.memory import MIB, forget_peak
from tests.running import DIGITS, ROOT

Write = Callable[[Path], Path]
X = Value("input", "x", "tensor", (1, 2))


@pytest.mark.parametrize(
    ("write", "values"),
    [
        (small_models.identity, [X, Value("output", "y", "tensor", (1, 2))]),
        (small_models.sequence, [X, Value("output", "y", "sequence of tensors")]),
        (small_models.table, [X, Value("output", "y", "sequence of maps")]),
        (
            small_models.classifier,
            [
                Value("input", "X", "tensor", (1, 4)),
                Value("output", "output_label", "tensor", (1,)),
                Value("output", "output_probability", "sequence of maps"),
            ],
        ),
    ],
)
def test_each_input_and_output_is_told_with_its_kind(tmp_path: Path, write: Write, values: list[Value]) -> None:
    assert list(values_of(write(tmp_path / "m.onnx"))) == values


def test_a_size_that_is_open_or_negative_counts_as_one(tmp_path: Path) -> None:
    found = values_of(small_models.identity(tmp_path / "m.onnx", shape=("n", 2**40, -1)))
    assert [value.shape for value in found] == [(1, 2**40, 1)] * 2


def test_kinds_within_kinds_are_told(tmp_path: Path) -> None:
    found = values_of(small_models.unrunnable(tmp_path / "m.onnx"))
    assert [value.kind for value in found] == ["optional value of tensors", "optional value of sequences of tensors", "map"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/model/*.onnx")), ids=lambda path: path.name)
def test_models_of_the_examples_take_and_give_tensors(path: Path) -> None:
    assert {value.kind for value in values_of(path)} == {"tensor"}


def test_two_gibibytes_of_weights_are_passed_over_unread(tmp_path: Path) -> None:
    file = small_models.identity(tmp_path / "m.onnx")
    graph = file.read_bytes()
    size = 2**31 - 2**20
    with file.open("wb") as out:  # an unknown field of zeros before the graph, which takes no room on the disk
        out.write(b"\xa2\x06" + _varint(size))
        out.seek(size, 1)
        out.write(graph)
    forget_peak()
    before, began = peak_bytes(), time.monotonic()
    assert values_of(file)[0] == X
    assert time.monotonic() - began < 1
    assert peak_bytes() - before < 10 * MIB


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it holds no graph"),
        (b"\0" * 5000, "byte 0 begins no field"),
        (b"no model", "byte 0 begins no field"),
        (b"\x08", "it is cut short: it ends within a field"),
        (b"\x08\x09", "it holds no graph"),
        (b"\x3a\xff\xff\xff\xff\x0f", "at byte 0 has 4294967295 bytes"),
        (b"\x08" + b"\xff" * 20, "is longer than any"),
        (DIGITS.read_bytes()[:-100], "it is cut short"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(GraphError, match=words):
        values_of(file)


def test_whatever_bytes_are_changed_nothing_else_is_raised(tmp_path: Path) -> None:
    file, chance = small_models.classifier(tmp_path / "m.onnx"), random.Random(7)
    whole = file.read_bytes()
    refused = 0
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        file.write_bytes(changed[: chance.choice([len(changed), chance.randrange(len(changed))])])
        try:
            values_of(file)
        except GraphError:
            refused += 1
    assert 200 < refused < 2000


def test_a_file_of_endless_fields_is_left_in_seconds(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"\x08\x01" * (conf.rules.model_files.MAX_FIELDS + 1))
    began = time.monotonic()
    with pytest.raises(GraphTooLarge):
        values_of(file)
    assert time.monotonic() - began < 10  # a second on a machine that does nothing else


def test_kinds_nested_without_end_are_not_followed(tmp_path: Path) -> None:
    kind = b""
    for _ in range(1000):
        kind = _field(4, _field(1, kind))  # a sequence of ...
    value = _field(1, b"y") + _field(2, kind)
    file = tmp_path / "m.onnx"
    file.write_bytes(_field(7, _field(12, value)))
    (found,) = values_of(file)
    assert found.kind.startswith("sequence of sequences of")
    assert len(found.kind) < 100


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content
