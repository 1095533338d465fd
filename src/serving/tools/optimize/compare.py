"""Compare a converted model with the original: the difference of their outputs, and the latency of each.

Knows engines and rows. Does not know how a model was converted, or how much a difference may be.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.models.engine import Engine
from serving.models.tensors import Array, Arrays

SECONDS = 10.0  # about; a slow model is measured longer, for LEAST_TURNS
LEAST_TURNS, MOST_TURNS = 15, 400


@dataclass(frozen=True)
class Difference:
    """The relative difference of one output, as `relative` returns it. mean: over the rows. worst: of the worst row."""

    mean: float
    worst: float


def outputs_of(engine: Engine, rows: Sequence[Arrays], tell: Callable[[float], None]) -> list[Arrays]:
    """Return an engine's outputs for each row. tell: takes the number of rows that are done."""
    found = []
    for row in rows:
        found.append(engine.run(row))
        tell(len(found))
    return found


def differences(original: Sequence[Arrays], converted: Sequence[Arrays]) -> dict[str, Difference]:
    """Return the difference of each output, by its name. original, converted: the outputs for the same rows."""
    pairs = list(zip(original, converted, strict=True))
    found = {}
    for name in original[0]:
        each = [relative(one[name], other[name]) for one, other in pairs]
        found[name] = Difference(float(np.mean(each)), max(each))
    return found


def relative(original: Array, converted: Array) -> float:
    """Return ||original - converted|| / ||original||, in the Euclidean norm over all elements.

    Where the original is all zeros: 0 if the other one is too, else 1. Infinity where shapes differ, or where a number is not
    finite in one of them alone. For texts: the share of elements that differ.
    """
    if original.shape != converted.shape:
        return float("inf")
    if original.dtype == object:
        return float(np.mean(original != converted)) if original.size else 0.0
    a, b = original.astype(np.float64).ravel(), converted.astype(np.float64).ravel()
    unfinite = ~np.isfinite(a)
    if not np.array_equal(a[unfinite], b[unfinite], equal_nan=True) or not np.isfinite(b[~unfinite]).all():
        return float("inf")
    norm, distance = float(np.linalg.norm(a[~unfinite])), float(np.linalg.norm(a[~unfinite] - b[~unfinite]))
    return distance / norm if norm else float(distance > 0)


def latencies(engines: Mapping[str, Engine], rows: Sequence[Arrays], tell: Callable[[float], None]) -> dict[str, float]:
    """Return the median latency of one row for each engine, in milliseconds. tell: takes the share that is done, 0 to 1.

    The engines take turns on the same row. Each turn begins with another engine, so that noise falls on all of them.
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
