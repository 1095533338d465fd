"""The load generator: requests at fixed times (an open loop), or each as soon as the last was answered (a closed loop).

Its result becomes figures: counts, throughput and percentiles of latency.

Concurrency: one thread. Tasks change the result between two awaits only. In an open loop each request is a task, which the
client's timeout ends. In a closed loop each connection is a task.
"""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

MAX_IN_FLIGHT = 2000  # in an open loop: with more, a client would measure itself
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
            if len(self._in_flight) < MAX_IN_FLIGHT:
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


@dataclass(frozen=True)
class Spread:
    """Percentiles of times, in milliseconds. Each is one of the times: the smallest that this share does not exceed."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class AnswerKind:
    """All requests with the same end. name: the status, or why no answer came. text: the server's words to the first."""

    name: str
    count: int
    ms: Spread
    text: str


@dataclass(frozen=True)
class BenchFigures:
    """The figures of one run.

    requests: the number that was due in the measured seconds, and ended. throughput: answers of 2xx a second that came in the
    measured seconds. Answers to the warm-up's last requests count there, since answers to the last measured requests come too
    late to count.

    ms: of answers of 2xx, from when a request was due; None without such an answer. late_p99_ms: of the generator.
    """

    seconds: float
    requests: int
    throughput: float
    good: int
    ms: Spread | None
    kinds: tuple[AnswerKind, ...]
    not_sent: int
    unfinished: int
    stopped: bool
    late_p99_ms: float
    cpu: float


def figures(result: RunResult) -> BenchFigures:
    """Return the figures of a run."""
    measured = [one for one in result.outcomes if one.due >= 0]
    good = [one for one in measured if one.answer.good]
    in_time = sum(1 for one in result.outcomes if one.answer.good and 0 <= one.end < result.seconds)
    names = sorted({one.answer.kind for one in measured})
    return BenchFigures(
        seconds=result.seconds,
        requests=len(measured),
        throughput=in_time / result.seconds if result.seconds else 0.0,
        good=len(good),
        ms=_latencies(good) if good else None,
        kinds=tuple(_kind(name, [one for one in measured if one.answer.kind == name]) for name in names),
        not_sent=result.not_sent,
        unfinished=result.unfinished,
        stopped=result.stopped,
        late_p99_ms=spread(result.late).p99 if result.late else 0.0,
        cpu=result.cpu,
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Return the percentiles of times. seconds: one or more."""
    return Spread(*percentiles([1000 * each for each in seconds], 0.5, 0.95, 0.99, 1))


def percentiles(values: Sequence[float], *shares: float) -> list[float]:
    """Return for each share (0 to 1) the smallest value that at least this share of the values does not exceed.

    This is the nearest rank, so each is one of the values.
    """
    found: list[float] = np.percentile(values, [100 * share for share in shares], method="inverted_cdf").tolist()
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return percentiles(values, share)[0]


def _latencies(outcomes: Sequence[Outcome]) -> Spread:
    return spread([one.end - one.due for one in outcomes])


def _kind(name: str, outcomes: Sequence[Outcome]) -> AnswerKind:
    text = next((one.answer.text for one in outcomes if one.answer.text), "")
    return AnswerKind(name, len(outcomes), _latencies(outcomes), text)
