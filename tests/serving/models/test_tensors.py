"""Rows of several calls are joined and split again without a loss."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.base.errors import ModelFailed
from serving.models.tensors import DATATYPES, Arrays, cut_rows, datatype_of, join_rows, key_of, split_rows

DTYPES = st.sampled_from(["bool", "int8", "uint64", "float16", "float32", "float64"])


@st.composite
def calls(draw: st.DrawFn) -> list[Arrays]:
    """Draw calls that share a key. Each has some rows of the same inputs."""
    inputs = draw(
        st.dictionaries(st.sampled_from("abc"), st.tuples(DTYPES, hnp.array_shapes(min_dims=0, max_dims=2)), min_size=1)
    )
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    return [{name: draw(hnp.arrays(dtype, (n, *row))) for name, (dtype, row) in inputs.items()} for n in counts]


def rows_of(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        one[n].dtype == other[n].dtype and np.array_equal(one[n].view(np.uint8), other[n].view(np.uint8)) for n in one
    )


def example(rows: int, **shapes: tuple[int, ...]) -> Arrays:
    return {
        name: np.arange(rows * int(np.prod(shape)), dtype=np.float32).reshape(rows, *shape) for name, shape in shapes.items()
    }


@given(calls())
def test_what_is_joined_is_split_into_what_it_was(parts: list[Arrays]) -> None:
    assert len({key_of(part) for part in parts}) == 1
    whole = join_rows(parts)
    assert key_of(whole) == key_of(parts[0])
    back = split_rows(whole, [rows_of(part) for part in parts])
    assert len(back) == len(parts)
    assert all(same(one, other) for one, other in zip(parts, back, strict=True))


@given(calls(), st.data())
def test_what_is_cut_is_joined_into_what_it_was(parts: list[Arrays], data: st.DataObject) -> None:
    whole = join_rows(parts)
    edges = sorted({0, rows_of(whole), *data.draw(st.lists(st.integers(0, rows_of(whole))))})
    pieces = [cut_rows(whole, start, stop) for start, stop in zip(edges, edges[1:], strict=False)]
    assert same(join_rows(pieces), whole)


def test_texts_are_joined_and_split_too() -> None:
    parts: list[Arrays] = [{"t": np.array([b"a"], object)}, {"t": np.array([b"", b"\0b"], object)}]
    assert [part["t"].tolist() for part in split_rows(join_rows(parts), [1, 2])] == [[b"a"], [b"", b"\0b"]]


def test_cutting_and_splitting_copy_nothing() -> None:
    whole = example(4, a=(3,))
    assert np.shares_memory(cut_rows(whole, 1, 3)["a"], whole["a"])
    assert all(np.shares_memory(part["a"], whole["a"]) for part in split_rows(whole, [1, 3]))
    assert join_rows([whole]) is whole


def test_a_key_is_names_dtypes_and_the_shape_of_one_row() -> None:
    one = example(2, a=(3,), b=(4, 5))
    assert key_of(one) == key_of(dict(reversed(example(7, a=(3,), b=(4, 5)).items())))
    different: list[Arrays] = [
        example(2, a=(3,)),
        example(2, a=(3,), c=(4, 5)),
        example(2, a=(3,), b=(5, 4)),
        {"a": one["a"].astype(np.float64), "b": one["b"]},
        {"a": one["a"].astype(">f4"), "b": one["b"]},
    ]
    assert key_of(one) not in {key_of(other) for other in different}


def test_a_scalar_has_a_key() -> None:
    assert key_of({"a": np.array(1.0)}) == (("a", np.dtype("<f8"), ()),)


@pytest.mark.parametrize("array", [np.zeros((3, 2)), np.zeros((5, 2)), np.zeros((0, 2)), np.zeros(())])
def test_other_rows_than_asked_for_cannot_be_told_apart(array: Any) -> None:
    with pytest.raises(ModelFailed, match="rows of output 'out' for 4 rows"):
        split_rows({"ok": np.zeros((4, 1)), "out": array}, [1, 3])


@pytest.mark.parametrize("name", DATATYPES)
def test_every_datatype_is_found_by_its_arrays(name: str) -> None:
    assert datatype_of(np.zeros(2, DATATYPES[name])) == name


def test_texts_are_bytes_and_what_the_protocol_lacks_is_a_key_error() -> None:
    assert datatype_of(np.array(["a"])) == "BYTES"
    with pytest.raises(KeyError):
        datatype_of(np.zeros(2, np.complex64))
