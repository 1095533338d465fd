"""Tensors in the terms of the Open Inference Protocol: arrays are checked against them, joined to batches and split again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serving.base.errors import BadInput, ModelFailed, WrongInputs

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

# Open Inference Protocol datatype -> numpy dtype. An element of BYTES is Python's bytes, in an array of objects.
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's dtype. Raises KeyError where the protocol has none."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    return _NAMES[array.dtype]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. shape: every dimension, the batch axis included, with -1 where the model leaves it open."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A model's inputs and outputs. batched: the first axis of every tensor counts rows, and rows are independent."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool

    def rows(self, arrays: Arrays) -> int:
        """Check the inputs of one call and return its number of rows, 1 for a model without a batch axis.

        Raises WrongInputs for anything but a dict of arrays, and where a name is missing or unknown, or a dtype or rank is
        wrong. Raises BadInput where a size is wrong, there are no rows, or the inputs have different numbers of rows.
        """
        if not isinstance(arrays, dict):
            raise self._no_arrays(f"the inputs of model {self.name}", "a dict of arrays by input name", arrays)
        if arrays.keys() != self.input_named.keys():
            raise self._wrong_names(arrays)
        counts = {spec.name: self._check(spec, arrays[spec.name]) for spec in self.inputs}
        if not self.batched:
            return 1
        rows = set(counts.values())
        if len(rows) > 1:
            raise BadInput(f"inputs of model {self.name} disagree on the rows: {counts}; give each the same first dimension")
        if rows == {0}:
            raise BadInput(f"no rows for model {self.name}: the first dimension must be 1 or more")
        return rows.pop() if rows else 1

    @cached_property
    def input_named(self) -> dict[str, TensorSpec]:
        """The inputs by their names."""
        return {spec.name: spec for spec in self.inputs}

    @cached_property
    def answers_in_json(self) -> bool:
        """Whether JSON can carry every output. It cannot carry FP16."""
        return all(spec.datatype != "FP16" for spec in self.outputs)

    def _no_arrays(self, what: str, wanted: str, found: object) -> WrongInputs:
        none = "None; does a function lack its return?" if found is None else f"of type {type(found).__name__}"
        return WrongInputs(f"{what} must be {wanted}, such as {{{next(iter(self.input_named), 'x')!r}: array}}, not {none}")

    def _wrong_names(self, arrays: Arrays) -> WrongInputs:
        known = [spec.name for spec in self.inputs]
        unknown = [name for name in arrays if name not in known]
        missing = [name for name in known if name not in arrays]
        if unknown:
            return WrongInputs(f"model {self.name} has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
        return WrongInputs(f"input {missing[0]!r} of model {self.name} is missing; its inputs are {', '.join(known)}")

    def _check(self, spec: TensorSpec, array: Array) -> int:
        """Check one input and return its first dimension, 1 for a scalar."""
        if not isinstance(array, np.ndarray | np.generic):
            raise self._no_arrays(f"input {spec.name!r} of model {self.name}", "an array of numpy", array)
        if array.dtype != DATATYPES[spec.datatype]:
            raise WrongInputs(
                f"input {spec.name!r} of model {self.name} must be {spec.datatype}, an array of {DATATYPES[spec.datatype]}, "
                f"not of {array.dtype}"
            )
        shape = array.shape
        as_it_stands = spec.shape[:1] == (-1,) and shape[1:] == spec.shape[1:]  # the common case, compared in one step
        same_rank = len(shape) == len(spec.shape)
        if not same_rank or not (as_it_stands or all(map(_fits, spec.shape, shape))):
            wrong = BadInput if same_rank else WrongInputs
            raise wrong(
                f"input {spec.name!r} of model {self.name} must have shape {list(spec.shape)} (-1 is any size), "
                f"not {list(shape)}"
            )
        if 0 in shape[1:]:
            raise BadInput(f"input {spec.name!r} of model {self.name} is empty: its shape is {list(shape)}")
        return shape[0] if shape else 1


def _fits(wanted: int, size: int) -> bool:
    return wanted in (-1, size)


Key = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


def key_of(arrays: Arrays) -> Key:
    """Return the properties that two calls must share to be joined: names, dtypes, and the shape of one row."""
    if len(arrays) == 1:  # the common case, in a third of the time
        ((name, array),) = arrays.items()
        return ((name, array.dtype, array.shape[1:]),)
    return tuple((name, array.dtype, array.shape[1:]) for name, array in sorted(arrays.items()))


def cut_rows(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Return the rows from start up to stop, without copying them."""
    return {name: array[start:stop] for name, array in arrays.items()}


def join_rows(parts: Sequence[Arrays]) -> Arrays:
    """Return the rows of all parts in order. The parts must share a key. A single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split_rows(arrays: Arrays, counts: Sequence[int]) -> list[Arrays]:
    """Return a batch's outputs in parts. counts: the rows of each part.

    Raises ModelFailed where the number of an output's rows is not the sum of the counts.
    """
    total = sum(counts)
    for name, array in arrays.items():
        if not array.shape or array.shape[0] != total:
            rows = array.shape[0] if array.shape else "no"
            raise ModelFailed(
                f"the model gave {rows} rows of output {name!r} for {total} rows of input, which cannot be told apart"
            )
    parts: list[Arrays] = [{} for _ in counts]
    for name, array in arrays.items():
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part[name] = array[start : start + count]
            start += count
    return parts
