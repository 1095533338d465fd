"""The queue tells the truth: whatever a request waits for, it counts until a model works on it, wherever the queue is shown."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.running import get
from tests.serving.held_service import (
    DATA,
    DIGITS,
    LARGE,
    SMALL,
    Held,
    statuses,
)
from tests.waiting import until

DEADLINE = 2.0  # seconds, in which a busy machine, too, shows that a request waits
SOON = 10.0  # seconds; what is held is held for longer
KINDS = {  # what is held, path, body, and the model in whose queue the requests count
    "a slow hook": ("hook", "/api/small", DATA, "small"),
    "an own route": ("route", "/held", b"{}", "small"),
    "a decode thread": ("hook", "/v2/models/other/infer", LARGE, "other"),
    "a model that loads": ("load", "/v2/models/late/infer", DIGITS, "late"),
}


@pytest.fixture
def held(hooks: Held) -> Iterator[Held]:
    """A service with a hook of its own, which is calm again after the test."""
    yield hooks
    hooks.calm()


@pytest.fixture
def handle(handles: Held) -> Iterator[Held]:
    """A service with a handle of its own, which is calm again after the test."""
    yield handles
    handles.calm()


def assert_full_at_the_limit(held: Held, path: str = "/api/small", body: bytes = DATA) -> None:
    """Check that a queue of as many rows as queue_limit refuses the next request."""
    shed = held.service.metric('monopod_shed_total{reason="queue_full"}')
    status, text = get(held.service.url + path, body, {"Content-Type": "application/json"})
    assert (status, b"queue_full" in text) == (429, True)
    assert held.service.metric('monopod_shed_total{reason="queue_full"}') == shed + 1


def test_requests_behind_a_slow_hook_wait_in_the_queue_and_the_limit_is_theirs(held: Held) -> None:
    held.hold("hook")
    began = time.monotonic()
    answers = held.ask(16)
    held.wait_rows(16)
    first = held.oldest()
    assert 0 < first < time.monotonic() - began
    until(lambda: held.oldest() > first)
    assert held.status()["oldest_seconds"] > first
    assert_full_at_the_limit(held)
    assert_full_at_the_limit(held, "/held", b"{}")
    assert_full_at_the_limit(held, "/v2/models/small/infer", SMALL)
    held.free()
    assert statuses(answers) == [200] * 16


def test_requests_behind_a_slow_handle_wait_in_the_queue_and_the_limit_is_theirs(handle: Held) -> None:
    handle.hold("hook")
    answers = handle.ask(16)
    handle.wait_rows(16)
    assert handle.oldest() > 0
    assert_full_at_the_limit(handle)
    handle.free()
    assert statuses(answers) == [200] * 16


@pytest.mark.parametrize("kind", ["hooks", "handles"])
def test_what_a_model_works_on_waits_no_more(kind: str, request: pytest.FixtureRequest) -> None:
    held: Held = request.getfixturevalue(kind)
    held.hold("model")
    answers = held.ask(16)
    held.wait_rows(15)
    answers += held.ask(1)
    held.wait_rows(16)
    assert_full_at_the_limit(held)
    held.free()
    assert statuses(answers) == [200] * 17
    held.calm()


def test_own_routes_count_in_the_services_queue_and_the_limit_is_theirs(held: Held) -> None:
    held.hold("route")
    answers = held.ask(16, "/held", b"{}")
    held.wait_rows(16)
    assert_full_at_the_limit(held)
    held.free()
    assert statuses(answers) == [200] * 16


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/small/infer"])
def test_large_bodies_that_wait_for_a_decode_thread_count_for_their_model(held: Held, path: str) -> None:
    held.hold("hook")
    answers = held.ask(1)  # it has the only thread
    held.wait_rows(1)
    answers += held.ask(8, path, LARGE)
    model = path.split("/")[3]
    held.wait_rows(8 if model == "other" else 9, model)
    assert held.oldest(model) > 0
    held.free()
    assert statuses(answers) == [200] * 9


def test_requests_for_a_model_that_loads_count_for_it(held: Held) -> None:
    assert held.rows("late") == 0
    held.hold("load")
    answers = held.ask(6, "/v2/models/late/infer", DIGITS)
    held.wait_rows(6, "late")
    assert (held.rows(), held.oldest("late") > 0) == (0, True)
    held.free()
    assert statuses(answers) == [200] * 6


def test_an_upload_counts_from_its_last_byte_on(held: Held) -> None:
    held.hold("hook")
    head = b"POST /api/small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(DATA)
    clients = [socket.create_connection(("127.0.0.1", held.service.port), timeout=20) for _ in range(4)]
    try:
        for each in clients:
            each.sendall(head + DATA[:-1])
        with socket.create_connection(("127.0.0.1", held.service.port), timeout=20) as last:
            last.sendall(b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"pong" in last.recv(1000)  # what came before is read by then
        time.sleep(0.2)
        assert (held.rows(), held.status()["rows"], held.oldest()) == (0, 0, 0.0)
        before = time.monotonic()
        for count, each in enumerate(clients, 1):
            each.sendall(DATA[-1:])
            held.wait_rows(count)
        assert 0 < held.oldest() < time.monotonic() - before  # the time of the upload is not in it
        held.free()
        assert [each.recv(15) for each in clients] == [b"HTTP/1.1 200 OK"] * 4
    finally:
        for each in clients:
            each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_its_deadline_ended_waits_no_more_though_its_step_is_still_held(held: Held, kind: str) -> None:
    step, path, body, model = KINDS[kind]
    held.hold(step)
    first = held.ask(1) if kind == "a decode thread" else []
    until(lambda: held.rows() == len(first))
    answers = held.ask(4, path, body, seconds=DEADLINE)
    held.wait_rows(4, model) if model != "small" else until(lambda: held.rows() == 4)
    assert statuses(answers) == [504] * 4
    until(lambda: held.rows(model) == 0, SOON)
    held.free()
    assert statuses(first) == [200] * len(first)


@pytest.mark.parametrize("kind", [*KINDS, "a busy model"])
def test_a_request_whose_client_has_gone_waits_no_more_though_its_step_is_still_held(held: Held, kind: str) -> None:
    step, path, body, model = KINDS.get(kind, ("model", "/v2/models/small/infer", SMALL, "small"))
    held.hold(step)
    first = held.ask(1) if kind in ("a decode thread", "a busy model") else []
    until(lambda: held.rows() == (1 if kind == "a decode thread" else 0))
    if kind == "a busy model":
        until(lambda: held.service.metric('monopod_batch_running_seconds{model="small"}') > 0)
    before = held.rows(model)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", held.service.port), timeout=20) for _ in range(4)]
    for each in clients:
        each.sendall(head % (path.encode(), len(body)) + body)
    until(lambda: held.rows(model) == before + 4)
    for each in clients:
        each.close()
    until(lambda: held.rows(model) == before, SOON)
    assert (held.oldest(model) > 0) == (before > 0)
    held.free()
    assert statuses(first) == [200] * len(first)


def test_a_request_that_its_deadline_ended_behind_a_busy_model_waits_no_more(held: Held) -> None:
    held.hold("model")
    first = held.ask(1)
    until(lambda: held.service.metric('monopod_batch_running_seconds{model="small"}') > 0)
    answers = held.ask(4, "/v2/models/small/infer", SMALL, seconds=DEADLINE)
    until(lambda: held.rows() == 4)
    assert statuses(answers) == [504] * 4
    until(lambda: held.rows() == 0, SOON)
    assert (held.oldest(), held.status()["rows"]) == (0.0, 0)
    held.free()
    assert statuses(first) == [200]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/small", b"no JSON", 400),
        ("/api/small", b'{"data": [[1, 2, 3]]}', 400),
        ("/v2/models/small/infer", b"{}", 400),
        ("/v2/models/small/infer", b"{}" + b" " * 2**16, 400),
        ("/v2/models/none/infer", SMALL, 404),
        ("/v2/models/small/versions/2/infer", SMALL, 404),
        ("/nowhere", b"{}", 404),
        ("/held", b"no JSON", 400),
    ],
)
def test_nothing_waits_after_an_error(held: Held, path: str, body: bytes, status: int) -> None:
    assert statuses(held.ask(5, path, body)) == [status] * 5
    assert (held.rows(), held.status()["rows"]) == (0, 0)
    assert 'model="none"' not in held.service.metrics()


def test_a_handle_that_fails_or_passes_its_deadline_leaves_nothing(handle: Held) -> None:
    assert statuses(handle.ask(3, body=b"{}")) == [400] * 3
    assert handle.rows() == 0
    handle.hold("hook")
    answers = handle.ask(3, seconds=DEADLINE)
    assert statuses(answers) == [504] * 3
    until(lambda: handle.rows() == 0, SOON)
