"""The bytes that requests under work may hold together: copies of their bodies, values of JSON, decoded pictures.

Knows a limit and a sum. Does not know what a picture costs, nor who asks.

Concurrency. `_lock` guards the sum, for a few instructions. `release` may run on any thread that drops the last reference to
something, and in the garbage collector in the middle of another call. So it takes no lock: it appends its bytes to `_released`,
which is one step of the interpreter. The next call of `reserve` or `held` subtracts them.
"""

import threading
import weakref
from collections import deque

from serving.base.errors import MemoryFull, TooLarge

SMALLEST = 64 * 2**10  # what is smaller is not counted: it costs more to count than to hold
SHARE = 0.9  # of the pod's memory; the rest is for what is not counted


class WorkingMemory:
    """The sum, and its limit. There is none until `limit` is called: nothing is answered before the models are loaded."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._held, self._lock = 0, threading.Lock()
        self._released: deque[int] = deque()

    def set_limit(self, memory: int, resident: int) -> int:
        """Set the limit to what a pod's memory leaves beside what the process holds at rest, and return it. All are bytes."""
        self._limit = max(0, int(memory * SHARE) - resident)
        return self._limit

    def held(self) -> int:
        """Return how many bytes are held now."""
        with self._lock:
            self._settle()
            return self._held

    def reserve(self, size: int, what: str) -> int:
        """Count bytes that are about to be held, and return how many are to be given back.

        what: for the error's words. Raises MemoryFull where others hold too much, TooLarge for what no such pod can hold.
        """
        if size < SMALLEST:
            return 0
        with self._lock:
            self._settle()
            if self._limit is not None and self._held + size > self._limit:
                raise self._refusal(size, what, self._limit)
            self._held += size
        return size

    def release(self, size: int) -> None:
        """Count bytes as held no more."""
        if size:
            self._released.append(size)

    def release_with(self, thing: object, size: int) -> None:
        """Give bytes back when a thing is no more."""
        if size:
            weakref.finalize(thing, self.release, size).atexit = False

    def _settle(self) -> None:
        """The caller holds the lock."""
        while self._released:
            self._held -= self._released.popleft()

    def _refusal(self, size: int, what: str, limit: int) -> MemoryFull | TooLarge:
        if size > limit:
            return TooLarge(
                f"{what} needs {_mib(size)} of memory, and this pod has {_mib(limit)} for requests; send a smaller one, or "
                "raise memory in value.py"
            )
        return MemoryFull(
            f"requests under work hold {_mib(self._held)} of the {_mib(limit)} that this pod has for them, and {what} needs "
            f"{_mib(size)}; try again in a second, or raise memory or replicas"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
