"""The memory of a process, as the system counts it.

Knows malloc and /proc. Does not know what the memory holds.
"""

import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path

READINGS = 4  # of the count in the time that it must stand still


def resident_bytes(process: int | str = "self") -> int:
    """Return the resident memory of a process, in bytes. process: its id."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes(process: int | str = "self") -> int:
    """Return the largest resident memory that a process has had, in bytes. process: its id."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def trim() -> None:
    """Return freed memory to the system. malloc would keep it for later allocations, which may never come."""
    ctypes.CDLL(None).malloc_trim(0)


def trim_at_rest(counted: Callable[[], int], seconds: float = 2.0) -> None:
    """Call `trim` whenever a count has changed and then stood still for so many seconds. Never returns."""
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
