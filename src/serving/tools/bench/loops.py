"""Who sends when: as soon as an answer came (a closed loop), or at fixed times whether or not answers come (an open loop).

Knows the clock. Does not know HTTP, nor what is sent.

Concurrency: one thread. The loop's tasks change what was seen between two awaits only. In an open loop a request is a task of
its own, and ends by the client's timeout; in a closed loop a connection is a task.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

MOST_ON_THEIR_WAY = 2000  # of an open loop: beyond, a client would measure itself
TICK_SECONDS = 0.02
PAUSE_SECONDS = 0.1  # after a request without an answer: a server that is gone is not to be asked a million times


@dataclass(frozen=True)
class Load:
    """What is asked for. rate: requests a second of an open loop; 0 is a closed one. seconds: measured, after warm_up."""

    concurrency: int
    rate: float
    seconds: float
    warm_up: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. kind: the status, or why none came. text: what a client is told, where it is not 2xx."""

    kind: str
    text: str = ""

    @property
    def good(self) -> bool:
        return self.kind.startswith("2")

    @property
    def came(self) -> bool:
        return self.kind.isdecimal()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's end. Seconds since the measured time began, so that the warm-up is below 0."""

    answer: Answer
    due: float
    sent: float
    end: float


@dataclass
class Seen:
    """What a run has seen so far. seconds: how long was measured; less than asked for where Ctrl-C ended it.

    late: seconds that the generator itself was late, each a sample. unfinished: requests that Ctrl-C cut off. cpu: the part of
    one core that the generator took.
    """

    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    not_sent: int = 0
    unfinished: int = 0
    stopped: bool = False
    cpu: float = 0.0


Send = Callable[[int], Awaitable[Answer]]
Tell = Callable[[float], None]


def times(load: Load) -> Iterator[float]:
    """Yield when an open loop's requests are due, the warm-up's first. Counted anew each time: a sum would drift."""
    for number in itertools.count():
        due = number / load.rate - load.warm_up
        if due >= load.seconds:
            return
        yield due


async def run(send: Send, load: Load, tell: Tell) -> Seen:
    """Send what a load asks for and wait for the answers; what Ctrl-C leaves is returned too.

    send: takes the request's number and raises nothing. tell: is told now and then how many seconds have passed.
    """
    return await _Run(send, load, tell).run()


class _Run:
    def __init__(self, send: Send, load: Load, tell: Tell):
        self._send, self._load, self._tell = send, load, tell
        self._numbers = itertools.count()
        self._on_their_way: set[asyncio.Task[Answer]] = set()
        self._started = 0
        self._seen = Seen()
        self._zero = time.perf_counter() + load.warm_up

    def _now(self) -> float:
        return time.perf_counter() - self._zero

    async def run(self) -> Seen:
        seen, cpu, began = self._seen, time.process_time(), time.perf_counter()
        ticks = asyncio.create_task(self._ticks())
        try:
            await (self._open() if self._load.rate else self._closed())
        except asyncio.CancelledError:  # asyncio.run turns Ctrl-C into this; the second one is not caught
            seen.stopped = True
            seen.unfinished = self._started - len(seen.outcomes)
        seen.seconds = max(0.0, min(self._load.seconds, self._now())) if seen.stopped else self._load.seconds
        seen.cpu = (time.process_time() - cpu) / (time.perf_counter() - began)
        for task in (ticks, *self._on_their_way):
            task.cancel()
        await asyncio.gather(ticks, *self._on_their_way, return_exceptions=True)
        return seen

    async def _closed(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(self._load.concurrency)))

    async def _connection(self) -> None:
        while (now := self._now()) < self._load.seconds:
            answer = await self._request(now)
            if not answer.came:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _open(self) -> None:
        for due in times(self._load):
            # When late, too, this lets answers in: they are what is measured.
            await asyncio.sleep(max(0.0, due - self._now()))
            if len(self._on_their_way) < MOST_ON_THEIR_WAY:
                task = asyncio.create_task(self._request(due))
                self._on_their_way.add(task)
                task.add_done_callback(self._on_their_way.discard)
            elif due >= 0:
                self._seen.not_sent += 1
        if self._on_their_way:
            await asyncio.wait(self._on_their_way)

    async def _request(self, due: float) -> Answer:
        sent = self._now()
        if self._load.rate and due >= 0:
            self._seen.late.append(sent - due)
        self._started += 1
        answer = await self._send(next(self._numbers))
        self._seen.outcomes.append(Outcome(answer, due, sent, self._now()))
        return answer

    async def _ticks(self) -> None:
        """Tell how far the run is. A closed loop has no schedule to be late for: there a tick says how late all is."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                due = self._now() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                if not self._load.rate and 0 <= due < self._load.seconds:
                    self._seen.late.append(self._now() - due)
                self._tell(self._now() + self._load.warm_up)
