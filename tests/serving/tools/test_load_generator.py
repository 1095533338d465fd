"""monopod bench: when requests are due, and what figures say of a server that stalls and of a generator that is late."""

import asyncio
import os
import signal
import threading
import time

import pytest

from serving.tools.bench import load_generator
from serving.tools.bench.bench_command import as_text, notes
from serving.tools.bench.http_client import bodies, client
from serving.tools.bench.load_generator import Answer, Load, Outcome, RunResult, figures, run, times
from tests.serving.http_server import http_server

GOOD = Answer("200")


class Stall:
    """Answers at once, but for one second in which nobody is answered."""

    def __init__(self, after: float):
        self._after, self._lock, self._begin = after, threading.Lock(), 0.0

    def __call__(self, body: bytes, kind: str) -> tuple[int, bytes]:
        with self._lock:
            now = time.perf_counter()
            self._begin = self._begin or now + self._after
            end = self._begin + 1
        if self._begin <= now < end:
            time.sleep(end - now)
        return 200, b"{}"


def result_of(url: str, load: Load) -> RunResult:
    async def measure() -> RunResult:
        async with client(url, bodies([], ["{}"], []), {}, 10) as send:
            return await run(send, load, lambda now: None)

    return asyncio.run(measure())


def test_requests_are_due_at_fixed_times_the_warm_up_before_zero() -> None:
    due = list(times(Load(0, rate=1000, seconds=3, warm_up=1)))
    assert len(due) == 4000
    assert [due[0], due[1000], due[-1]] == pytest.approx([-1, 0, 2.999])


def test_percentiles_are_times_that_were_measured_and_the_warm_up_is_not_counted() -> None:
    outcomes = [Outcome(GOOD, number / 100, number / 100, number / 100 + 0.001 * (number + 1)) for number in range(100)]
    outcomes.append(Outcome(GOOD, -0.5, -0.5, 9.0))
    found = figures(RunResult(seconds=1.05, outcomes=outcomes))
    assert found.ms is not None
    assert [round(value) for value in (found.ms.p50, found.ms.p95, found.ms.p99, found.ms.max)] == [50, 95, 99, 100]
    assert found.requests == 100


def test_throughput_counts_what_came_in_the_measured_time_whenever_it_was_sent() -> None:
    came = [Outcome(GOOD, due, due, due + 3) for due in (-2.5, -1.0, 0.5, 5.0, 9.0)] + [Outcome(Answer("429"), 1, 1, 1.1)]
    found = figures(RunResult(seconds=10, outcomes=came))
    assert found.throughput == pytest.approx(0.4)
    assert [(kind.name, kind.count) for kind in found.kinds] == [("200", 3), ("429", 1)]


def test_an_open_loop_shows_a_stall_in_full() -> None:
    """A request is due every 10 ms; each of the 100 in the second of the stall waits for its end."""
    with http_server(Stall(after=1)) as url:
        result = result_of(url, Load(0, rate=100, seconds=3, warm_up=0))
    found = figures(result)
    waits = [one.end - one.due for one in result.outcomes]
    assert found.requests == 300
    assert found.ms is not None
    assert found.ms.p99 > 950
    assert sum(wait > 0.5 for wait in waits) >= 45  # half of the stall, and what a busy machine adds


def test_a_closed_loop_shows_it_once_a_connection() -> None:
    with http_server(Stall(after=0.5)) as url:
        result = result_of(url, Load(concurrency=2, rate=0, seconds=2, warm_up=0))
    assert sum(one.end - one.due > 0.9 for one in result.outcomes) == 2
    assert len(result.outcomes) > 20


def test_what_is_due_while_too_many_are_in_flight_is_counted_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_generator, "MAX_IN_FLIGHT", 20)

    async def slow(number: int) -> Answer:
        await asyncio.sleep(0.6)
        return GOOD

    load = Load(0, rate=100, seconds=0.5, warm_up=0)
    found = figures(asyncio.run(run(slow, load, lambda now: None)))
    assert (found.requests, found.not_sent) == (20, 30)
    assert "30 of 50 requests were due and not sent" in notes(found, load)[0]


def test_a_generator_that_is_late_itself_says_so() -> None:
    async def blocking(number: int) -> Answer:
        time.sleep(0.03)
        return GOOD

    load = Load(0, rate=100, seconds=0.5, warm_up=0)
    found = figures(asyncio.run(run(blocking, load, lambda now: None)))
    assert found.requests == 50
    assert found.ms is not None
    assert found.ms.max > found.late_p99_ms > 500
    assert "the generator itself was late: " in notes(found, load)[0]


def test_a_server_that_hangs_up_is_asked_no_more_than_ten_times_a_second_by_a_connection() -> None:
    async def gone(number: int) -> Answer:
        return Answer("connection refused")

    load = Load(concurrency=2, rate=0, seconds=0.5, warm_up=0)
    found = figures(asyncio.run(run(gone, load, lambda now: None)))
    assert 2 <= found.requests <= 10
    assert found.ms is None
    assert "no answer was 2xx" in as_text(found, load, "POST x")


def test_ctrl_c_waits_for_the_end_of_the_step_in_which_a_client_sets_an_answer() -> None:
    failed: list[object] = []

    def set_answer(waiting: asyncio.Future[Answer]) -> None:
        assert not waiting.done()
        os.kill(os.getpid(), signal.SIGINT)
        waiting.set_result(GOOD)

    async def send(number: int) -> Answer:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failed.append(context))
        waiting: asyncio.Future[Answer] = loop.create_future()
        loop.call_soon(set_answer, waiting)
        return await waiting

    result = asyncio.run(run(send, Load(1, 0, 60, 0), lambda now: None))
    assert (result.stopped, failed) == (True, [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
