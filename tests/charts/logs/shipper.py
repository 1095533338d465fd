"""Runs rsyslogd as the container does, with the chart's own configuration, on folders of a test.

Knows the environment that charts/logs gives it, and its counters. Does not know the sink, nor how a line looks.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.prerequisites import program
from tests.running import ROOT
from tests.waiting import until

CONFIGURATION, START, PROGRAM = (ROOT / "charts/logs" / name for name in ("rsyslog.conf", "start", "sink.py"))


@dataclass
class Shipper:
    """One process. pods: the folder that stands for /var/log/pods. state: its own. out: what it printed."""

    process: subprocess.Popen[bytes]
    pods: Path
    state: Path
    out: Path

    def counters(self, name: str) -> dict[str, Any]:
        """Return the last counters of a part, as its queue; {} where none were printed."""
        lines = [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return next((line for line in reversed(lines) if line["name"] == name), {})

    def memory(self) -> int:
        """Return the bytes of memory that it and its program use. The container may take 128 MiB."""
        return sum(int(each.memory_info().rss) for each in self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return rsyslogd, and the program that it started once there was a line."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children()]

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it as the kubelet does, or kill it."""
        self.process.send_signal(number)
        self.process.wait(30)


@contextmanager
def shipping(
    folder: Path,
    port: int,
    namespaces: Sequence[str] = ("like",),
    queue: str = "64m",
    state: Path | None = None,
    settings: dict[str, str] | None = None,
) -> Iterator[Shipper]:
    """Run a shipper for the length of a block.

    port: of the sink. queue: most bytes of it on the disk. settings: further ones of its environment.
    """
    pods, state, inputs = folder / "pods", state or folder / "state", folder / "inputs.conf"
    pods.mkdir(exist_ok=True)
    state.mkdir(exist_ok=True)
    lines = [
        f'input(type="imfile" file="{pods}/{each}_*_*/*/*.log" tag="line" ruleset="lines" addMetadata="on" '
        'persistStateInterval="1000")\n'
        for each in namespaces
    ]
    inputs.write_text("".join(lines))
    environment = {
        "STATE": str(state),
        "INPUTS": str(inputs),
        "REGION": "hk",
        "NODE": "node-1",
        "SINK_URL": f"http://127.0.0.1:{port}",
        "SINK_SECRET": "",
        "PROGRAM": str(PROGRAM),
        "QUEUE_BYTES": queue,
        "STATS_SECONDS": "1",
        "CONFIGURATION": str(CONFIGURATION),
        "PATH": os.environ["PATH"],
        **(settings or {}),
    }
    out = folder / "out"
    program("rsyslogd", "rsyslog")
    command = ["sh", str(START)]
    if os.geteuid() == 0:  # as in the container: root without a capability
        command = [program("setpriv", "util-linux"), "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *command]
    with out.open("ab") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield Shipper(process, pods, state, out)
    finally:
        process.kill()
        process.wait(30)


def until_counted(shipper: Shipper, name: str, counter: str, least: int) -> None:
    """Wait until a counter has reached a number."""
    until(lambda: int(shipper.counters(name).get(counter, 0)) >= least, seconds=90, pause=0.1)
