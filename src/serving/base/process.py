"""The process's memory and cores: what it holds, what requests may hold together, and which threads yield to others.

Concurrency. `_lock` of WorkingMemory guards the sum, for a few instructions. `release` may run on any thread that drops the
last reference to something, and in the garbage collector in the middle of another call. So it takes no lock: it appends its
bytes to `_released`, which is one step of the interpreter. The next call of `reserve` or `held` subtracts them.
"""

import ctypes
import os
import resource
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path

from serving.base.errors import MemoryFull, TooLarge

READINGS = 4  # of the count in the time that it must stand still


STEPS = 10  # of niceness: about a tenth of a plain thread's share, while others want the cores
MIN_COUNTED = 64 * 2**10  # bytes; a smaller amount costs more to count than to hold
SHARE = 0.9  # of the pod's memory; the rest is for amounts that are not counted


def resident_bytes(process: int | str = "self") -> int:
    """Return the resident memory of a process, in bytes. process: its id."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes(process: int | str = "self") -> int:
    """Return the largest resident memory that a process has had, in bytes. process: its id."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def private_bytes(process: int | str = "self") -> int:
    """Return the memory of a process that the kernel cannot take back, in bytes: all but pages of files. process: its id."""
    text = Path(f"/proc/{process}/status").read_text()
    return 1024 * sum(int(text.split(f"{name}:")[1].split()[0]) for name in ("RssAnon", "RssShmem"))


def trim() -> None:
    """Return freed memory to the system. malloc would keep it for later allocations, which may never come."""
    ctypes.CDLL(None).malloc_trim(0)


def trim_at_rest(counted: Callable[[], int], seconds: float = 2.0) -> None:
    """Call `trim` whenever a count has changed and then stood still for that many seconds. Never returns."""
    trimmed, seen, still = counted(), -1, 0
    while True:
        time.sleep(seconds / READINGS)
        before, seen = seen, counted()
        still = still + 1 if seen == before else 0
        if still == READINGS and seen != trimmed:
            trim()
            trimmed = seen


def use_one_arena() -> None:
    """Have malloc use one arena instead of up to eight for each core. Call it before other threads start.

    `trim` returns the free memory at the end of the main arena alone. A freed large block makes malloc keep blocks of that
    size, so that each further arena would hold tens of megabytes. Source: M_ARENA_MAX in mallopt(3); mtrim in glibc's malloc.c.
    """
    ctypes.CDLL(None).mallopt(-8, 1)


def yield_to_others() -> None:
    """Have this thread, and the threads that it starts, yield the cores to the process's other threads.

    Threads that compute call it. Otherwise the event loop, which needs little, would wait behind them, and a refusal under
    overload would take a second. It needs no privilege, since a thread never becomes less nice; above 19 the kernel uses 19.
    Other containers are not affected: a container's threads compete among themselves.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + STEPS  # of the first thread, so that a second call adds nothing
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))


class WorkingMemory:
    """The bytes that requests in progress hold together: copies of their bodies, values of JSON, decoded pictures.

    No limit holds until `set_limit` is called, since no request is served before the models are loaded.
    """

    def __init__(self) -> None:
        self._limit: int | None = None
        self._held, self._lock = 0, threading.Lock()
        self._released: deque[int] = deque()

    def set_limit(self, memory: int, resident: int) -> int:
        """Set the limit and return it: SHARE of a pod's memory, less what the process holds at rest. All are bytes."""
        self._limit = max(0, int(memory * SHARE) - resident)
        return self._limit

    def held(self) -> int:
        with self._lock:
            self._settle()
            return self._held

    def reserve(self, size: int, what: str) -> int:
        """Count bytes that are about to be held, and return the number to release later, 0 where they are too few to count.

        what: their name in error messages. Raises MemoryFull where other requests hold too much, TooLarge where the bytes
        alone are over the limit.
        """
        if size < MIN_COUNTED:
            return 0
        with self._lock:
            self._settle()
            if self._limit is not None and self._held + size > self._limit:
                raise self._refusal(size, what, self._limit)
            self._held += size
        return size

    def release(self, size: int) -> None:
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
