"""A process from outside: its processor time and its memory, as Linux tells them."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from serving.base.process import resident_bytes

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.1
KERNEL = 2  # the process that is the parent of the kernel's threads


@dataclass(frozen=True)
class Cpu:
    """Seconds of processor time. first: the part of the process' first thread, which runs the server's loop."""

    user: float
    system: float
    first: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system, self.first - other.first)


def cpu(pid: int) -> Cpu:
    """Return the processor time that a process has used so far."""
    user, system = _times(Path(f"/proc/{pid}/stat"))
    return Cpu(user, system, sum(_times(Path(f"/proc/{pid}/task/{pid}/stat"))))


def spent() -> dict[int, float]:
    """Return the seconds of processor time that each process has used so far, with that of its ended children.

    The kernel's own threads are left out, since the network's part of a load runs on them.
    """
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if KERNEL not in (int(stat.parent.name), int(fields[1])):
                found[int(stat.parent.name)] = sum(map(int, fields[11:15])) / TICK
    return found


def resident(pid: int) -> float:
    """Return the MB (10^6 bytes) that a process holds in memory, shared libraries included."""
    return resident_bytes(pid) / 1e6


class Watch:
    """Watches a process' memory for the length of a block; `most` is the largest size seen, in MB."""

    def __init__(self, pid: int):
        self._pid, self._over = pid, threading.Event()
        self.most = resident(pid)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, resident(self._pid))


def settled(pid: int, goal: float, patience: float) -> float:
    """Wait until a process holds no more than `goal` MB, or for `patience` seconds, and return what it holds."""
    end = time.monotonic() + patience
    while (now := resident(pid)) > goal and time.monotonic() < end:
        time.sleep(SAMPLE_SECONDS)
    return now


def _times(stat: Path) -> tuple[float, float]:
    fields = stat.read_text().rpartition(")")[2].split()  # a process' name may contain spaces
    return int(fields[11]) / TICK, int(fields[12]) / TICK
