"""A client that may lie: bytes over one kept connection, answers read to their last byte.

Knows as much of HTTP as an answer needs. Does not know what is asked.
"""

import contextlib
import json
import select
import socket
from dataclasses import dataclass
from typing import BinaryIO

from tests.running import Running

PATIENCE = 15.0  # seconds without an answer that count as a hang
MOMENT = 0.05  # seconds within which a service that does not wait for more answers


@dataclass(frozen=True)
class Heard:
    """One answer. Names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


class Wire:
    """One connection at a time to a service; sent: how many requests went out."""

    def __init__(self, service: Running):
        self._port, self.sent = service.port, 0
        self._socket: socket.socket | None = None
        self._file: BinaryIO | None = None

    def ask(self, data: bytes) -> Heard:
        """Send one request and return its answer; the connection is kept where the server keeps it."""
        self._send(data)
        heard = self._hear()
        assert heard is not None, f"no answer to {data[:2000]!r}"
        assert len(heard.body) == int(heard.headers["content-length"])
        if heard.headers.get("connection", "").lower() == "close":
            self.close()
        return heard

    def lie(self, data: bytes) -> list[Heard]:
        """Send bytes that are no one request, end the sending side, and return every answer until the server ends too."""
        self._send(data)
        assert self._socket is not None
        # To a server, a client that ends its sending side has gone: it may leave off in mid-answer.
        select.select([self._socket], [], [], MOMENT)
        with contextlib.suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_WR)
        heard = []
        while (answer := self._hear()) is not None and len(answer.body) == int(answer.headers["content-length"]):
            heard.append(answer)
        self.close()
        return heard

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

    def _hear(self) -> Heard | None:
        """Return the next answer, None at the connection's end."""
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
                return Heard(status, headers, self._file.read(int(headers.setdefault("content-length", "0"))))
