"""One request is admitted, watched, answered once, and counted once, however it ends."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from serving.base.errors import BadInput, BodiesFull, DeadlinePassed, NotReady, QueueFull, ShortDeadline, TooLarge
from serving.core.messages import Reply
from serving.web.admission import CLOSED, STARTING
from serving.web.front.body import Body
from serving.web.front.request_cycle import RequestCycle
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
    assert str(refused) == "the body has 1001 bytes, at most 1000 are taken; send less, or raise max_body in value.py"


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
