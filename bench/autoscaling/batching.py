"""How busy a pod is and how many rows wait in it, by its load: batches as the batcher forms them, one after the other.

A free instance takes what waits, up to the largest batch. Rows arrive one by one, at times of a Poisson process.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from bench.autoscaling.costs import Costs

SEED = 3
ROWS = 12_000  # that arrive for each point
POINTS = 40  # loads from 0 to the highest
HIGHEST = 0.98  # beyond it the waiting rows depend on how long one looks


@dataclass(frozen=True)
class PodCurve:
    """A pod under even load, by hundredths of its capacity. busy: the mean of instances at work. waiting: the mean of rows."""

    busy: tuple[float, ...]
    waiting: tuple[float, ...]


def curve(costs: Costs) -> PodCurve:
    """Return the curve of a pod. At full load all its instances work."""
    loads = np.linspace(0, HIGHEST, POINTS)
    found = [(0.0, 0.0), *(_run(costs, load, seed) for seed, load in enumerate(loads[1:], start=SEED))]
    hundredths = np.arange(101) / 100
    busy = np.interp(hundredths, [*loads, 1.0], [*(one for one, _ in found), float(costs.instances)])
    waiting = np.interp(hundredths, loads, [rows for _, rows in found])
    return PodCurve(tuple(busy.tolist()), tuple(waiting.tolist()))


def _run(costs: Costs, load: float, seed: int) -> tuple[float, float]:
    """Return the mean of busy instances and of waiting rows. load: of the capacity."""
    times = np.cumsum(np.random.default_rng(seed).exponential(1 / (load * costs.capacity), ROWS)).tolist()
    free = [0.0] * costs.instances  # a heap of the times at which each instance is free
    taken, worked, waited = 0, 0.0, 0.0
    while taken < ROWS:
        begin = max(free[0], times[taken])
        size = 1
        while size < costs.largest and taken + size < ROWS and times[taken + size] <= begin:
            size += 1
        worked += costs.seconds(size)
        waited += sum(begin - time for time in times[taken : taken + size])
        heapq.heapreplace(free, begin + costs.seconds(size))
        taken += size
    return min(worked / times[-1], float(costs.instances)), waited / times[-1]
