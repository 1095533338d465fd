"""Deadlines pass on time, by a real loop's clock, however many are watched."""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator

import pytest

from serving.base.errors import DeadlinePassed, ServingError
from serving.base.lifetime import Lifetime
from serving.web.front.request_cycle import Deadlines
from tests.serving.web.request_cycles import own_loop

LATE = 0.01  # seconds after a timer of the loop's own for the same moment


class Request:
    """A watched request. finished: when, and with which errors. others: watched requests that end with it."""

    def __init__(self, deadlines: Deadlines, seconds: float):
        self.life = Lifetime(time.monotonic(), seconds)
        self.finished: list[tuple[float, ServingError]] = []
        self._deadlines = deadlines

    def finish(self, result: ServingError) -> None:
        self.finished.append((time.monotonic(), result))
        self._deadlines.forget(self)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with own_loop() as made:
        yield made


def spend(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    loop.run_until_complete(asyncio.sleep(seconds))


def test_a_deadline_passes_no_sooner_and_no_later_than_a_timer_of_its_own_would(loop: asyncio.AbstractEventLoop) -> None:
    deadlines, timers = Deadlines(loop), dict[int, float]()

    def note(number: int) -> None:
        timers[number] = time.monotonic()

    requests = [Request(deadlines, random.Random(number).uniform(0.02, 0.4)) for number in range(40)]
    for number, request in enumerate(requests):
        deadlines.watch(request)
        loop.call_later(request.life.left(), note, number)
    spend(loop, 0.5)
    assert [len(each.finished) for each in requests] == [1] * 40
    assert all(type(each.finished[0][1]) is DeadlinePassed for each in requests)
    assert all(each.finished[0][0] >= each.life.deadline for each in requests)
    # The median, since the system may hold this process between the two.
    assert statistics.median(each.finished[0][0] - timers[number] for number, each in enumerate(requests)) < LATE


def test_a_deadline_that_is_moved_forward_is_watched_anew(loop: asyncio.AbstractEventLoop) -> None:
    deadlines = Deadlines(loop)
    request, other = Request(deadlines, 30.0), Request(deadlines, 60.0)
    deadlines.watch(request)
    deadlines.watch(other)
    request.life.shorten(0.05)
    deadlines.watch(request)
    spend(loop, 0.2)
    assert len(request.finished) == 1
    assert other.finished == []


def test_a_request_that_is_forgotten_is_not_finished(loop: asyncio.AbstractEventLoop) -> None:
    deadlines = Deadlines(loop)
    request, other = Request(deadlines, 0.02), Request(deadlines, 0.04)
    deadlines.watch(request)
    deadlines.watch(other)
    deadlines.forget(request)
    deadlines.forget(request)
    spend(loop, 0.1)
    assert request.finished == []
    assert len(other.finished) == 1


def test_requests_that_are_watched_after_all_others_have_ended_are_finished_too(loop: asyncio.AbstractEventLoop) -> None:
    deadlines = Deadlines(loop)
    for _ in range(3):
        request = Request(deadlines, 0.02)
        deadlines.watch(request)
        spend(loop, 0.1)
        assert len(request.finished) == 1


def test_a_deadline_that_has_passed_already_is_finished_in_a_later_turn(loop: asyncio.AbstractEventLoop) -> None:
    deadlines = Deadlines(loop)
    request = Request(deadlines, 0.0)
    deadlines.watch(request)
    assert request.finished == []  # the caller is still at work on it
    spend(loop, 0.05)
    assert len(request.finished) == 1


class CountedTimers:
    """A loop's timers, counted. Everything else is the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop, self.set = loop, 0
        self.open: set[asyncio.TimerHandle] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: object, *arguments: object) -> asyncio.TimerHandle:
        self.set += 1
        handle = self._loop.call_later(delay, callback, *arguments)  # type: ignore[arg-type]
        self.open = {each for each in self.open if not each.cancelled()} | {handle}
        return handle


def test_thousands_are_watched_by_one_timer(loop: asyncio.AbstractEventLoop) -> None:
    timers = CountedTimers(loop)
    deadlines = Deadlines(timers)  # type: ignore[arg-type]
    requests = [Request(deadlines, 30.0 + number / 1000) for number in range(5000)]
    for request in requests:
        deadlines.watch(request)
    assert (timers.set, len(timers.open)) == (1, 1)
    soon = Request(deadlines, 0.02)
    deadlines.watch(soon)
    assert (timers.set, len(timers.open)) == (2, 1)
    spend(loop, 0.1)
    assert len(soon.finished) == 1
    assert not any(each.finished for each in requests)


def test_a_request_that_cannot_be_answered_keeps_no_other_from_its_deadline(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Request):
        def finish(self, result: ServingError) -> None:
            raise ValueError("broken")

    deadlines = Deadlines(loop)
    broken, good = Broken(deadlines, 0.02), Request(deadlines, 0.02)
    deadlines.watch(broken)
    deadlines.watch(good)
    spend(loop, 0.2)
    assert len(good.finished) == 1
    assert [record.message for record in caplog.records] == ["a request could not be answered at its deadline"]
