"""One request, from its whole head to its answer, and the deadlines of all requests under way.

Only the loop's thread calls it, but for `read`, `stream` and the attributes that a worker thread needs.

A timer for each request would cost as much as parsing it. Most requests end long before their deadline, so one timer is set to
the earliest deadline that was seen, and looks at all requests only then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import BinaryIO, Protocol
from urllib.parse import parse_qsl

from serving.base.errors import BadInput, ClientGone, ServiceFailed, ServingError, TooLarge
from serving.base.lifetime import Lifetime
from serving.base.request_ids import new_request_id
from serving.core.messages import Reply, Result, StageTimes, Stream
from serving.web.admission import CLOSED, DRAINING, READY, Gate
from serving.web.front import answers
from serving.web.front.answers import error_body, error_reply, request_id
from serving.web.front.body import Body
from serving.web.front.heads import Head
from serving.web.front.held_bytes import Bodies, Share

log = logging.getLogger("monopod.front")

PING = "/api/ping"
PONG = Reply(b'{"ping":"pong"}')
MAX_PARAMETERS = 10_000  # of a URL
LARGE_BODY = 64 * 2**10  # bytes; a larger body is not copied to stand behind its head
TIMEOUTS = (b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms")  # of the client, or of Envoy on its behalf
MAX_KNOWN, MAX_KNOWN_LENGTH = 64, 64  # content types that are remembered, and the longest of them in bytes
LIGHT = ("GET", "HEAD", "OPTIONS")  # methods of requests that call no model


class Watched(Protocol):
    """A request."""

    life: Lifetime

    def finish(self, result: ServingError) -> None: ...


class Deadlines:
    """The watched requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._watched: dict[Watched, None] = {}
        self._due = float("inf")  # the earliest deadline, in seconds of time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, request: Watched) -> None:
        """Finish a request with its error when its deadline passes. Called again when the deadline has moved."""
        self._watched[request] = None
        if request.life.deadline < self._due:
            self._set(request.life.deadline)

    def forget(self, request: Watched) -> None:
        """Watch a request no longer."""
        self._watched.pop(request, None)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        # The loop counts whole milliseconds, so a timer may come one too early; then it is set again.
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._look)

    def _look(self) -> None:
        self._due, self._timer = float("inf"), None
        now = time.monotonic()
        for request in [each for each in self._watched if each.life.deadline <= now]:
            try:
                request.finish(request.life.too_late())
            except Exception:  # the others are due too
                log.exception("a request could not be answered at its deadline")
                self._watched.pop(request, None)
        if self._watched:
            self._set(min(each.life.deadline for each in self._watched))


@dataclass(frozen=True)
class Rules:
    """The rules by which a port's requests are admitted and answered, in seconds and bytes.

    gate: of this port. pod: the data port's gate, whose state a ping tells on every port. bodies: of all ports.
    run: begins the work on a whole request, and has `finish` called. ended: notes a request that was run, with its status, its
    reason and the time at which it ended. refused: counts a request that was not run. lane: takes a whole request of a client's
    first byte at a time, and answers it in this turn of the loop. It returns None, with nothing done, for any that it leaves.
    """

    loop: asyncio.AbstractEventLoop
    gate: Gate
    pod: Gate
    bodies: Bodies
    deadlines: Deadlines
    timeout: float
    upload_timeout: float
    max_body: int
    run: Callable[["RequestCycle"], None]
    ended: Callable[["RequestCycle", int, str, float], None]
    refused: Callable[[ServingError, float], None]
    lane: Callable[["Client", bytes, float], "RequestCycle | None"] = lambda client, data, begin: None


class Client(Protocol):
    """The connection that waits for the answer."""

    def takes_more(self) -> bool: ...

    def send_part(self, data: bytes) -> None: ...

    def send(self, answer: bytes, close: bool, body: bytes = b"") -> None: ...


class RequestCycle:
    """One request, as the core takes it too. route and reason: for metrics and logs, set by the code that runs the request.

    path_values: parameters that stand in the path, by their names. parts: of a streamed answer, while a worker thread has it.
    """

    route = reason = content_type = kind = ""
    running = over = False
    length = 0  # bytes of the body
    sent = 0  # bytes of the answer's body
    held = 0  # bytes that count as held, where all came in one read
    share: Share | None = None  # in which the bytes count otherwise
    path_values: Mapping[str, str] = {}
    parts: Stream | None = None
    _sending: tuple[Stream, int] | None = None  # a streamed answer whose head is sent, and its status
    _chunked = False  # whether its parts are chunks
    _body: Body | bytes = b""

    def __init__(self, client: Client, rules: Rules, head: Head, begin: float):
        self.client, self.rules, self.head = client, rules, head
        self.life = Lifetime(begin, rules.timeout)
        headers = head.headers
        if TIMEOUTS[0] in headers or TIMEOUTS[1] in headers:
            self.life.shorten(allowed_seconds(headers, rules.timeout))
        self.times = StageTimes(begin)
        given = headers.get(b"x-request-id")
        self.id = request_id(given.decode("latin-1")) if given else new_request_id()
        self.work = head.method not in LIGHT

    def refusal(self) -> ServingError | None:
        """Return why a request whose head was just read is not accepted, or None."""
        return self.rules.gate.refusal(self.work) or self.rules.bodies.refusal(self.head.length)

    def too_large(self) -> TooLarge | None:
        """Return why a body of the announced length is not taken, or None."""
        length = self.head.length
        if length <= self.rules.max_body:
            return None
        most = self.rules.max_body
        return TooLarge(f"the body has {length} bytes, at most {most} are taken; send less, or raise max_body in value.py")

    def pong(self) -> None:
        """Answer a ping, so that it tells of this pod even while every thread is busy."""
        unready = self.rules.pod.unready()
        self._send(PONG if unready is None else error_reply(unready, self.id))

    def run(self, body: Body | bytes, accepted: bool) -> ServingError | None:
        """Begin the work on a request whose last byte has come, or return why it is refused.

        accepted: whether it was accepted when its head was read.
        """
        self._body, self.length, gate = body, len(body), self.rules.gate
        life, given = self.life, self.head.headers.get(b"content-type")
        if given:
            self.content_type, self.kind = kind_of_content(given)
        life.received = now = time.monotonic()
        self.times.begin("queue", now)
        if now >= life.deadline:
            return life.too_late()
        refusal = (gate.enter if accepted else gate.admit)(self.work)
        if refusal is not None:
            return refusal
        self.start()
        return None

    def start(self) -> None:
        """Begin the work on a request that was let in."""
        self.running = True
        try:
            self.rules.run(self)
        except ServingError as error:
            self.finish(error)
        except Exception:
            log.exception("a request was not begun", extra={"request_id": self.id})
            self.finish(ServiceFailed(f"the server failed on this request; its log tells why under request_id {self.id}"))
        if not self.over:
            self.rules.deadlines.watch(self)

    def read(self) -> bytes:
        """Return the body. Raises ClientGone and DeadlinePassed for a request that is over, which has none any more."""
        body = self._body
        if self.over or self.life.abandoned:
            raise self.life.error() or self.life.too_late()
        return body if isinstance(body, bytes) else body.read()

    def stream(self) -> BinaryIO:
        """Return the body as a file."""
        body = self._body
        if isinstance(body, bytes):
            whole = Body()
            whole.add(body)
            body = whole
        return body.stream()

    def parameters(self) -> Mapping[str, str]:
        """Return the parameters of the URL; the first of several of one name counts. Raises BadInput for too many."""
        if not self.head.query:
            return self.path_values
        try:
            found = parse_qsl(self.head.query, keep_blank_values=True, errors="replace", max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise BadInput(f"the URL has more than {MAX_PARAMETERS} parameters, the most that are read") from None
        return {**dict(reversed(found)), **self.path_values}

    def finish(self, result: Result) -> None:
        """Answer, unless the deadline has done so, or the client has gone."""
        if self.over:
            return
        if isinstance(result, ServingError):
            if self._sending is not None:
                self._end_stream(*self._sending, result)
                return
            self.reason = result.reason
            result = error_reply(result, self.id)
        if result.stream is not None:
            if self.head.method != "HEAD" and result.status not in answers.WITHOUT_BODY:
                self._begin_stream(result, result.stream)
                return
            self.life.abandon()  # nobody waits for the parts
        if self.head.method != "HEAD":
            self.sent = len(result.body)
        self._end(result.status)
        self._send(result)

    def send_parts(self) -> None:
        """Send what waits of a streamed answer, if the client takes it, and end the answer after its last part."""
        if self.over or self._sending is None or not self.client.takes_more():
            return
        parts, ended, error = self._sending[0].take()
        if parts:
            self._send_part(parts)
        if ended:
            self._end_stream(*self._sending, error)

    def interim(self) -> bytes:
        """Return bytes that change no answer in HTTP/1.1: within a stream, a zero more before the size of the next chunk."""
        return answers.CONTINUE if self._sending is None else b"0"

    def finish_later(self, result: Result) -> None:
        """Do as `finish`, from another thread."""
        self.rules.loop.call_soon_threadsafe(self.finish, result)

    def deadline_moved(self) -> None:
        """Have the deadline watched anew. Any thread may call it."""
        self.rules.loop.call_soon_threadsafe(self._watch_again)

    def abandon(self) -> None:
        """End without an answer: the client went away."""
        self.life.abandon()
        self.release()
        if self.running and not self.over:
            self.reason = ClientGone.reason
            self._end(ClientGone.status)

    def release(self) -> None:
        """Hold and count no bytes any more. A thread that has read the body keeps that until it ends."""
        self._body = b""
        if self.share is not None:
            self.share.release()
            self.share = None
        if self.held:
            self.rules.bodies.release_whole(self.held)
            self.held = 0

    def refuse(self, error: ServingError, close: bool) -> None:
        """Answer a request that was not run."""
        self.over = True
        self.release()
        self.rules.refused(error, self.life.begin)
        self._send(error_reply(error, self.id), close)

    def may_serve_on(self) -> bool:
        """Whether the connection can serve another request after this one was refused."""
        head = self.head
        return head.keep_alive and not head.chunked and not head.expects and self.rules.gate.state == READY

    def _begin_stream(self, reply: Reply, stream: Stream) -> None:
        """Send the head of a streamed answer, and from now on its parts."""
        self._sending, self._chunked = (stream, reply.status), self.head.version == "1.1"
        more = answers.AS_IT_COMES + answers.CHUNKED * self._chunked + answers.CLOSE * (self._closes() or not self._chunked)
        self.client.send_part(answers.answer(reply, self.id, more, with_body=False))
        stream.wake = partial(self.rules.loop.call_soon_threadsafe, self.send_parts)
        self.send_parts()

    def _send_part(self, part: bytes) -> None:
        self.sent += len(part)
        self.client.send_part(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)

    def _end_stream(self, stream: Stream, status: int, error: ServingError | None = None) -> None:
        """End a streamed answer, after an error with a part that tells it. Where none can, the last chunk stays away.

        Elsewhere it comes, since a gateway takes a pod that cuts an answer for broken, and sends it nothing for a while.
        """
        part: bytes | None = b""
        if error is not None:
            status, self.reason = error.status, error.reason
            part = stream.framed(error_body(error, self.id))
        if part:
            self._send_part(part)
        whole = self._chunked and part is not None
        self._end(status)
        self.client.send(answers.LAST_CHUNK if whole else b"", close=not whole or self._closes())

    def _closes(self) -> bool:
        return not self.head.keep_alive or self.rules.gate.state in (DRAINING, CLOSED)

    def _watch_again(self) -> None:
        if not self.over:
            self.rules.deadlines.watch(self)

    def _end(self, status: int) -> None:
        self.over = True
        ended = self.times.end(self.life.taken)
        self.rules.deadlines.forget(self)
        self.rules.gate.leave(self.work)
        self.rules.ended(self, status, self.reason, ended)
        self._sending = self.parts = None  # or a stream and this would keep each other until the garbage collector runs
        if self.share is not None or self.held:
            self.release()

    def _send(self, reply: Reply, close: bool = False) -> None:
        head = self.head
        close = close or self._closes()
        more = answers.CLOSE if close else answers.KEEP_ALIVE if head.version == "1.0" else ""
        if reply.status in answers.OVERLOADED:
            more += answers.RETRY
        with_body = head.method != "HEAD"
        if with_body and len(reply.body) > LARGE_BODY and reply.status not in answers.WITHOUT_BODY:
            self.client.send(answers.answer(reply, self.id, more, with_body=False), close, reply.body)
        else:
            self.client.send(answers.answer(reply, self.id, more, with_body), close)


def unread_head(error: ServingError) -> bytes:
    """Return the answer to a request whose head could not be read. It ends the connection."""
    name = request_id("")
    return answers.answer(error_reply(error, name), name, answers.CLOSE)


def _kind(content_type: bytes) -> tuple[str, str]:
    text = content_type.decode("latin-1")
    return text, text.partition(";")[0].strip().lower()


_known_kind = lru_cache(MAX_KNOWN)(_kind)


def kind_of_content(given: bytes) -> tuple[str, str]:
    """Return a content type as text, and without its parameters, in lower case."""
    return (_known_kind if len(given) <= MAX_KNOWN_LENGTH else _kind)(given)


def allowed_seconds(headers: dict[bytes, bytes], most: float) -> float:
    """Return the seconds that the client, or Envoy on its behalf, allows; never more than the service's own."""
    for name in TIMEOUTS:
        text = headers.get(name)
        if text and text.isdigit() and 0 < int(text[:12]) / 1000 < most:
            most = int(text[:12]) / 1000
    return most
