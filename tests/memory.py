"""What a process holds of the system's memory. Knows /proc alone (clear_refs and VmHWM: see proc(5))."""

import time
from pathlib import Path

MB = 2**20
STILL = 60  # looks in a row that show no change, 0.05 s apart: longer than a service waits until it gives back what it freed


def held_bytes(pid: int) -> int:
    """Return what a process holds now."""
    return _of("VmRSS", pid)


def peak_bytes(pid: int) -> int:
    """Return the most that a process has held since its peak was forgotten: a short one is not missed."""
    return _of("VmHWM", pid)


def forget_peak(pid: int) -> None:
    """Have a process' peak begin anew at what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def settled_bytes(pid: int, seconds: float = 60) -> int:
    """Return what a process holds once that changes no more. Raises AssertionError when it goes on changing for too long."""
    end = time.monotonic() + seconds
    seen, looks = held_bytes(pid), 0
    while looks < STILL:
        assert time.monotonic() < end, f"process {pid} still takes or gives back memory after {seconds:g} s"
        time.sleep(0.05)
        now = held_bytes(pid)
        seen, looks = (seen, looks + 1) if abs(now - seen) < MB else (now, 0)
    return seen


def _of(name: str, pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{name}:")[1].split()[0]) * 1024
