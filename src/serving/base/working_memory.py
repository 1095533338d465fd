"""The bytes that requests in progress may hold together: copies of their bodies, values of JSON, decoded pictures.

Knows a limit and a sum. Does not know what a picture costs.

Concurrency. `_lock` guards the sum, for a few instructions. `release` may run on any thread that drops the last reference to
something, and in the garbage collector in the middle of another call. So it takes no lock: it appends its bytes to `_released`,
which is one step of the interpreter. The next call of `reserve` or `held` subtracts them.
"""

import threading
import weakref
from collections import deque

from serving.base.errors import MemoryFull, TooLarge

SMALLEST = 64 * 2**10  # bytes; a smaller amount costs more to count than to hold
SHARE = 0.9  # of the pod's memory; the rest is for amounts that are not counted


class WorkingMemory:
    """The sum and its limit. No limit holds until `set_limit` is called: no request is served before the models are loaded."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._held, self._lock = 0, threading.Lock()
        self._released: deque[int] = deque()

    def set_limit(self, memory: int, resident: int) -> int:
        """Set the limit and return it: SHARE of a pod's memory, less what the process holds at rest. All are bytes."""
        self._limit = max(0, int(memory * SHARE) - resident)
        return self._limit

    def held(self) -> int:
        """Return the bytes that are held now."""
        with self._lock:
            self._settle()
            return self._held

    def reserve(self, size: int, what: str) -> int:
        """Count bytes that are about to be held, and return the number to release later, 0 where they are too few to count.

        what: their name in error messages. Raises MemoryFull where other requests hold too much, TooLarge where the bytes
        alone are over the limit.
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
        """Count bytes as no longer held."""
        if size:
            self._released.append(size)

    def release_with(self, holder: object, size: int) -> None:
        """Release bytes when an object is freed."""
        if size:
            weakref.finalize(holder, self.release, size).atexit = False

    def _settle(self) -> None:
        """Subtract the released bytes. The caller holds the lock."""
        while self._released:
            self._held -= self._released.popleft()

    def _refusal(self, size: int, what: str, limit: int) -> MemoryFull | TooLarge:
        if size > limit:
            return TooLarge(
                f"{what} needs {_mib(size)} of memory, and this pod has {_mib(limit)} for requests; send a smaller one, or "
                "raise memory in value.py"
            )
        return MemoryFull(
            f"requests in progress hold {_mib(self._held)} of the {_mib(limit)} that this pod has for them, and {what} needs "
            f"{_mib(size)}; try again in a second, or raise memory or replicas"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
