"""A process' memory over time. Knows /proc alone (clear_refs: see proc(5))."""

import time
from pathlib import Path

from serving.base.process_memory import resident_bytes

MB = 2**20
STILL = 60  # looks in a row that show no change, 0.05 s apart: longer than a service waits until it gives back what it freed


def forget_peak(process: int | str = "self") -> None:
    """Have a process' peak begin anew at what it holds now: peak_bytes then misses no short one after it."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def settled_bytes(process: int, seconds: float = 60) -> int:
    """Return what a process holds once that changes no more. Raises AssertionError when it goes on changing for too long."""
    end = time.monotonic() + seconds
    seen, looks = resident_bytes(process), 0
    while looks < STILL:
        assert time.monotonic() < end, f"process {process} still takes or gives back memory after {seconds:g} s"
        time.sleep(0.05)
        now = resident_bytes(process)
        seen, looks = (seen, looks + 1) if abs(now - seen) < MB else (now, 0)
    return seen
