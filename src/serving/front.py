"""HTTP on waitress: the I/O thread that admits, refuses and drains. The only module that imports waitress.

Knows sockets, headers and bytes. Does not know routes beyond "does it work or not", nor models.

Concurrency. One I/O thread owns every socket, parser and timer here. Worker threads run one request each and never wait for a
free one: the gate lets in no more requests than there are threads. A channel's `requests_lock` (waitress') guards its list of
whole requests, which both kinds of thread change. A refusal is written by the I/O thread; only that of a request that was
sent behind another one on the same connection is written by the thread that finished the first.

Refusing. What is refused gets no 100 Continue, no buffer and no thread: the answer is written, the connection is closed for
writing, and what still comes is read and thrown away, for LINGER_SECONDS and LINGER_BYTES at most. Closing with unread bytes
would reset the connection, and the answer could be lost with it.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from serving.errors import BadInput, HeadTooLarge, ServingError, SlowBody, TooLarge
from serving.gate import CLOSED, DRAINING, Gate
from serving.heads import allowed_seconds, head
from serving.lifetime import Lifetime
from serving.listening import turn_away

log = logging.getLogger("monopod.front")

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 2**20
SWEEP_SECONDS = 0.25
CONNECTION_LIMIT = 4096
ACCEPTS_A_TURN = 32
RECV_BYTES = 256 * 2**10
HEAD_BYTES = 16 * 2**10  # read at once where no body is due: to parse n bytes of heads or chunks takes time by n squared
SPARE_CONNECTIONS = 256  # that the admin port has beyond the data port's limit, since waitress counts both ports' together
UNREAD_SECONDS = 1.0  # beyond the timeout, for an answer of which the client takes nothing
INBUF_OVERFLOW = 2**20  # bytes of a body held in memory; beyond, it is spooled to /tmp
KEEP_ALIVE_SECONDS = 120
PING = "/api/ping"
PONG = b'{"ping":"pong"}'


@dataclass(frozen=True)
class Rules:
    """What the front decides by. Seconds and bytes; respond makes an error's body, refused counts it."""

    gate: Gate
    timeout: float
    upload_timeout: float
    max_body: int
    respond: Callable[[ServingError, str], bytes]
    refused: Callable[[ServingError, float], None]


class _Parser(HTTPRequestParser):
    """A request being read, admitted as soon as its head is whole."""

    refusal: ServingError | None = None
    command = ""
    work = True
    path = ""  # stays so when the head cannot be parsed

    def __init__(self, adj: Adjustments, rules: Rules, begin: float):
        super().__init__(adj)
        self.rules, self.life = rules, Lifetime(begin, rules.timeout)

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.error is not None and self.refusal is None:
            self.refusal = _refusal_of(self.error)
        if self.refusal is not None:
            self.completed, self.expect_continue = True, False
            return len(data)  # what follows a refused head is never parsed
        if self.completed:
            self.life.received = time.monotonic()
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # of int() and urlsplit(), which waitress lets through
            raise ParsingError("its target or a number in it is none") from error
        self.work = self.command not in ("GET", "HEAD", "OPTIONS")
        self.life.deadline = self.life.begin + allowed_seconds(self.headers, self.rules.timeout)
        if self.content_length > self.rules.max_body:
            self.refusal = TooLarge(f"the body has {self.content_length} bytes, at most {self.rules.max_body} are taken")
        else:
            self.refusal = self.rules.gate.refusal(self.work)
        if self.refusal is not None:
            self.body_rcv = None
        self.expect_continue = self.expect_continue and self.body_rcv is not None


class _Nothing(HTTPRequestParser):
    """What comes after a connection's last answer: swallowed."""

    completed = empty = True

    def received(self, data: bytes) -> int:
        return len(data)


class _Task(WSGITask):
    """A request on its worker thread."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["monopod.life"] = self.request.life
        return environ

    def build_response_header(self) -> bytes:
        if self.request.rules.gate.state in (DRAINING, CLOSED):
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        return header


class _Channel(HTTPChannel):
    """One connection."""

    task_class = _Task
    requests: list[_Parser]
    lingers_until = 0.0  # set once refused: from then on, bytes are thrown away
    lingering_bytes = 0
    half_closed = False
    began = 0.0  # of the request being read

    def parser_class(self, adj: Adjustments) -> HTTPRequestParser:
        if self.lingers_until or self.close_when_flushed:
            return _Nothing(adj)
        self.began = time.monotonic()
        return _Parser(adj, self.server.rules, self.began)

    def readable(self) -> bool:
        return bool(self.lingers_until) or bool(super().readable())

    def recv(self, buffer_size: int) -> bytes:
        """Read as much as the body that is due, or a few heads."""
        due = RECV_BYTES if self.lingers_until else getattr(getattr(self.request, "body_rcv", None), "remain", 0)
        data: bytes = super().recv(min(buffer_size, max(due, HEAD_BYTES)))
        return data

    def received(self, data: bytes) -> bool:
        if not self.lingers_until:
            return bool(super().received(data))
        self.lingering_bytes += len(data)
        if self.lingering_bytes > LINGER_BYTES:
            self.will_close = True
        return False

    def handle_write(self) -> None:
        super().handle_write()
        if self.lingers_until and not self.total_outbufs_len and not self.half_closed and self.connected:
            self._half_close()

    def handle_close(self) -> None:
        """The connection is gone: nobody waits for what it asked."""
        for request in list(self.requests):
            request.life.abandon()
        super().handle_close()

    def admit(self) -> bool:
        """Let the oldest whole request in, or refuse it. Returns whether a worker is to run it; requests_lock is held."""
        request = self.requests[0]
        if request.path == PING and not request.work and request.refusal is None:
            self._pong(request)
            return False
        late = request.life.too_late() if request.life.over() else None
        refusal = request.refusal or late or request.rules.gate.enter(request.work)
        if refusal is not None:
            self.refuse(request, refusal)
        return refusal is None

    def refuse(self, request: _Parser, error: ServingError) -> None:
        """Answer with an error, close for writing, and throw away what still comes."""
        rules = request.rules
        rules.refused(error, request.life.begin)
        body = rules.respond(error, request.headers.get("X_REQUEST_ID", ""))
        text = b"" if request.command == "HEAD" else body
        retry = "Retry-After: 1\r\n" if error.status in (429, 503) else ""
        self.requests = []
        self.request = None
        request.close()
        self.lingers_until = time.monotonic() + LINGER_SECONDS
        self._send(head(error.status, len(body), "Connection: close\r\n" + retry) + text)
        if not self.total_outbufs_len and self.connected:
            self._half_close()

    def service(self) -> None:
        """Run the oldest request on this worker thread."""
        request = self.requests[0]
        try:
            super().service()
        finally:
            request.rules.gate.leave(request.work)

    def sweep(self, now: float, upload_timeout: float) -> None:
        """Refuse a request that comes too slowly, and end what lingers. Called by the I/O thread a few times a second."""
        if self.will_close or (self.lingers_until and now > self.lingers_until) or self._unread():
            self.handle_close()  # at once: a socket whose buffer is full never becomes writable, for which waitress waits
        if self.lingers_until or not self.connected:
            return
        request = self.request
        longest = min(upload_timeout, self.server.rules.timeout)
        if request is not None and not self.requests and now - self.began > longest:
            with self.requests_lock:
                if self.request is request:
                    words = f"the request was not whole after {longest:g} s; send it faster, or in parts"
                    self.refuse(request, SlowBody(words))

    def _unread(self) -> bool:
        idle = time.time() - self.last_activity
        return bool(self.total_outbufs_len) and idle > self.server.rules.timeout + UNREAD_SECONDS

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Cut off who asks on and on without reading. A worker that waited for such a client would be lost to the others."""
        self.will_close = self.will_close or self.total_outbufs_len > self.adj.outbuf_high_watermark

    def _pong(self, request: _Parser) -> None:
        """Answer a ping here and now, so that it tells of this process even while every worker is busy."""
        close = request.connection_close or request.rules.gate.state in (DRAINING, CLOSED)
        text = PONG if request.command == "GET" else b""
        self._send(head(200, len(PONG), "Connection: close\r\n" if close else "") + text)
        request.close()
        self.requests.pop(0)
        if close:
            self.requests = []
            self.close_when_flushed = True

    def _send(self, payload: bytes) -> None:
        with self.outbuf_lock:
            self.outbufs[-1].append(payload)
            self.total_outbufs_len += len(payload)
            self._flush_exception(self._flush_some, do_close=False)

    def _half_close(self) -> None:
        self.half_closed = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.will_close = True  # the client went away first


class Server(TcpWSGIServer):
    """A listening port, its connections and its worker threads."""

    channel_class = _Channel

    def __init__(self, app: Any, rules: Rules, sockets: dict[int, Any], host: str, port: int, threads: int, spare: int = 0):
        self.rules = rules
        adj = Adjustments(
            host=host,
            port=port,
            recv_bytes=RECV_BYTES,
            inbuf_overflow=INBUF_OVERFLOW,
            max_request_body_size=rules.max_body + 1,  # waitress refuses at this size, not above it
            max_request_header_size=64 * 2**10,
            connection_limit=CONNECTION_LIMIT + spare,
            channel_timeout=KEEP_ALIVE_SECONDS,
            channel_request_lookahead=1,  # or a client that goes away would not be noticed
            asyncore_use_poll=True,
            log_socket_errors=False,
            ident=None,
            clear_untrusted_proxy_headers=False,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        try:
            super().__init__(app, sockets, True, None, dispatcher, adj)
        except OSError as error:
            raise OSError(f"{host}:{port}: {error.strerror}; choose another port with --port and --admin-port") from error
        self._next_sweep = 0.0

    def add_task(self, channel: _Channel) -> None:
        """A channel has a whole request, first in line: called by the I/O thread or a worker, with requests_lock held."""
        while channel.requests:
            if channel.admit():
                self.task_dispatcher.add_task(channel)
                return

    def handle_accept(self) -> None:
        """Take in what waits, not one connection a turn: each turn of the loop looks at every connection there is."""
        for _ in range(ACCEPTS_A_TURN):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                break

    def sweep(self) -> None:
        """Look after slow and lingering connections, a few times a second however often it is called."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        for channel in list(self.active_channels.values()):
            channel.sweep(now, self.rules.upload_timeout)

    def turn_away(self) -> None:
        """Have the system make no new connections; those that it has made are still taken in."""
        turn_away(self.socket)

    def stop_listening(self) -> None:
        """Take in the last connections that the system has made, then listen no more."""
        before = -1
        while before != len(self.active_channels):
            before = len(self.active_channels)
            self.handle_accept()
        self.accepting = False
        self.del_channel()
        self.socket.close()

    def quiet(self) -> bool:
        """Return whether no connection has a request or an unsent answer."""
        return not any(
            c.requests or c.request is not None or c.total_outbufs_len or c.lingers_until
            for c in list(self.active_channels.values())
        )


def turn(sockets: dict[int, Any], servers: Iterable[Server]) -> None:
    """Let the I/O thread do what there is to do, for SWEEP_SECONDS at most when there is nothing.

    servers: swept also when they listen no more and have left the sockets.
    """
    wasyncore.loop(timeout=SWEEP_SECONDS, use_poll=True, map=sockets, count=1)
    for server in servers:
        server.sweep()


def _refusal_of(error: Any) -> ServingError:
    """Return waitress' own verdict on a head or body as one of ours."""
    if isinstance(error, RequestEntityTooLarge):
        return TooLarge(f"the body is too large ({error.body}); send less, or raise max_body in value.py")
    if isinstance(error, RequestHeaderFieldsTooLarge):
        return HeadTooLarge(f"the request's head is too large ({error.body}); send fewer or shorter headers")
    return BadInput(f"not a well-formed HTTP request: {error.body}")
