"""An address that takes messages, on a real socket of this machine."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Hook(http.server.ThreadingHTTPServer):
    """Keeps what it was sent, and answers as it was told. slow: it answers byte by byte, until it is closed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[Any] = []
        self.answer: tuple[int, bytes] = (200, b'{"errcode": 0}')
        self.headers: dict[str, str] = {}
        self.slow = False
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/send?key=hidden"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.answer
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while self.server.slow and not self.server.over.wait(0.2):
            self.wfile.write(b" ")
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.heard.append("a question")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def hooked() -> Iterator[Hook]:
    """Have such an address for the length of a block."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
