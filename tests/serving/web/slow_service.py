"""A service whose model sleeps as long as a row says: requests to it, and what it tells of them."""

import errno
import json
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import ROOT, Running, get, post_json
from tests.waiting import until

FOLDER = ROOT / "tests/services/slow"


def connect(service: Running) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", service.port), timeout=15)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def head(length: int | str, *more: str, path: str = "/api/slow", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def body(seconds: float) -> bytes:
    return json.dumps({"data": [[seconds]]}).encode()


def answer(s: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):  # byte by byte, since another answer may follow
        more = s.recv(1)
        assert more, f"connection closed after {top!r}"
        top += more
    status, *lines = top.decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    rest = s.recv(int(headers["content-length"]), socket.MSG_WAITALL)
    return int(status.split()[1]), headers, rest


def sleep_on(service: Running, seconds: float) -> int:
    return post_json(service.url + "/api/slow", {"data": [[seconds]]})[0]


def rows(service: Running) -> int:
    return int(json.loads(get(service.url + "/rows")[1])["results"])


def busy(service: Running, seconds: float) -> list[Future[int]]:
    """Return the answers of two requests once both run, so that the next requests wait."""
    before = rows(service)
    with_two = ThreadPoolExecutor(2)
    answers = [with_two.submit(sleep_on, service, seconds) for _ in range(2)]
    until(lambda: rows(service) >= before + 2)
    return answers


class Full:
    """A service whose queue is full for a while: two requests run, four wait."""

    def __init__(self, service: Running, seconds: float):
        self.answers = busy(
            service, seconds
        )  # all six at once could be in the queue before the first is taken out, and be refused
        self.answers += [ThreadPoolExecutor(1).submit(sleep_on, service, seconds) for _ in range(4)]
        self.wait(service, 6, 4)

    def wait(self, service: Running, inside: int, rows: int) -> None:
        end = time.monotonic() + 5
        while True:
            status = json.loads(get(service.url + "/status")[1])
            if (status["in_progress"], status["queue"]["rows"]) == (inside, rows):
                break
            assert time.monotonic() < end
            time.sleep(0.01)

    def done(self) -> list[int]:
        return [a.result() for a in self.answers]


def patient(folder: Path, **settings: float) -> Path:
    """Return a copy of the service with other settings, so that a busy machine does in time what a test does."""
    shutil.copytree(FOLDER, folder)
    text = (folder / "value.py").read_text()
    for name, value in settings.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    (folder / "value.py").write_text(text)
    return folder


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def assert_pinged_in_vain(url: str, why: str) -> None:
    """Assert that a finder of pods is told to send no requests here, in the body and headers of any other 503."""
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(url + "/api/ping", timeout=10):
        pass
    with caught.value as told:
        body = json.loads(told.read())
    assert (told.code, told.headers["Retry-After"], body["reason"]) == (503, "1", "not_ready")
    assert body["error"] == body["msg"]
    assert body["error"].startswith(why)
    assert re.fullmatch("[0-9a-f]{32}", body["request_id"])
