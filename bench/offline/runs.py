"""Runs `monopod offline`, or the plain script, on topics for the length of a block."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from bench.offline import topics
from bench.served import BenchError, end_process, free_port, wait_ready
from bench.work import ROOT

FIRST_ANSWER_SECONDS = 60.0
SETTINGS = """
offline_source = "kafka:{source}"
offline_sinks = ["kafka:{sink}"]
offline_group = "{group}"
offline_start = "earliest"
"""


@contextlib.contextmanager
def offline(brokers: str, folder: Path, source: str, sink: str, group: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """Run `monopod offline` of a service for the length of a block, which begins once it is ready. Raises BenchError."""
    lines = SETTINGS.format(source=source, sink=sink, group=group or f"bench-{uuid4().hex[:8]}")
    with tempfile.TemporaryDirectory() as place, tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        made = Path(place)
        (made / "value.py").write_text((folder / "value.py").read_text() + lines)
        for part in ("model", "src"):
            if (folder / part).exists():
                (made / part).symlink_to((folder / part).resolve())
        port = free_port()
        command = [sys.executable, "-m", "monopod", "offline", "--service", place, "--brokers", brokers]
        process = subprocess.Popen([*command, "--admin-port", str(port)], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            wait_ready(process, f"http://127.0.0.1:{port}/readyz", Path(log.name))
            yield process
        finally:
            end_process(process)


@contextlib.contextmanager
def plain(brokers: str, folder: Path, source: str, sink: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the plain script on a service's model for the length of a block."""
    command = [sys.executable, "-m", "bench.offline.plain", brokers, source, sink, f"bench-{uuid4().hex[:8]}", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def rate(brokers: str, sink: str, warm_up: float, seconds: float) -> float:
    """Return the answers a second that come to a topic, once they come. Raises BenchError where none come."""
    end, before = time.monotonic() + FIRST_ANSWER_SECONDS, topics.length(brokers, sink)
    while topics.length(brokers, sink) == before:
        if time.monotonic() > end:
            raise BenchError(f"no answer came to {sink} within {FIRST_ANSWER_SECONDS:g} s")
        time.sleep(0.1)
    time.sleep(warm_up)
    began, first = time.monotonic(), topics.length(brokers, sink)
    time.sleep(seconds)
    last, ended = topics.length(brokers, sink), time.monotonic()
    return (last - first) / (ended - began)
