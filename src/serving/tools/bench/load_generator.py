"""The load generator: requests at fixed times (an open loop), or each as soon as the last was answered (a closed loop).

Knows the clock. Does not know HTTP, or what a request holds.

Concurrency: one thread. Tasks change the result between two awaits only. In an open loop each request is a task, which the
client's timeout ends. In a closed loop each connection is a task.
"""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

MOST_IN_FLIGHT = 2000  # in an open loop: with more, a client would measure itself
TICK_SECONDS = 0.02
PAUSE_SECONDS = 0.1  # after a request without an answer, so that a server that is gone is not asked a million times


@dataclass(frozen=True)
class Load:
    """The load to generate, first for `warm_up` seconds, then for the measured `seconds`.

    rate: requests a second of an open loop, 0 for a closed one. concurrency: connections of a closed loop.
    """

    concurrency: int
    rate: float
    seconds: float
    warm_up: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or its absence. kind: the status, or why there is no answer. text: the server's words where it is not 2xx."""

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
    """The end of one request. due, sent, end: seconds since the measured time began; the warm-up is below 0."""

    answer: Answer
    due: float
    sent: float
    end: float


@dataclass
class RunResult:
    """The result of a run so far.

    seconds: the measured time, shorter than the load's where Ctrl-C ended it. unfinished: requests that Ctrl-C cut off.

    late: samples, in seconds, of how late the generator itself was. cpu: the part of one core that it took.
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
    """Yield when each request of an open loop is due, in seconds since the measured time began; the warm-up is below 0."""
    for number in itertools.count():
        due = number / load.rate - load.warm_up  # from the number, since a sum would drift
        if due >= load.seconds:
            return
        yield due


async def run(send: Send, load: Load, tell: Tell) -> RunResult:
    """Generate a load, wait for the answers, and return the result, after Ctrl-C the part that was measured.

    send: takes the request's number and raises nothing. tell: takes the seconds that have passed, now and then.
    """
    with _ends_by_ctrl_c():
        return await _Generator(send, load, tell).run()


@contextlib.contextmanager
def _ends_by_ctrl_c() -> Iterator[None]:
    """Cancel the running task by the first Ctrl-C, between two steps of the loop; the second one is Python's usual one.

    asyncio.run's own handler cancels amid any step, also the one in which a client sets an answer, which then fails.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()

    if not callable(signal.getsignal(signal.SIGINT)):  # a shell has jobs in the background ignore it
        yield
        return
    loop.add_signal_handler(signal.SIGINT, end)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class _Generator:
    def __init__(self, send: Send, load: Load, tell: Tell):
        self._send, self._load, self._tell = send, load, tell
        self._numbers = itertools.count()
        self._in_flight: set[asyncio.Task[Answer]] = set()
        self._started = 0
        self._result = RunResult()
        self._zero = time.perf_counter() + load.warm_up

    def _now(self) -> float:
        return time.perf_counter() - self._zero

    async def run(self) -> RunResult:
        result, cpu, began = self._result, time.process_time(), time.perf_counter()
        ticks = asyncio.create_task(self._ticks())
        try:
            await (self._open() if self._load.rate else self._closed())
        except asyncio.CancelledError:  # Ctrl-C; the second one is not caught
            result.stopped = True
            result.unfinished = self._started - len(result.outcomes)
        result.seconds = max(0.0, min(self._load.seconds, self._now())) if result.stopped else self._load.seconds
        result.cpu = (time.process_time() - cpu) / (time.perf_counter() - began)
        for task in (ticks, *self._in_flight):
            task.cancel()
        await asyncio.gather(ticks, *self._in_flight, return_exceptions=True)
        return result

    async def _closed(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(self._load.concurrency)))

    async def _connection(self) -> None:
        while (now := self._now()) < self._load.seconds:
            answer = await self._request(now)
            if not answer.came:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _open(self) -> None:
        for due in times(self._load):
            # Even when it is late, this gives control to the tasks that receive answers.
            await asyncio.sleep(max(0.0, due - self._now()))
            if len(self._in_flight) < MOST_IN_FLIGHT:
                task = asyncio.create_task(self._request(due))
                self._in_flight.add(task)
                task.add_done_callback(self._in_flight.discard)
            elif due >= 0:
                self._result.not_sent += 1
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _request(self, due: float) -> Answer:
        sent = self._now()
        if self._load.rate and due >= 0:
            self._result.late.append(sent - due)
        self._started += 1
        answer = await self._send(next(self._numbers))
        self._result.outcomes.append(Outcome(answer, due, sent, self._now()))
        return answer

    async def _ticks(self) -> None:
        """Tell how far the run is. A closed loop has no schedule to be late for, so the ticks' own delays are its samples."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                due = self._now() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                if not self._load.rate and 0 <= due < self._load.seconds:
                    self._result.late.append(self._now() - due)
                self._tell(self._now() + self._load.warm_up)
