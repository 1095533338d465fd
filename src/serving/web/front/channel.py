"""One connection: its requests in order, its refusals, its end.

Knows one socket and waitress' states of it. Does not know how it was accepted.
"""

import socket
import threading
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask

from serving.base.errors import BodiesFull, ClientGone, ServiceFailed, ServingError, SlowBody
from serving.web.admission import CLOSED, DRAINING
from serving.web.front.parser import Nothing, Parser

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 2**20
RECV_BYTES = 256 * 2**10
HEAD_BYTES = 16 * 2**10  # read at once where no body is due, since parsing n bytes of headers or chunks takes time by n squared
UNREAD_SECONDS = 1.0  # beyond the timeout, for an answer of which the client takes nothing
RETRY = "Retry-After: 1\r\n"
NOWHERE = bytearray(RECV_BYTES)  # never written to
PHRASES = {200: "OK", 400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 429: "Too Many Requests"}
PHRASES |= {431: "Request Header Fields Too Large", 503: "Service Unavailable", 504: "Gateway Timeout"}
PONG = b'{"ping":"pong"}'


class Task(WSGITask):
    """A request on its worker thread."""

    def execute(self) -> None:
        self.request.begun = True
        super().execute()

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["monopod.life"] = self.request.life
        return environ

    def build_response_header(self) -> bytes:
        if self.request.rules.gate.state in (DRAINING, CLOSED):
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        return header


class _Failure(ErrorTask):
    """The answer where the application itself broke, beyond its own handlers."""

    def execute(self) -> None:
        body = self.channel.server.rules.respond(ServiceFailed("the server failed on this request; its log tells why"), "")
        self.status, self.content_length = "500 Internal Server Error", len(body)
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):
    """One connection."""

    task_class = Task
    error_task_class = _Failure
    requests: list[Parser]
    request: Parser | None  # that is being read
    will_close: bool
    lingers_until = 0.0  # set once refused: from then on, bytes are thrown away
    lingering_bytes = 0
    half_closed = False
    skip = 0  # bytes of a refused body to throw away before the next request
    began = 0.0  # of the request being read

    def parser_class(self, adj: Adjustments) -> HTTPRequestParser:
        if self.lingers_until or self.close_when_flushed:
            return Nothing(adj)
        self.began = time.monotonic()
        return Parser(adj, self.server.rules, self.began, self.give_up)

    def readable(self) -> bool:
        return bool(self.lingers_until or self.skip) or bool(super().readable())

    def recv(self, buffer_size: int) -> bytes:
        """Read as much as the body that is due, or a few heads."""
        due = getattr(getattr(self.request, "body_rcv", None), "remain", 0)
        data: bytes = super().recv(min(buffer_size, max(due, HEAD_BYTES)))
        return data

    def handle_read(self) -> None:
        if not self.lingers_until and not self.skip:
            super().handle_read()
            self.server.rules.bodies.make_room()  # with no requests_lock held: `give_up` takes one, perhaps another channel's
            return
        try:  # with MSG_TRUNC the kernel throws TCP's bytes away without copying them
            count = self.socket.recv_into(NOWHERE, min(self.skip, RECV_BYTES), socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if self.skip and count:
            self.skip -= count
            return
        self.lingering_bytes += count
        if count == 0 or self.lingering_bytes > LINGER_BYTES:
            self.handle_close()

    def handle_write(self) -> None:
        super().handle_write()
        if self.lingers_until and not self.total_outbufs_len and not self.half_closed and self.connected:
            self._half_close()

    def handle_close(self) -> None:
        """The connection is gone: nobody waits for what it asked."""
        for request in list(self.requests):
            request.life.abandon()
        for request in [*self.requests[1:], *filter(None, [self.request])]:  # a worker that has the first one closes it
            request.share.release()
        super().handle_close()

    def admit(self) -> bool:
        """Let the oldest whole request in, or refuse it. Returns whether a worker is to run it; requests_lock is held."""
        request = self.requests[0]
        if request.is_ping() and request.refusal is None:
            self._pong(request)
            return False
        late = request.life.too_late() if request.life.over() else None
        refusal = request.refusal or late or request.rules.gate.enter(request.work)
        if refusal is not None:
            self.refuse(request, refusal)
        return refusal is None

    def refuse(self, request: Parser, error: ServingError) -> None:
        """Answer with an error, and throw away what still comes of the body.

        A connection whose body's end is known and near serves on: under overload, connecting anew would cost both sides more
        than the refusal. Any other one is closed for writing.
        """
        rules = request.rules
        rules.refused(error, request.life.begin)
        body = rules.respond(error, request.headers.get("X_REQUEST_ID", ""))
        text = b"" if request.command == "HEAD" else body
        retry = RETRY if error.status in (429, 503) else ""
        # While a worker refuses, the I/O thread (the main one) may have read bytes that it would take for a head, not the body.
        sure = not request.unread or threading.current_thread() is threading.main_thread()
        alone = self.requests == [request] and self.request in (None, request)  # what is behind it was read, in part perhaps
        keep = sure and alone and request.may_serve_on()
        self._drop()
        if keep:
            self.began, self.skip = time.monotonic(), request.unread
            self._send(_head(error.status, len(body), retry) + text)
            return
        self.lingers_until = time.monotonic() + LINGER_SECONDS
        self._send(_head(error.status, len(body), "Connection: close\r\n" + retry) + text)
        if not self.total_outbufs_len and self.connected:
            self._half_close()

    def give_up(self, error: BodiesFull) -> None:
        """Refuse the request that is being read: others need its room. Called by the I/O thread, which holds no lock."""
        with self.requests_lock:
            request = self.request
            if request is None:
                return
            if self.requests:  # answers keep their order; what comes meanwhile is not read, as of any refused body
                request.turn_down(error)
                self.requests.append(request)
                self.request = None
            else:
                self.refuse(request, error)

    def service(self) -> None:
        """Run the oldest request on this worker thread."""
        request = self.requests[0]
        try:
            super().service()
            if not request.begun:  # nothing is run for a client that has gone already
                request.rules.refused(ClientGone("the client went away before its request was begun"), request.life.begin)
        finally:
            request.rules.gate.leave(request.work)
            if not self.connected:  # the I/O thread left out the one that was first; if it runs by now, it soon ends
                for request in list(self.requests):
                    request.share.release()

    def sweep(self, now: float, upload_timeout: float) -> None:
        """Refuse a request that comes too slowly, and end what lingers. Called by the I/O thread a few times a second."""
        late = now > (self.lingers_until or self.began + LINGER_SECONDS)
        if self.will_close or ((self.lingers_until or self.skip) and late) or self._unread():
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

    def idle_seconds(self) -> float:
        """Return how long ago a byte was last read or sent."""
        return float(time.time() - self.last_activity)

    def _unread(self) -> bool:
        return bool(self.total_outbufs_len) and self.idle_seconds() > self.server.rules.timeout + UNREAD_SECONDS

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Cut off a client that sends requests and reads no answers. A worker that waited for it would be lost."""
        self.will_close = self.will_close or self.total_outbufs_len > self.adj.outbuf_high_watermark

    def _pong(self, request: Parser) -> None:
        """Answer a ping here and now, so that it tells of this pod even while every worker is busy."""
        rules = request.rules
        unready = rules.pod.unready()
        body = PONG if unready is None else rules.respond(unready, request.headers.get("X_REQUEST_ID", ""))
        close = request.connection_close or rules.gate.state in (DRAINING, CLOSED)
        more = ("Connection: close\r\n" if close else "") + (RETRY if unready else "")
        text = b"" if request.command == "HEAD" else body
        self._send(_head(unready.status if unready else 200, len(body), more) + text)
        request.close()
        self.requests.pop(0)
        if close:
            self._drop()
            self.close_when_flushed = True

    def _drop(self) -> None:
        """Forget every request, whole or not: none behind the last answer is run. requests_lock is held."""
        for request in [*self.requests, *filter(None, [self.request])]:
            request.close()
        self.requests, self.request = [], None

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


def _head(status: int, length: int, headers: str) -> bytes:
    """Return the head of an answer in JSON. headers: whole lines, each ended by CR LF."""
    line = f"HTTP/1.1 {status} {PHRASES.get(status, 'Error')}"
    return f"{line}\r\n{headers}Content-Length: {length}\r\nContent-Type: application/json\r\n\r\n".encode("latin-1")
