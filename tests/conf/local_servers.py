"""HTTP servers of tests, on real sockets of this machine."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar


class LocalServer(http.server.ThreadingHTTPServer):
    """A server on a free port. slow: it answers byte by byte until it is closed. over: set when it is closed."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), handler)
        self.slow = False
        self.over = threading.Event()


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *words: object) -> None:
        pass


Server = TypeVar("Server", bound=LocalServer)


@contextmanager
def running_server(server: Server) -> Iterator[Server]:
    """Let a server answer on a thread of its own for the length of a block."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
