"""Counts and histograms as plain numbers.

Knows how numbers that any thread notes are brought together. Does not know what they mean, nor Prometheus.

Concurrency. A thread that notes a row only extends a list, which CPython does in one step. The thread that makes the list long
settles it: it cuts the rows off and counts them, under a lock that its owner shares among all lists. A thread that notes never
waits for that lock. Where another thread holds it, the rows wait for the next note. A reader takes the lock and settles first,
so it sees every row that was noted before.
"""

import math
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_WAITING = 512  # rows that are settled at once: 0.1 ms of work

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """A histogram as it is read."""

    bounds: tuple[float, ...]  # the buckets' upper bounds; the last is infinity
    counts: tuple[int, ...]  # for each bound, how many values do not exceed it
    sum: float


class Histogram:
    """Counts values by buckets. bounds: their upper bounds, ascending. Its owner's lock is held in every call."""

    def __init__(self, bounds: Sequence[float]):
        self._bounds = np.array([*bounds, math.inf])
        self._counts = np.zeros(len(self._bounds) + 1, np.int64)  # the last place is for NaN
        self._sum = 0.0

    def add(self, values: Numbers) -> None:
        """Count values, of shape (n,). NaN is none."""
        counts = np.bincount(self._bounds.searchsorted(values), minlength=len(self._counts))
        self._counts += counts
        self._sum += float((values[~np.isnan(values)] if counts[-1] else values).sum())

    def count(self) -> int:
        """Return how many values were counted."""
        return int(self._counts[:-1].sum())

    def read(self) -> Distribution:
        return Distribution(tuple(self._bounds.tolist()), tuple(np.cumsum(self._counts[:-1]).tolist()), self._sum)


class Waiting:
    """Rows of numbers that any thread notes. width: numbers of a row.

    take: gets the rows as an array of shape (rows, width), while the lock is held. most: rows that are settled at once.
    """

    def __init__(self, width: int, take: Callable[[Numbers], Any], lock: threading.Lock, most: int = ROWS_WAITING):
        self._width, self._take, self._lock = width, take, lock
        self._numbers: list[float] = []
        self._most = most * width

    def __len__(self) -> int:
        return len(self._numbers) // self._width

    def note(self, row: Sequence[float]) -> None:
        """Note one row, or several. row: a tuple or list, since no other type is appended in one step."""
        numbers = self._numbers
        numbers.extend(row)
        if len(numbers) >= self._most and self._lock.acquire(blocking=False):
            try:
                self.settle()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Hand all rows that wait to `take`. The caller holds the lock."""
        count = len(self._numbers)
        if count:
            numbers = self._numbers[:count]
            del self._numbers[:count]  # before anything that may raise: a row that is no numbers is not met again
            packed = struct.pack(f"{count}d", *numbers)  # in a third of the time that np.array takes
            self._take(np.frombuffer(packed, np.float64).reshape(-1, self._width))
