"""WSGI applications run on waitress' worker threads. The only module that imports waitress.

Knows WSGI's environment (PEP 3333). Does not know sockets, or what an application does.

Concurrency. The loop adds a task; one worker thread runs it, collects the answer, and hands it to the loop at once. The threads
live as long as the process.
"""

import socket
import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

from waitress.task import ThreadedTaskDispatcher, WSGITask

from serving.base.errors import ServiceFailed
from serving.core.messages import Reply
from serving.web.front.request_cycle import RequestCycle

CYCLE = "monopod.request_cycle"  # in the environment
NAMED_OTHERWISE = {b"content-type": "CONTENT_TYPE"}
NOT_PASSED_ON = (b"content-length", b"transfer-encoding", b"expect")  # the body is whole by now
FAILED = "the server failed on this request; its log tells why"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiThreads:
    """The worker threads of one application."""

    def __init__(self, application: Application, count: int):
        self._server = SimpleNamespace(application=application, adj=SimpleNamespace(ident=None))
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(count)

    def run(self, cycle: RequestCycle) -> None:
        """Have a thread answer a request."""
        self._dispatcher.add_task(_Task(self._server, cycle))


class _Task(WSGITask):
    """A request on its worker thread. waitress calls the application; the answer's head is not waitress'."""

    def __init__(self, server: SimpleNamespace, cycle: RequestCycle):
        adjustments = SimpleNamespace(log_socket_errors=True, ident=None)
        channel = SimpleNamespace(server=server, adj=adjustments, write_soon=self._take)
        super().__init__(channel, SimpleNamespace(version="1.1", headers={}, command=cycle.head.method))
        self._cycle = cycle
        self._pieces: list[bytes] = []

    def service(self) -> None:
        """Run the application, and hand over its answer whatever it does."""
        cycle = self._cycle
        try:
            if not cycle.over:  # nothing is run for a client that has gone already
                super().service()
                cycle.finish_later(self._reply())
        except BaseException:
            cycle.finish_later(ServiceFailed(FAILED))
            raise
        finally:
            self.__dict__.clear()  # waitress' thread keeps its last task, and with that the body, until the next one comes

    def _reply(self) -> Reply:
        """Return the answer, with the length of its body. The answer to HEAD brings the length that GET would have."""
        body, kind, stream = b"".join(self._pieces), "", self._cycle.parts  # which need no thread of these
        more = []
        for name, value in self.response_headers:
            plain = name.lower()
            if plain == "content-type":
                kind = value
            elif plain != "content-length" or (self.request.command == "HEAD" and not body and stream is None):
                more.append((name, value))
        return Reply(body, kind, int(self.status.split()[0]), tuple(more), stream)

    def build_response_header(self) -> bytes:
        return b""  # the loop writes it, when it sends the answer

    def get_environment(self) -> dict[str, Any]:
        return _environment(self._cycle)

    def _take(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)


def _environment(cycle: RequestCycle) -> dict[str, Any]:
    head = cycle.head
    found: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(head.path).decode("latin-1"),
        "QUERY_STRING": head.query,
        "REQUEST_URI": head.path + ("?" + head.query if head.query else ""),
        "SERVER_NAME": socket.gethostname(),
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": f"HTTP/{head.version}",
        "CONTENT_LENGTH": str(cycle.length),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": cycle.stream(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        CYCLE: cycle,
    }
    for name, value in head.headers.items():
        if name not in NOT_PASSED_ON and b"_" not in name:  # x_y would pass for x-y, which a gateway may have checked
            key = NAMED_OTHERWISE.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            found[key] = value.decode("latin-1")
    return found
