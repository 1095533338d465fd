"""Measures a process' memory over time. Knows only /proc (see proc(5) for clear_refs)."""

import time
from pathlib import Path

from serving.base.process import resident_bytes

MIB = 2**20
STILL = 60  # readings in a row without a change, 0.05 s apart; longer than a service waits before it returns freed memory


def forget_peak(process: int | str = "self") -> None:
    """Reset a process' peak to its present memory. peak_bytes then also sees short peaks after it."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def settled_bytes(process: int, seconds: float = 60) -> int:
    """Return a process' memory in bytes once it is stable. Raises AssertionError when it is not after `seconds`."""
    end = time.monotonic() + seconds
    seen, looks = resident_bytes(process), 0
    while looks < STILL:
        assert time.monotonic() < end, f"process {process} still takes or gives back memory after {seconds:g} s"
        time.sleep(0.05)
        now = resident_bytes(process)
        seen, looks = (seen, looks + 1) if abs(now - seen) < MIB else (now, 0)
    return seen
