"""Describes the machine on which the figures were measured.

Knows /proc and version numbers. Does not know figures.
"""

import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

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


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _wrk() -> list[str]:
    if shutil.which("wrk") is None:  # without wrk there is no load
        return []
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return [f"wrk {said[1].removeprefix('debian/')}" if len(said) > 1 else "wrk"]
