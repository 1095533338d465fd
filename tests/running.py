"""Starts a service as a user does, sends requests over sockets, and ends it by a signal."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DIGITS, UNET = ROOT / "tests/models/digits.onnx", ROOT / "tests/models/unet.onnx"  # tests/models/README.md describes them
_given: set[int] = set()
_logs: dict[str, Path] = {}  # log files of the launched services, by the host and port of their URLs
BOUNDARY = "a-boundary-that-is-in-no-part"
PYTHONPATH = f"{ROOT / 'src'}:{ROOT}"  # makes `python -m monopod` run this tree's code in any folder


@dataclass
class Running:
    """One process of a service."""

    process: subprocess.Popen[bytes]
    port: int
    admin_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def lines(self) -> list[dict[str, Any]]:
        """Return the log's JSON lines so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def metrics(self) -> str:
        return get(self.admin + "/metrics")[1].decode()

    def metric(self, line: str, absent: float = 0.0) -> float:
        """Return a metric's value. line: name and labels as on the page. absent: the value where the metric is not there."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else absent

    def left(self) -> float:
        """Return the number of requests whose clients went away, including those that had not reached a route."""
        found = re.findall(r'^monopod_requests_total\{.*code="499".*\} (\S+)$', self.metrics(), re.MULTILINE)
        return sum(map(float, found))

    def stop(self, number: int = signal.SIGTERM, timeout: float = 120) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def wait_ready(self, timeout: float = 120) -> None:
        """Wait until /readyz answers 200. Raises AssertionError with the log when the process ends or takes too long."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if get(self.admin + "/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready (exit code {self.process.poll()}):\n{self.log.read_text()}")


def get(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
) -> tuple[int, bytes]:
    """Return status and body of a request, whatever the status. The cause of a 500 is printed, for pytest to show."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            answer = error.read()
        if error.code == 500:
            _print_reason(url, answer)
        return error.code, answer


def _print_reason(url: str, answer: bytes) -> None:
    """Print the log of a request that was answered with 500, unless the service's own code gave the answer another form."""
    log = _logs.get(urllib.parse.urlsplit(url).netloc)
    found = re.search(rb'"request_id":"(\w+)"', answer)
    end = time.monotonic() + 10  # the log is written after the answer
    while log and found and log.exists() and time.monotonic() < end:
        whole = (line for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n"))
        for line in map(json.loads, whole):
            if line.get("request_id") == found[1].decode():  # the cause, or the access line where a cause is of a whole batch
                print(line["message"], line.get("traceback", ""), sep="\n")
                return
        time.sleep(0.02)


def post_json(url: str, value: object) -> tuple[int, Any]:
    """Return status and parsed body of a JSON request."""
    status, body = get(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    return status, json.loads(body)


def multipart(parts: list[tuple[str, bytes, bool]]) -> bytes:
    """Return a form's body as clients encode it (RFC 7578). parts: name, content, whether it is a file named like the part."""
    body = b""
    for name, content, is_file in parts:
        filename = f'; filename="{name}"' if is_file else ""
        head = f'Content-Disposition: form-data; name="{name}"{filename}'
        body += f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post_form(url: str, *parts: tuple[str, str | bytes]) -> tuple[int, Any]:
    """Return status and parsed body of a form. parts: names with a field's text or a file's bytes."""
    encoded = [(name, part, True) if isinstance(part, bytes) else (name, part.encode(), False) for name, part in parts]
    status, answer = get(url, multipart(encoded), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    return status, json.loads(answer)


def free_port() -> int:
    """Return a free port that was not returned before, since the last caller may not listen on its port yet.

    Each process that runs tests has ports of its own. No client gets one of them, as it may get a port that the kernel chooses.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = range(11_000 + 1000 * (worker % 8), 12_000 + 1000 * (worker % 8))
    while True:
        port = random.choice(own)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            if port not in _given or len(_given) > len(own) // 2:
                _given.add(port)
                return port


def launch(folder: Path, env: dict[str, str] | None = None) -> Running:
    """Start a service on free ports, without waiting for it."""
    port, admin_port = free_port(), free_port()
    log = _logs[f"127.0.0.1:{port}"] = Path(tempfile.mkstemp(suffix=".log")[1])
    command = [sys.executable, "-m", "monopod", "serve", "--service", str(folder), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--admin-port", str(admin_port)]
    paths = {"PYTHONPATH": PYTHONPATH, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as out:
        # Linux schedules a session as a group, so the niceness of the service's threads does not weaken it against other
        # sessions.
        environment = {**os.environ, **paths, **(env or {})}
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
    return Running(process, port, admin_port, log)


@contextlib.contextmanager
def running(folder: Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """Serve a folder for the length of a block."""
    service = launch(folder, env)
    try:
        service.wait_ready()
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait(120)
        service.log.unlink(missing_ok=True)


def make_service(folder: Path, settings: str, server: str = "", models: tuple[str, ...] = ()) -> Path:
    """Write a small service. settings: lines added to value.py. server: text of src/server.py. models: files to link."""
    (folder / "src").mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "value.py").write_text(f'service_name = "small"\nusername = "like"\ndrain_delay_second = 0.3\n{settings}\n')
    if server:
        (folder / "src/server.py").write_text(server)
    for model in models:
        (folder / "model" / Path(model).name).symlink_to(ROOT / model)
    return folder
