"""A request being read: admitted or refused as soon as its head is whole.

Knows heads and the gate. Does not know sockets.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from serving.base.errors import BadInput, BodiesFull, HeadTooLarge, ServingError, TooLarge
from serving.base.lifetime import Lifetime
from serving.web.admission import READY, Gate
from serving.web.held_bodies import Bodies

PING = "/api/ping"
MOST_SPACES = 128  # in a row: to parse a header takes time by their square, and 64 KiB of them half a minute
MUCH_SPACE = b" " * (MOST_SPACES + 1)
SKIP_BYTES = 2**20  # of a refused body: a connection with less to come serves on


@dataclass(frozen=True)
class Rules:
    """The rules by which the front admits requests, in seconds and bytes.

    gate: of this port. pod: the data port's gate, whose state a ping tells on every port. bodies: of all ports.
    respond: makes an error's body. refused: counts a request that no route saw.
    """

    gate: Gate
    pod: Gate
    bodies: Bodies
    timeout: float
    upload_timeout: float
    max_body: int
    respond: Callable[[ServingError, str], bytes]
    refused: Callable[[ServingError, float], None]


class Parser(HTTPRequestParser):
    """A request being read, admitted as soon as its head is whole."""

    refusal: ServingError | None = None
    command = ""
    work = True
    path = ""  # stays so when the head cannot be parsed
    expected = False  # the client asked whether to send its body
    begun = False  # a worker has called the application
    unread = 0  # bytes of the body that were not read when it was refused

    def __init__(self, adj: Adjustments, rules: Rules, begin: float, end: Callable[[BodiesFull], None]):
        super().__init__(adj)
        self.rules, self.life, self.share = rules, Lifetime(begin, rules.timeout), rules.bodies.begin(end)

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.error is not None and self.refusal is None:
            self.refusal = _refusal_of(self.error)
        if self.refusal is not None:
            self.unread = self.content_length - (len(data) - consumed)
            self.completed, self.expect_continue = True, False
            self.share.release()
            return len(data)  # what follows a refused head is never parsed
        self.share.add(consumed)
        if self.completed:
            self.life.received = time.monotonic()
            self.share.finish()
        if self.empty:  # line breaks between two requests
            self.share.release()
        return consumed

    def turn_down(self, error: ServingError) -> None:
        """Refuse a request of which a part was read, in its turn, and hold nothing of it any more."""
        self.refusal, self.completed, self.expect_continue = error, True, False
        self.unread = getattr(self.body_rcv, "remain", 0)
        self.close()

    def close(self) -> None:
        """Forget the body. Called wherever a request ends, by whichever thread ends it."""
        super().close()
        self.share.release()

    def parse_header(self, header_plus: bytes) -> None:
        spaced = header_plus.replace(b"\t", b" ")
        if b"\r\n " in spaced or MUCH_SPACE in spaced:
            raise ParsingError(f"a line of its head is folded (RFC 9112, 5.2), or has over {MOST_SPACES} spaces in a row")
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # of int() and urlsplit(), which waitress lets through
            raise ParsingError("its target or a number in it is none") from error
        self.expected = self.expect_continue
        self.work = self.command not in ("GET", "HEAD", "OPTIONS")
        self.life.deadline = self.life.begin + _allowed_seconds(self.headers, self.rules.timeout)
        if self.content_length > self.rules.max_body:
            self.refusal = TooLarge(f"the body has {self.content_length} bytes, at most {self.rules.max_body} are taken")
        elif not self.is_ping():
            self.refusal = self.rules.gate.refusal(self.work) or self.rules.bodies.refusal(self.content_length)
        if self.refusal is not None:
            self.body_rcv = None
        self.expect_continue = self.expect_continue and self.body_rcv is not None

    def is_ping(self) -> bool:
        """Whether this is a ping, which the I/O thread answers whatever else is under way."""
        return bool(self.path == PING) and not self.work

    def may_serve_on(self) -> bool:
        """Whether the connection can serve another request after this one was refused."""
        ends = self.error is None and not self.chunked and not self.expected and 0 <= self.unread <= SKIP_BYTES
        return ends and self.version == "1.1" and not self.connection_close and self.rules.gate.state == READY


class Nothing(HTTPRequestParser):
    """Takes the bytes after a connection's last answer, and discards them."""

    completed = empty = True

    def received(self, data: bytes) -> int:
        return len(data)


def _refusal_of(error: Any) -> ServingError:
    """Return waitress' own verdict on a head or body as one of ours."""
    if isinstance(error, RequestEntityTooLarge):
        return TooLarge(f"the body is too large ({error.body}); send less, or raise max_body in value.py")
    if isinstance(error, RequestHeaderFieldsTooLarge):
        return HeadTooLarge(f"the request's head is too large ({error.body}); send fewer or shorter headers")
    return BadInput(f"not a well-formed HTTP request: {error.body}")


def _allowed_seconds(headers: dict[str, str], most: float) -> float:
    """Return the seconds that the client, or Envoy on its behalf, allows; never more than the service's own."""
    for name in ("X_REQUEST_TIMEOUT_MS", "X_ENVOY_EXPECTED_RQ_TIMEOUT_MS"):
        text = headers.get(name, "")
        if text.isascii() and text.isdigit() and 0 < int(text[:12]) / 1000 < most:
            most = int(text[:12]) / 1000
    return most
