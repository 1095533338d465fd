"""A connection that sends any bytes, well-formed or not, and reads answers to their last byte.

Knows as much of HTTP as reading an answer needs. Does not know the requests.
"""

import contextlib
import json
import select
import socket
from dataclasses import dataclass
from typing import BinaryIO

from tests.running import Running

PATIENCE = 15.0  # seconds without an answer that count as a hang
MOMENT = 0.05  # seconds; a service that waits for no more bytes answers within them


@dataclass(frozen=True)
class Answer:
    """One answer. headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


class RawConnection:
    """One connection at a time to a service. sent: the number of requests sent."""

    def __init__(self, service: Running):
        self._port, self.sent = service.port, 0
        self._socket: socket.socket | None = None
        self._file: BinaryIO | None = None

    def ask(self, data: bytes) -> Answer:
        """Send one request and return its answer. The connection stays open where the server keeps it."""
        self._send(data)
        answer = self._next_answer()
        assert answer is not None, f"no answer to {data[:2000]!r}"
        assert len(answer.body) == int(answer.headers["content-length"])
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def send_malformed(self, data: bytes) -> list[Answer]:
        """Send bytes that are no single request, shut down the sending side, and return all answers until the server closes."""
        self._send(data)
        assert self._socket is not None
        # A server takes a client that shuts down its sending side for gone, and may stop in the middle of an answer.
        select.select([self._socket], [], [], MOMENT)
        with contextlib.suppress(OSError):  # the server closed first
            self._socket.shutdown(socket.SHUT_WR)
        answers = []
        while (answer := self._next_answer()) is not None and len(answer.body) == int(answer.headers["content-length"]):
            answers.append(answer)
        self.close()
        return answers

    def close(self) -> None:
        for part in (self._file, self._socket):
            if part is not None:
                part.close()
        self._file = self._socket = None

    def _send(self, data: bytes) -> None:
        self.sent += 1
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._file = self._socket.makefile("rb")
        self._socket.sendall(data)

    def _next_answer(self) -> Answer | None:
        """Return the next answer, or None at the end of the connection."""
        assert self._file is not None
        while True:
            line = self._file.readline()
            if not line:
                return None
            assert line.startswith(b"HTTP/1.1 "), line
            headers = {}
            while (field := self._file.readline()) not in (b"\r\n", b""):
                name, _, value = field.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            status = int(line.split()[1])
            if status != 100:
                return Answer(status, headers, self._file.read(int(headers.setdefault("content-length", "0"))))
