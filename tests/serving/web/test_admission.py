"""Requests are let in or refused by the state of the pod, the count of requests in flight, and the queue."""

import pytest

from serving.base.errors import NotReady, QueueFull, ServingError
from serving.web.admission import CLOSED, DRAINING, LIGHT_LIMIT, READY, STARTING, Gate


def gate(limit: int = 2, state: str = READY, full: bool = False) -> Gate:
    made = Gate(limit, lambda: full)
    made.state = state
    return made


@pytest.mark.parametrize(
    ("state", "work", "refusal"),
    [
        (STARTING, True, NotReady),
        (STARTING, False, None),
        (READY, True, None),
        (READY, False, None),
        (DRAINING, True, None),
        (DRAINING, False, None),
        (CLOSED, True, NotReady),
        (CLOSED, False, NotReady),
    ],
)
def test_the_state_of_the_pod_decides_first(state: str, work: bool, refusal: type[ServingError] | None) -> None:
    found = gate(state=state).refusal(work)
    assert (found is None) if refusal is None else isinstance(found, refusal)


@pytest.mark.parametrize(
    ("state", "why"), [(STARTING, "still loading"), (READY, None), (DRAINING, "shutting down"), (CLOSED, "shutting down")]
)
def test_only_a_ready_pod_is_to_be_sent_requests(state: str, why: str | None) -> None:
    found = gate(state=state, full=True).unready()
    assert found is None if why is None else why in str(found)


@pytest.mark.parametrize("state", [READY, DRAINING, CLOSED])
def test_a_request_that_was_accepted_is_served_whatever_the_state_is_by_then(state: str) -> None:
    assert gate(state=state).enter(True) is None


def test_a_gate_that_closed_while_the_models_loaded_does_not_open() -> None:
    one = gate(state=STARTING)
    assert not one.drain()
    one.open()
    assert one.state == CLOSED
    other = gate(state=STARTING)
    other.open()
    assert other.drain()
    assert other.state == DRAINING


def test_a_gate_begins_closed_for_work() -> None:
    assert Gate(1, lambda: False).state == STARTING


def test_the_limit_is_overload_and_never_unready() -> None:
    one = gate(limit=2)
    assert [one.enter(True), one.enter(True)] == [None, None]
    refusal = one.enter(True)
    assert isinstance(refusal, QueueFull)
    assert str(refusal).startswith("2 requests are being answered")
    assert one.working() == 2
    one.leave(True)
    assert one.enter(True) is None


def test_a_refused_request_does_not_count() -> None:
    one = gate(limit=1)
    assert one.enter(True) is None
    assert all(one.enter(True) for _ in range(5))
    assert not one.empty()
    one.leave(True)
    assert one.empty()


def test_light_requests_have_a_limit_of_their_own() -> None:
    one = gate(limit=1)
    assert one.enter(True) is None
    assert [one.enter(False) for _ in range(LIGHT_LIMIT)] == [None] * LIGHT_LIMIT
    assert isinstance(one.enter(False), QueueFull)
    assert one.working() == 1
    one.leave(True)
    assert not one.empty()


def test_a_full_queue_refuses_work_and_nothing_else() -> None:
    one = gate(full=True)
    assert isinstance(one.enter(True), QueueFull)
    assert one.enter(False) is None


def test_reading_the_state_of_admission_changes_nothing() -> None:
    one = gate(limit=1)
    assert [one.refusal(True) for _ in range(3)] == [None] * 3
    assert one.empty()
