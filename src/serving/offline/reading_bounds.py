"""How much a source may read: records a second, bytes of values in flight, and records in all."""

import math
from collections.abc import Hashable

BURST_SECONDS = 0.1  # of the rate may come at once


class ReadingBounds:
    """The bounds of one process. rate: records a second. limit: records in all. 0 means no bound, for either.

    max_bytes: of the values that were handed over and have not ended. One record fits, however large it is.
    """

    def __init__(self, rate: float, max_bytes: int, limit: int = 0):
        self._interval = 1 / rate if rate else 0.0
        self._slack, self._due = max(0.0, BURST_SECONDS - self._interval), 0.0
        self._max_bytes, self._bytes = max_bytes, 0
        self._left = limit or math.inf
        self._sizes: dict[Hashable, int] = {}

    @property
    def running(self) -> int:
        return len(self._sizes)

    @property
    def exhausted(self) -> bool:
        return self._left <= 0

    def wait(self, now: float) -> float:
        """Return the seconds until the rate allows a record. now: of a steady clock."""
        return max(0.0, self._due - now)

    def allow(self, size: int, now: float) -> bool:
        """Return whether a record may be handed over now. size: bytes of its value."""
        fits = not self._sizes or self._bytes + size <= self._max_bytes
        return fits and not self.exhausted and now >= self._due

    def begin(self, key: Hashable, size: int, now: float) -> None:
        """Note that a record was handed over. One of a key that runs already holds no further bytes."""
        if self._interval:
            self._due = max(self._due, now - self._slack) + self._interval
        self._left -= 1
        if key not in self._sizes:
            self._sizes[key] = size
            self._bytes += size

    def end(self, key: Hashable) -> None:
        self._bytes -= self._sizes.pop(key, 0)
