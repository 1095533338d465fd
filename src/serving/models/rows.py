"""Joining the rows of several calls into one batch, and splitting a batch's outputs again. Pure.

Knows arrays whose first axis counts rows. Does not know queues, time or models.
"""

from collections.abc import Sequence

import numpy as np

from serving.base.errors import ModelFailed
from serving.models.tensors import Arrays

Key = tuple[tuple[str, str, tuple[int, ...]], ...]


def key_of(arrays: Arrays) -> Key:
    """Return what two calls must share to be joined: names, dtypes, and the shape of one row."""
    return tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(arrays.items()))


def cut(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Return the rows from start to stop, without copying."""
    return {name: array[start:stop] for name, array in arrays.items()}


def join(parts: Sequence[Arrays]) -> Arrays:
    """Return all parts' rows in order. The parts must share a key; one part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(arrays: Arrays, counts: Sequence[int]) -> list[Arrays]:
    """Return arrays cut into parts of so many rows each.

    Raises ModelFailed when an array has other rows than the counts add up to.
    """
    total = sum(counts)
    for name, array in arrays.items():
        if not array.shape or array.shape[0] != total:
            rows = array.shape[0] if array.shape else "no"
            raise ModelFailed(
                f"the model gave {rows} rows of output {name!r} for {total} rows of input; no answer can be told apart"
            )
    parts, start = [], 0
    for count in counts:
        parts.append(cut(arrays, start, start + count))
        start += count
    return parts
