"""Describes the machine on which the figures were measured, and says whether it was quiet meanwhile."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import process

MAX_OTHERS, MAX_STOLEN = 0.05, 0.02  # of the cores' time, on a quiet machine
NOT_QUIET = 3  # exit code of a run whose figures are not kept
PARTS = ("onnxruntime", "uvloop", "httptools", "waitress", "flask", "numpy", "pillow")


@dataclass(frozen=True)
class Machine:
    """The machine's description. load: before anything ran, so that a reader can judge the noise."""

    date: str
    cores: int
    processor: str
    system: str
    versions: str
    load: float

    def __str__(self) -> str:
        """Return the sentences that stand above a page's figures."""
        parts = f"{self.date}, {self.cores} cores ({self.processor}), {self.system}; {self.versions}"
        return f"{parts}. Load of the machine before the run: {self.load:.2f}."


def here() -> Machine:
    versions = [f"Python {platform.python_version()}", *(f"{part} {version(part)}" for part in PARTS)]
    return Machine(
        time.strftime("%Y-%m-%d", time.gmtime()),
        len(os.sched_getaffinity(0)),
        _processor(),
        f"Linux {platform.release().split('-')[0]}",
        ", ".join([*versions, *_wrk()]),
        os.getloadavg()[0],
    )


@dataclass(frozen=True)
class Noise:
    """The parts of a machine's cores that others took beside a measurement.

    others: by processes that the measurement did not start. stolen: by the machine's host, for other machines.
    """

    others: float
    stolen: float

    @property
    def quiet(self) -> bool:
        return self.others <= MAX_OTHERS and self.stolen <= MAX_STOLEN

    def __str__(self) -> str:
        """Return both figures with their bounds, for a person."""
        others = f"other processes used {100 * self.others:.1f} % of the cores (at most {100 * MAX_OTHERS:g} % is quiet)"
        return f"{others}, and the host took {100 * self.stolen:.1f} % (at most {100 * MAX_STOLEN:g} %)"


@dataclass(frozen=True)
class Usage:
    """Seconds of processor time so far, by process and by the machine's host. at: of time.monotonic."""

    at: float
    processes: Mapping[int, float]
    stolen: float

    def used(self, later: "Usage", pids: Collection[int]) -> float:
        """Return the seconds of processor time that some processes used between two moments."""
        return sum(later.processes.get(pid, 0.0) - self.processes.get(pid, 0.0) for pid in pids)

    def noise(self, later: "Usage", ours: Collection[int]) -> Noise:
        """Return the noise between two moments. ours: the processes that belong to the measurement."""
        seconds = (later.at - self.at) * len(os.sched_getaffinity(0))
        others = self.used(later, {*self.processes, *later.processes}.difference(ours))
        return Noise(max(0.0, others) / seconds, max(0.0, later.stolen - self.stolen) / seconds)


def usage() -> Usage:
    stolen = int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / process.TICK
    return Usage(time.monotonic(), process.spent(), stolen)


def mean(noises: Sequence[Noise]) -> Noise:
    """Return the noise of several measurements of one length. Without any it is 0."""
    count = max(1, len(noises))
    return Noise(sum(one.others for one in noises) / count, sum(one.stolen for one in noises) / count)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _wrk() -> list[str]:
    if shutil.which("wrk") is None:  # without wrk there is no load
        return []
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return [f"wrk {said[1].removeprefix('debian/')}" if len(said) > 1 else "wrk"]
