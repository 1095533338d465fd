"""Terminates a command while it works, and tells what the command leaves behind.

Knows processes. Does not know what the command does.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.running import ROOT

SECONDS = 60.0


def terminated(module: str, *arguments: str, children: int) -> tuple[int, int, list[int]]:
    """Run a module until it has `children` child processes, then send SIGTERM.

    Return its process id, its exit status, and the ids of its child processes that still run 10 seconds later.
    """
    line = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + SECONDS
        while len(started := _children(process.pid)) < children:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, f"it has {len(started)} processes"
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(SECONDS)
    end = time.monotonic() + 10
    while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return process.pid, status, left


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
