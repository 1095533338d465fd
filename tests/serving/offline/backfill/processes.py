"""Runs refills as processes of their own, and kills them.

Knows the command. Does not know what is refilled.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.running import PYTHONPATH, free_port


def refill(
    service: Path,
    given: list[str],
    to: list[str],
    folder: Path,
    env: dict[str, str] | None = None,
    flags: tuple[str, ...] = (),
    **pipes: int,
) -> subprocess.Popen[str]:
    """Start a refill in a folder, which gets the note. pipes: as of subprocess.Popen."""
    command = [sys.executable, "-m", "monopod", "offline", "--service", str(service), "--admin-port", str(free_port())]
    command += ["--from", *given, *(word for sink in to for word in ("--to", sink)), *flags]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **(env or {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def finished(process: "subprocess.Popen[str]", seconds: float = 300) -> tuple[int, str, str]:
    """Return the exit status of a refill, and what it printed on stdout and on stderr."""
    out, errors = process.communicate(timeout=seconds)
    return process.returncode, out, errors
