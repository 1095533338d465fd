"""A service whose answers tell which request they belong to, the requests to it, and a client that reads every byte."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from onnx import helper

from tests import small_models
from tests.running import Running, make_service, running

# Run once where the model's own thread runs the batches, and once where the loop does.
both_paths = pytest.mark.parametrize("service", [False, True], ids=["general path", "lane"], indirect=True)
IMPORTS = """
import time

from serving.api import Answer, Arrays, Request, Service, TensorSpec, route
"""
MODEL = """
class Echo(Service):
    def setup(self) -> None:
        sent, echoed = (TensorSpec(name, "FP32", (-1, 2)) for name in ("sent", "echoed"))
        self.models.add("small", self.work, (sent,), (echoed,))

    def work(self, arrays: Arrays) -> Arrays:
        time.sleep(float(arrays["sent"][:, 0].max()))
        return {"echoed": arrays["sent"]}
"""
ROUTES = """
    @route("/large", "GET")
    def large(self, request: Request) -> Answer:
        return Answer(b"x" * request.value("bytes", int), "application/octet-stream")

    @route("/wait", "GET")
    def wait(self, request: Request) -> str:
        time.sleep(request.value("seconds", float))
        return "waited"

    @route("/length", pictures=1)
    def length(self, request: Request) -> int:
        return len(request.image_bytes or b"")
"""
PING = b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n"
PONG = b'{"ping":"pong"}'
PATIENCE = 20.0  # seconds without a byte that count as a hang


@dataclass(frozen=True)
class Answer:
    """One answer. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


def folder_of(folder: Path, settings: str = "", lane: bool = False) -> Path:
    """Write it and return its folder. settings: lines of value.py.

    Its model sleeps as long as a request says. lane: it never sleeps, so cheap that the loop runs its batches.
    """
    if not lane:
        return make_service(folder, settings, IMPORTS + MODEL + ROUTES)
    made = make_service(folder, f'model_path = "model/echo.onnx"\n{settings}', f"{IMPORTS}\nclass Echo(Service):{ROUTES}")
    tensors = [small_models.tensor(name, ("n", 2)) for name in ("sent", "echoed")]
    small_models.write(made / "model/echo.onnx", [helper.make_node("Identity", ["sent"], ["echoed"])], tensors[:1], tensors[1:])
    return made


@contextmanager
def serving(tmp: pytest.TempPathFactory, settings: str = "", lane: bool = False) -> Iterator[Running]:
    """Serve it for the length of a block, as `folder_of` makes it."""
    with running(folder_of(tmp.mktemp("echo") / "small", settings, lane)) as service:
        yield service


def get_request(path: str, *fields: str) -> bytes:
    """Return a request without a body. fields: header lines."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "\r\n"]).encode()


def echo_body(number: int, seconds: float = 0.0) -> bytes:
    """Return the JSON of a request that the model answers with this number, after so many seconds."""
    return json.dumps({"data": [[seconds, number]]}).encode()


def echo_request(number: int, *fields: str, seconds: float = 0.0) -> bytes:
    """Return a request whose id and row are this number. fields: header lines."""
    body = echo_body(number, seconds)
    lines = ["POST /api/small HTTP/1.1", "Host: x", "Content-Type: application/json", f"X-Request-Id: id-{number}"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", *fields, "\r\n"]).encode() + body


def check_owner(answer: Answer, number: int) -> None:
    """Check that this is the answer to `echo_request(number)`, be it a result or a refusal."""
    found = json.loads(answer.body)
    if answer.status == 200:
        assert (answer.headers["x-request-id"], found["results"]["echoed"][0][1]) == (f"id-{number}", number), answer
    else:
        assert found["request_id"] == f"id-{number}", answer
        assert answer.headers.get("x-request-id", f"id-{number}") == f"id-{number}", answer


class Client:
    """One connection, whose answers are read one at a time."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        """Say that no more bytes will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def read(self) -> Answer:
        """Return what comes next, also an interim answer such as 100 Continue."""
        found = self._next()
        assert found is not None, "the connection ended before an answer"
        return found

    def answer(self) -> Answer:
        """Return the next answer that is not interim."""
        found = self.read()
        return found if found.status >= 200 else self.answer()

    def rest(self) -> list[Answer]:
        """Return all answers that are not interim, until the server ends the connection."""
        return [each for each in iter(self._next, None) if each.status >= 200]

    def _next(self) -> Answer | None:
        line = self._file.readline()
        if not line:
            return None
        assert line.startswith(b"HTTP/1.1 "), line
        headers = {}
        while (field := self._file.readline()) != b"\r\n":
            assert field.endswith(b"\r\n"), f"the answer's head is cut: {field!r}"
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(line.split()[1])
        length = 0 if status < 200 or status == 204 else int(headers["content-length"])
        body = self._file.read(length)
        assert len(body) == length, f"the answer is cut: {len(body)} bytes of {length}"
        return Answer(status, headers, body)


def ask_on(client: Client, number: int) -> None:
    """Send a good request on a connection, and check that its answer is its own and 200."""
    client.send(echo_request(number))
    answer = client.answer()
    check_owner(answer, number)
    assert answer.status == 200


def ask(port: int, request: bytes) -> Answer:
    """Return the answer to one request on a connection of its own."""
    with Client(port) as client:
        client.send(request)
        return client.answer()
