"""A webhook that takes messages, on a real socket of this machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conf.local_servers import LocalServer, QuietHandler, running_server


class Webhook(LocalServer):
    """A webhook. received: the messages that it was sent. answer, headers: its answer's status, body and headers."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(Handler, address)
        self.received: list[Any] = []
        self.answer: tuple[int, bytes] = (200, b'{"errcode": 0}')
        self.headers: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_port}/send?key=hidden"


class Handler(QuietHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.answer
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while self.server.slow and not self.server.over.wait(0.2):
            self.wfile.write(b" ")
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.received.append("a GET")
        self.send_response(200)
        self.end_headers()


@contextmanager
def running_webhook() -> Iterator[Webhook]:
    """Run a webhook for the length of a block."""
    with running_server(Webhook()) as server:
        yield server
