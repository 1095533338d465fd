"""One request is admitted, watched, answered once, and counted once, however it ends."""

import asyncio
import random
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from serving.base.errors import (
    BadInput,
    BodiesFull,
    DeadlinePassed,
    NotReady,
    QueueFull,
    ServiceFailed,
    ServingError,
    ShortDeadline,
    TooLarge,
)
from serving.base.lifetime import Lifetime
from serving.core.messages import Reply
from serving.web.admission import CLOSED, DRAINING, STARTING
from serving.web.front.body import Body
from serving.web.front.request_cycle import Deadlines, RequestCycle, unread_head
from tests.serving.stage_begins import seconds_of
from tests.serving.web.request_cycles import Front, kept, own_loop

FINE = Reply(b"{}")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with own_loop() as made:
        yield made


def spend(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    loop.run_until_complete(asyncio.sleep(seconds))


def request(method: bytes = b"POST", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    return b"%s %s HTTP/%s\r\nHost: x\r\n" % (method, path, version)


def test_a_request_is_answered_and_counted_once(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    assert cycle.run(b"{}", True) is None
    assert front.gate.working() == 1
    cycle.finish(FINE)
    cycle.finish(BadInput("too late"))
    cycle.abandon()
    assert kept(cycle).status == 200
    assert (front.ends, front.refusals, front.gate.empty()) == ([(200, "")], [], True)


def test_a_request_that_was_run_at_once_is_watched_no_more(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop, lambda cycle: cycle.finish(FINE), timeout=0.05)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    spend(loop, 0.1)
    assert kept(cycle).status == 200
    assert front.ends == [(200, "")]


def test_an_error_of_whoever_runs_it_is_the_answer(loop: asyncio.AbstractEventLoop) -> None:
    def run(cycle: RequestCycle) -> None:
        raise BadInput("no such thing")

    front = Front(loop, run)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    assert kept(cycle).status == 400
    assert b'"error":"no such thing"' in kept(cycle).answers[0]
    assert (front.ends, front.gate.empty()) == ([(400, "bad_input")], True)


def test_a_deadline_ends_a_request_in_the_stage_in_which_it_is(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop, timeout=0.1)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    spend(loop, 0.2)
    cycle.finish(FINE)
    assert kept(cycle).status == 504
    assert front.ends == [(504, "deadline_passed")]
    seconds = seconds_of(cycle.times.begins)
    assert sorted(seconds) == ["queue", "upload"]
    assert sum(seconds.values()) >= 0.1
    assert seconds["queue"] > 0.05


@pytest.mark.parametrize("header", [b"X-Request-Timeout-Ms: 50", b"x-envoy-expected-rq-timeout-ms: 50"])
def test_the_client_may_allow_less_time(loop: asyncio.AbstractEventLoop, header: bytes) -> None:
    front = Front(loop)
    cycle = front.cycle(request(), header)
    assert cycle.run(b"", True) is None
    spend(loop, 0.15)
    assert kept(cycle).status == 504
    assert front.ends == [(504, ShortDeadline.reason)]


@pytest.mark.parametrize("text", [b"0", b"-5", b"1e3", b"", b"9" * 400, b"\xb2", b"60000"])
def test_a_time_that_is_no_shorter_one_is_left_alone(loop: asyncio.AbstractEventLoop, text: bytes) -> None:
    cycle = Front(loop).cycle(request(), b"X-Request-Timeout-Ms: " + text, begin=100.0)
    assert cycle.life.deadline == 130.0


def test_a_deadline_that_decoding_moves_is_kept(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None

    def move() -> None:
        cycle.life.shorten(0.05)
        cycle.deadline_moved()

    thread = threading.Thread(target=move)
    thread.start()
    spend(loop, 0.2)
    thread.join(20)
    assert kept(cycle).status == 504


def test_a_deadline_that_moves_after_the_answer_watches_nothing(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    cycle.deadline_moved()
    cycle.finish(FINE)
    spend(loop, 0.02)
    assert front.rules.deadlines._watched == {}


def test_a_request_whose_deadline_has_passed_before_its_last_byte_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle(begin=time.monotonic() - 60)
    assert isinstance(cycle.run(b"", True), DeadlinePassed)
    assert front.gate.empty()


def test_a_full_gate_refuses_at_the_head_and_at_the_last_byte(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop, limit=1)
    first, second = front.cycle(), front.cycle()
    assert (first.refusal(), second.refusal()) == (None, None)
    assert first.run(b"", True) is None
    refusal = second.run(b"", True)
    assert isinstance(refusal, QueueFull)
    assert isinstance(front.cycle().refusal(), QueueFull)
    second.refuse(refusal, close=False)
    assert kept(second).status == 429
    assert b"\r\nRetry-After: 1\r\n" in kept(second).answers[0]
    assert (front.refusals, front.ends, front.gate.working()) == (["queue_full"], [], 1)
    front.full = True
    first.finish(FINE)
    assert isinstance(front.cycle().refusal(), QueueFull)


def test_a_body_that_is_too_long_is_refused_at_the_head(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    assert front.cycle(request(), b"Content-Length: 1000").too_large() is None
    refused = front.cycle(request(), b"Content-Length: 1001").too_large()
    assert isinstance(refused, TooLarge)
    assert str(refused).startswith("the body has 1001 bytes, at most 1000")


@pytest.mark.parametrize("state", [STARTING, CLOSED])
def test_a_request_that_comes_whole_is_refused_by_the_state_too_and_an_accepted_one_is_not(
    loop: asyncio.AbstractEventLoop, state: str
) -> None:
    front = Front(loop)
    front.gate.state = state
    assert isinstance(front.cycle().run(b"", False), NotReady)
    assert front.cycle().run(b"", True) is None


def test_an_unexpected_error_of_whoever_runs_it_is_a_500_without_details(loop: asyncio.AbstractEventLoop) -> None:
    def run(cycle: RequestCycle) -> None:
        raise KeyError("secret detail")

    front = Front(loop, run)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    assert (kept(cycle).status, b"secret" in kept(cycle).answers[0]) == (500, False)
    assert (front.ends, front.gate.empty()) == ([(500, "service_failed")], True)


def test_a_client_that_goes_away_ends_its_request_without_an_answer(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    cycle.held = 10
    front.bodies.add_whole(10)
    assert cycle.run(b"", True) is None
    cycle.abandon()
    cycle.abandon()
    cycle.finish(FINE)
    assert cycle.life.abandoned
    assert kept(cycle).answers == []
    assert (front.ends, front.gate.empty(), front.bodies.held) == ([(499, "client_gone")], True, 0)


def test_a_client_that_goes_away_before_its_last_byte_is_no_request(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    cycle.share = front.bodies.begin(lambda error: None)
    cycle.share.add(10)
    cycle.abandon()
    assert (front.ends, front.refusals, front.gate.empty(), front.bodies.held) == ([], [], True, 0)


def test_an_answer_from_another_thread_is_given_on_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    assert cycle.run(b"", True) is None
    thread = threading.Thread(target=cycle.finish_later, args=(FINE,))
    thread.start()
    thread.join(20)
    assert kept(cycle).answers == []
    spend(loop, 0.02)
    assert kept(cycle).status == 200


@pytest.mark.parametrize("body", [b"abc", b""])
def test_a_body_is_read_as_bytes_and_as_a_file(loop: asyncio.AbstractEventLoop, body: bytes) -> None:
    gathered = Body()
    gathered.add(body)
    for given in (body, gathered):
        cycle = Front(loop).cycle()
        assert cycle.run(given, True) is None
        assert (cycle.length, cycle.read(), cycle.stream().read()) == (len(body), body, body)


def test_a_refusal_holds_nothing(loop: asyncio.AbstractEventLoop) -> None:
    front = Front(loop)
    cycle = front.cycle()
    cycle.share = front.bodies.begin(lambda error: None)
    cycle.share.add(10)
    cycle.refuse(BodiesFull("full"), close=True)
    assert (kept(cycle).status, kept(cycle).closes) == (429, [True])
    assert (front.bodies.held, cycle._body) == (0, b"")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_a_ping_tells_the_state_of_the_pod(loop: asyncio.AbstractEventLoop, method: bytes) -> None:
    front = Front(loop)
    for state, status in ((STARTING, 503), (DRAINING, 503), (CLOSED, 503), ("ready", 200)):
        front.gate.state = state
        cycle = front.cycle(request(method, b"/api/ping"))
        cycle.pong()
        assert kept(cycle).status == status
        assert kept(cycle).answers[0].endswith(b"\r\n\r\n") == (method == b"HEAD")
    assert front.ends == []


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON ; charset=utf-8", "application/json"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("", ""),
        (";", ""),
    ],
)
def test_the_kind_of_a_body_is_its_content_type_without_parameters(
    loop: asyncio.AbstractEventLoop, sent: str, kind: str
) -> None:
    cycle = Front(loop).cycle(request(), b"Content-Type: " + sent.encode())
    assert cycle.run(b"", True) is None
    assert (cycle.content_type, cycle.kind) == (sent, kind)


@pytest.mark.parametrize(
    ("version", "connection", "state", "header", "closes"),
    [
        (b"1.1", b"", "ready", None, False),
        (b"1.1", b"close", "ready", b"close", True),
        (b"1.0", b"", "ready", b"close", True),
        (b"1.0", b"keep-alive", "ready", b"keep-alive", False),
        (b"1.1", b"", DRAINING, b"close", True),
        (b"1.1", b"keep-alive", CLOSED, b"close", True),
    ],
)
def test_an_answer_says_whether_it_ends_the_connection(
    loop: asyncio.AbstractEventLoop, version: bytes, connection: bytes, state: str, header: bytes | None, closes: bool
) -> None:
    front = Front(loop)
    cycle = front.cycle(request(version=version), *([b"Connection: " + connection] if connection else []))
    assert cycle.run(b"", True) is None
    front.gate.state = state
    cycle.finish(FINE)
    lines = kept(cycle).answers[0].split(b"\r\n")
    assert [line for line in lines if line.startswith(b"Connection")] == ([b"Connection: " + header] if header else [])
    assert kept(cycle).closes == [closes]


@pytest.mark.parametrize(
    ("lines", "state", "may"),
    [
        ([b"Content-Length: 5"], "ready", True),
        ([b"Content-Length: 5", b"Connection: close"], "ready", False),
        ([b"Content-Length: 5", b"Expect: 100-continue"], "ready", False),
        ([b"Transfer-Encoding: chunked"], "ready", False),
        ([b"Content-Length: 5"], DRAINING, False),
    ],
)
def test_a_connection_serves_on_after_a_refusal_where_the_next_request_can_be_found(
    loop: asyncio.AbstractEventLoop, lines: list[bytes], state: str, may: bool
) -> None:
    front = Front(loop)
    front.gate.state = state
    assert front.cycle(request(), *lines).may_serve_on() == may


@pytest.mark.parametrize(("given", "taken"), [(b"id-1/a.b", True), (b"has space", False), (b"", False), (b"x" * 129, False)])
def test_the_clients_own_id_is_taken_where_it_is_well_formed(
    loop: asyncio.AbstractEventLoop, given: bytes, taken: bool
) -> None:
    cycle = Front(loop).cycle(request(), b"X-Request-Id: " + given)
    assert (cycle.id == given.decode()) == taken
    assert cycle.run(b"", True) is None
    cycle.finish(ServiceFailed("broken"))
    assert f"\r\nX-Request-Id: {cycle.id}\r\n".encode() in kept(cycle).answers[0]
    assert f'"request_id":"{cycle.id}"'.encode() in kept(cycle).answers[0]


def test_a_head_that_could_not_be_read_gets_an_answer_that_ends_the_connection() -> None:
    made = unread_head(BadInput("no request"))
    assert made.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in made
    assert b'"error":"no request"' in made


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
    (record,) = caplog.records
    assert "could not be answered" in record.message
