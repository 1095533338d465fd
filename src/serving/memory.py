"""A process's memory, as the system sees it.

Knows malloc and /proc. Does not know what the memory holds.
"""

import ctypes
import resource
from pathlib import Path


def resident_bytes(process: int | str = "self") -> int:
    """Return what a process, by its id, holds now."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes(process: int | str = "self") -> int:
    """Return the most that a process, by its id, has ever held."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def trim() -> None:
    """Give freed memory back to the system: malloc keeps it otherwise, for requests that may never come."""
    ctypes.CDLL(None).malloc_trim(0)


def use_one_arena() -> None:
    """Have malloc keep one arena, not eight a core: of every other, `trim` leaves the free memory at its end untouched.

    That is tens of megabytes once a large block was freed, which makes malloc keep blocks of that size.
    Must come before other threads do. Source: M_ARENA_MAX in mallopt(3); mtrim in glibc's malloc.c.
    """
    ctypes.CDLL(None).mallopt(-8, 1)
