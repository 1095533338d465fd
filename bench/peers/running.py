"""Runs a peer's server for the length of a block, and ends every process that it started.

Each server gets a mark in its environment. Its processes are found by it, because some servers start daemons that leave their
process group.
"""

import contextlib
import http.client
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.peers import made
from bench.peers.peer import HERE, Exchange, Peer
from bench.peers.works import PeerWork
from bench.served import BenchError, free_port

MARK = "MONOPOD_BENCH_PEER"
READY_SECONDS = 120.0
STOP_SECONDS = 15.0
ANSWER_SECONDS = 30.0
LAST_LINES = 25  # of what a server says
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Running:
    """A ready server. mark: the value of MARK in the environment of its processes."""

    peer: Peer
    port: int
    mark: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
        """Send one request; return status, headers with names in lower case, and body."""
        headers = {"Content-Type": exchange.content_type, **exchange.headers}
        return _request(self.port, "POST", exchange.path, exchange.body(), headers)

    def processes(self) -> list[int]:
        return marked(self.mark)


@contextlib.contextmanager
def run(peer: Peer, programs: Path, work: PeerWork) -> Iterator[Running]:
    """Serve a work's service on free loopback ports. programs: the folder of the peer's programs. Raises BenchError."""
    mark = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as scratch:
        words = _words(peer, programs, work.service, Path(scratch))
        command = [word.format(**words) for word in peer.command]
        said = Path(scratch, "server.log")
        with said.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=words["folder"],
                env=_environment(peer, programs, words, mark),
                start_new_session=True,
            )
            try:
                running = Running(peer, int(words["port"]), mark)
                _wait_ready(running, process, work, said)
                yield running
            finally:
                _end(process, mark, peer.stop_signal)


def _words(peer: Peer, programs: Path, service: str, scratch: Path) -> dict[str, str]:
    ports: set[int] = set()
    while len(ports) < 3:
        ports.add(free_port())
    first, second, third = map(str, ports)
    return {
        "python": str(programs / "python"),
        "bin": str(programs),
        "folder": str(HERE / peer.folder),
        "service": service,
        "model": str(made.model(service)),
        "port": first,
        "second_port": second,
        "third_port": third,
        "scratch": str(scratch),
    }


def _environment(peer: Peer, programs: Path, words: Mapping[str, str], mark: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}
    given = {f"PEER_{name.upper()}": words[name] for name in ("model", "service", "port", "scratch")}
    own = {name: value.format(**words) for name, value in peer.environment.items()}
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONPATH": str(HERE / "parts"), **given, **own, MARK: mark}


def _wait_ready(running: Running, process: "subprocess.Popen[bytes]", work: PeerWork, said: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    why = "no connection"
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if running.peer.ready:
                status, _, body = _request(running.port, "GET", running.peer.ready, b"", {})
            else:
                status, _, body = running.ask(running.peer.exchanges[work.name])
            if status == 200:
                return
            why = f"the last answer was {status}: {body[:300].decode(errors='replace')}"
        time.sleep(0.1)
    last = "\n".join(said.read_text(errors="replace").splitlines()[-LAST_LINES:])
    ended = "" if process.poll() is None else f"; it ended with exit code {process.poll()}"
    raise BenchError(f"{running.peer.title} is not ready for {work.service} ({why}{ended}); it said:\n{last}")


def _request(port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def _end(process: "subprocess.Popen[bytes]", mark: str, stop: signal.Signals) -> None:
    """End a server politely, then whatever is left of its processes."""
    process.send_signal(stop)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    end = time.monotonic() + STOP_SECONDS
    while (left := marked(mark)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    process.wait()


def marked(mark: str) -> list[int]:
    """Return the processes whose environment holds a mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # the process has ended meanwhile, or belongs to someone else
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
