"""Runs rsyslogd with the chart's own configuration on folders of a test, and writes lines as containerd does.

A sink is a port that may lead to another one, so that it is away until then.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.charts.logs.bulk_receiver import Document
from tests.prerequisites import program
from tests.running import ROOT
from tests.waiting import until

CONFIGURATION, START, PROGRAM = (ROOT / "charts/logs" / name for name in ("rsyslog.conf", "start", "sink.py"))
TIME = "2026-11-22T16:22:05.123456789Z"  # of containerd; in UTC+8 it is the 23rd


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


class Sink(Protocol):
    """A sink whose documents can be read."""

    def stored(self) -> list[Document]: ...


def cri_line(text: str | bytes, stream: str = "stdout", part: str = "F", time: str = TIME) -> bytes:
    """Return a line of a container as containerd writes it into a pod's file."""
    return f"{time} {stream} {part} ".encode() + (text if isinstance(text, bytes) else text.encode()) + b"\n"


def container_file(pods: Path, service: str = "cats", namespace: str = "like", pod: str = "", number: int = 0) -> Path:
    """Return the file of a container's log, and make its folder."""
    folder = pods / f"{namespace}_{pod or service + '-5d9f-x7k2p'}_0a1b-2c3d" / service
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{number}.log"


def event(message: str, **fields: Any) -> str:
    """Return a line of the runtime."""
    return json.dumps({"time": "2026-11-22T15:59:59.999Z", "level": "info", "message": message, **fields}, ensure_ascii=False)


def numbered(first: int, last: int) -> bytes:
    """Return the lines "line <first>" up to the one before "line <last>". Each has a time of its own, as containerd's have."""
    return b"".join(cri_line(event(f"line {each}"), time=f"2026-11-22T16:22:05.{each:09d}Z") for each in range(first, last))


def append(file: Path, lines: bytes) -> None:
    """Write lines as containerd does."""
    with file.open("ab") as out:
        out.write(lines)


def messages(sink: Sink) -> list[str]:
    """Return the messages of a sink's documents, within one index in the order in which they came."""
    return [str(each.fields.get("message", "")) for each in sink.stored()]


def came(sink: Sink, *wanted: str) -> list[Document]:
    """Return the documents of some messages, once all of them are there."""
    until(lambda: set(wanted) <= set(messages(sink)), seconds=60, pause=0.1)
    found = {str(each.fields.get("message")): each for each in sink.stored()}
    return [found[message] for message in wanted]


@contextmanager
def forwarding(port: int, to: int) -> Iterator[None]:
    """Lead connections of a port to another port."""
    sockets: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", port))
    sockets.append(listening)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", to))
                sockets.extend((near, far))
                threading.Thread(target=_copy, args=(near, far), daemon=True).start()
                threading.Thread(target=_copy, args=(far, near), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
