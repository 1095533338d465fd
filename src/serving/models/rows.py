"""The rows of several calls joined into one batch, and a batch's outputs split into rows again. Pure functions.

Knows arrays whose first axis counts rows. Does not know queues, time or models.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.base.errors import ModelFailed
from serving.models.tensors import Arrays

Key = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


def key_of(arrays: Arrays) -> Key:
    """Return the properties that two calls must share to be joined: names, dtypes, and the shape of one row."""
    if len(arrays) == 1:  # the common case, in a third of the time
        ((name, array),) = arrays.items()
        return ((name, array.dtype, array.shape[1:]),)
    return tuple((name, array.dtype, array.shape[1:]) for name, array in sorted(arrays.items()))


def cut(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Return the rows from start up to stop, without copying them."""
    return {name: array[start:stop] for name, array in arrays.items()}


def join(parts: Sequence[Arrays]) -> Arrays:
    """Return the rows of all parts in order. The parts must share a key. A single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(arrays: Arrays, counts: Sequence[int]) -> list[Arrays]:
    """Return a batch's outputs in parts. counts: the rows of each part.

    Raises ModelFailed where the number of an output's rows is not the sum of the counts.
    """
    total = sum(counts)
    for name, array in arrays.items():
        if not array.shape or array.shape[0] != total:
            rows = array.shape[0] if array.shape else "no"
            raise ModelFailed(
                f"the model gave {rows} rows of output {name!r} for {total} rows of input; no answer can be told apart"
            )
    parts: list[Arrays] = [{} for _ in counts]
    for name, array in arrays.items():
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part[name] = array[start : start + count]
            start += count
    return parts
