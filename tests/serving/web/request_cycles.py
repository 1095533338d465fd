"""Requests without a connection: whole heads in, and the bytes of answers kept."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import uvloop

from serving.base.errors import ServingError
from serving.web.admission import Gate
from serving.web.front.heads import parse
from serving.web.front.held_bytes import Bodies
from serving.web.front.request_cycle import Deadlines, RequestCycle, Rules

Run = Callable[[RequestCycle], None]


class KeptAnswers:
    """A client that keeps what it is sent."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self._parts = b""
        self.closes: list[bool] = []  # for each answer, whether it ends the connection

    def takes_more(self) -> bool:
        return True

    def send_part(self, data: bytes) -> None:
        self._parts += data

    def send(self, answer: bytes, close: bool, body: bytes = b"") -> None:
        self.answers.append(self._parts + answer + body)
        self._parts = b""
        self.closes.append(close)

    @property
    def status(self) -> int:
        """The status of the only answer."""
        (answer,) = self.answers
        return int(answer.split()[1])


class Front:
    """Rules under which cycles run, and what was noted of their ends. limit: requests of work at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Run = lambda cycle: None, timeout: float = 30.0, limit: int = 4):
        self.loop, self.full = loop, False
        self.ends: list[tuple[int, str]] = []  # status and reason of each request that ran
        self.refusals: list[str] = []  # reason of each request that did not run
        self.gate = Gate(limit, lambda: self.full)
        self.gate.open()
        self.bodies = Bodies(10_000)
        self.rules = Rules(
            loop, self.gate, self.gate, self.bodies, Deadlines(loop), timeout, timeout, 1000, run, self._ended, self._refused
        )

    def cycle(self, head: bytes = b"POST / HTTP/1.1\r\nHost: x\r\n", *lines: bytes, begin: float | None = None) -> RequestCycle:
        """Return a request whose head was read. lines: further header lines. begin: its first byte's time, None for now."""
        whole = head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        return RequestCycle(KeptAnswers(), self.rules, parse(whole), time.monotonic() if begin is None else begin)

    def _ended(self, cycle: RequestCycle, status: int, reason: str, ended: float) -> None:
        self.ends.append((status, reason))

    def _refused(self, error: ServingError, begin: float) -> None:
        self.refusals.append(error.reason)


def kept(cycle: RequestCycle) -> KeptAnswers:
    """Return the client of a request cycle that a Front made."""
    client = cycle.client
    assert isinstance(client, KeptAnswers)
    return client


@contextlib.contextmanager
def loop_on_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop on a thread of its own for the length of a block."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@contextlib.contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that the caller's thread runs by `run_until_complete`."""
    loop = uvloop.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()
