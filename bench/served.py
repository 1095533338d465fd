"""Runs a server under measurement, and the bare loop beside it, for the length of a block."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.work import ROOT, Work

READY_SECONDS = 180.0
STOP_SECONDS = 20.0
LOADED = re.compile(r"loaded in ([0-9.]+) s, warmed in ([0-9.]+) s")


class BenchError(Exception):
    """The benchmark cannot go on. The text says why and what to do."""


@dataclass(frozen=True)
class Served:
    """A ready server. seconds: from the command to ready. log: a file with its output, deleted when it ends."""

    pid: int
    url: str
    admin_url: str
    seconds: float
    log: Path

    @property
    def model_seconds(self) -> float:
        """Return the seconds of the start that loading and warming the first model took."""
        found = LOADED.search(self.log.read_text())
        if found is None:
            raise BenchError("the server's log no longer says how long loading and warming took; bench/served.py looks for it")
        return float(found[1]) + float(found[2])


@dataclass(frozen=True)
class Tree:
    """A checkout whose server runs. about: its commit and date. python: the interpreter, with the variables environment."""

    folder: Path
    about: str = ""
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


HERE = Tree(ROOT)


@contextlib.contextmanager
def serve(folder: Path, before: Sequence[str] = (), tree: Tree = HERE) -> Iterator[Served]:
    """Serve a folder on free loopback ports for the length of a block. Raises BenchError when it does not start.

    before: words put before the command, such as a wrapper. They must turn into the server's process.
    """
    port, admin_port = free_port(), free_port()
    command = [*before, tree.python, "-m", "monopod", "serve", "--service", str(folder), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--admin-port", str(admin_port)]
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        began = time.monotonic()
        environment = {**os.environ, **tree.environment}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=tree.folder, env=environment)
        try:
            admin_url = f"http://127.0.0.1:{admin_port}"
            wait_ready(process, f"{admin_url}/readyz", Path(log.name))
            seconds = time.monotonic() - began
            yield Served(process.pid, f"http://127.0.0.1:{port}", admin_url, seconds, Path(log.name))
        finally:
            end_process(process)


class Bare:
    """The bare loop of one kind of request, waiting to be run."""

    def __init__(self, process: "subprocess.Popen[str]"):
        self._process = process
        self.pid = process.pid
        self.threads: int = self._answer()["threads"]

    def run(self, seconds: float, threads: int = 0) -> tuple[float, float]:
        """Return calls a second, and seconds of processor time a call. threads: 0 for the fastest number."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds} {threads}\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["rate"], answer["cpu_per_call"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the bare loop ended; its traceback is above")
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.contextmanager
def bare(work: Work) -> Iterator[Bare]:
    """Keep a bare loop ready for the length of a block."""
    command = [sys.executable, "-m", "bench.bare", work.name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield Bare(process)
    finally:
        process.kill()
        process.wait()


def wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait until a GET of a URL is answered by 200. Raises BenchError, with the log, where the process or the time ends."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.01)
    raise BenchError(f"the server is not ready (exit code {process.poll()}); it said:\n{log.read_text()}")


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """End a server without its drain delay."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a TCP port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
