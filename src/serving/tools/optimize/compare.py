"""How far a converted model's outputs are from the original's, and how long each takes.

Knows engines and rows. Does not know how a model was converted, or how much a difference may be.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.models.engine import Engine
from serving.models.tensors import Array, Arrays

SECONDS = 10.0  # of measuring, about; a slow model takes longer, for LEAST_TURNS
LEAST_TURNS, MOST_TURNS = 15, 400


@dataclass(frozen=True)
class Difference:
    """Of one output, over rows: ||original - converted|| / ||original||, its mean and its worst row."""

    mean: float
    worst: float


def outputs_of(engine: Engine, rows: Sequence[Arrays], tell: Callable[[float], None]) -> list[Arrays]:
    found = []
    for row in rows:
        found.append(engine.run(row))
        tell(len(found))
    return found


def differences(original: Sequence[Arrays], converted: Sequence[Arrays]) -> dict[str, Difference]:
    """Return each output's difference over the rows."""
    pairs = list(zip(original, converted, strict=True))
    found = {}
    for name in original[0]:
        each = [relative(one[name], other[name]) for one, other in pairs]
        found[name] = Difference(float(np.mean(each)), max(each))
    return found


def relative(original: Array, converted: Array) -> float:
    """Return ||original - converted|| / ||original||, in the Euclidean norm over all elements.

    An original of zeros: 0 where the other is too, else 1. Other shapes, and numbers that are none in one of the two alone:
    infinity. Of texts: the part that differs.
    """
    if original.shape != converted.shape:
        return float("inf")
    if original.dtype == object:
        return float(np.mean(original != converted)) if original.size else 0.0
    a, b = original.astype(np.float64).ravel(), converted.astype(np.float64).ravel()
    odd = ~np.isfinite(a)
    if not np.array_equal(a[odd], b[odd], equal_nan=True) or not np.isfinite(b[~odd]).all():
        return float("inf")
    whole, gap = float(np.linalg.norm(a[~odd])), float(np.linalg.norm(a[~odd] - b[~odd]))
    return gap / whole if whole else float(gap > 0)


def latencies(engines: Mapping[str, Engine], rows: Sequence[Arrays], tell: Callable[[float], None]) -> dict[str, float]:
    """Return the median milliseconds of one row for each engine.

    They run in turns, each turn on the same row and begun by another one, so that noise falls on all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    order = list(engines)
    for name in order:  # the first run pays for memory
        engines[name].run(rows[0])
    began = time.perf_counter()
    for turn in range(MOST_TURNS):
        spent = time.perf_counter() - began
        if turn >= LEAST_TURNS and spent > SECONDS:
            break
        tell(max(turn / MOST_TURNS, min(spent / SECONDS, turn / LEAST_TURNS)))
        row = rows[turn % len(rows)]
        order.append(order.pop(0))
        for name in order:
            start = time.perf_counter()
            engines[name].run(row)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) * 1000 for name, each in times.items()}
