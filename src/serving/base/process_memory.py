"""A process's memory, as the system sees it.

Knows malloc and /proc. Does not know what the memory holds.
"""

import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path

LOOKS = 4  # at a count, in the seconds that it must stand still: memory is given back a quarter of them later at most


def resident_bytes(process: int | str = "self") -> int:
    """Return what a process, by its id, holds now."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes(process: int | str = "self") -> int:
    """Return the most that a process, by its id, has ever held."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def trim() -> None:
    """Give freed memory back to the system: malloc keeps it otherwise, for requests that may never come."""
    ctypes.CDLL(None).malloc_trim(0)


def trim_at_rest(counted: Callable[[], int], seconds: float = 2.0) -> None:
    """Give freed memory back whenever a count has moved and then stood still for so many seconds. Never returns."""
    trimmed, seen, still = counted(), -1, 0
    while True:
        time.sleep(seconds / LOOKS)
        before, seen = seen, counted()
        still = still + 1 if seen == before else 0
        if still == LOOKS and seen != trimmed:
            trim()
            trimmed = seen


def use_one_arena() -> None:
    """Have malloc keep one arena, not eight a core: of every other, `trim` leaves the free memory at its end untouched.

    That is tens of megabytes once a large block was freed, which makes malloc keep blocks of that size.
    Must come before other threads do. Source: M_ARENA_MAX in mallopt(3); mtrim in glibc's malloc.c.
    """
    ctypes.CDLL(None).mallopt(-8, 1)
