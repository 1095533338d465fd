"""The model counts as failing once over half of the last hundred records failed. After a cure, the count begins anew."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.offline.circuit_breaker import KEPT, MIN_OUTCOMES, CircuitBreaker, mostly_failed
from serving.offline.records import Origin, Record
from serving.offline.work import Work
from tests.waiting import on_loop

ENOUGH = MIN_OUTCOMES // 2 + 1  # failures that open it at the start


@given(st.lists(st.booleans(), max_size=KEPT))
def test_it_is_over_half_of_the_last_records(outcomes: list[bool]) -> None:
    assert mostly_failed(outcomes) is (sum(outcomes) > max(len(outcomes), MIN_OUTCOMES) / 2)


@pytest.mark.parametrize(
    ("outcomes", "failed"),
    [([True] * 10, False), ([True] * 11, True), ([True, False] * 50, False), ([True, False] * 49 + [True, True], True)],
    ids=["few at the start", "over half of the fewest", "half", "over half"],
)
def test_half_is_not_over_half_and_a_few_at_the_start_do_not_count_as_all(outcomes: list[bool], failed: bool) -> None:
    assert mostly_failed(outcomes) is failed


def work() -> Work:
    return Work(Record(Origin("videos", 0, 0), 0, None, b"{}"))


def breaker(tried: list[Work]) -> CircuitBreaker:
    """Return a closed one that tries a new record at once, and notes it."""
    return CircuitBreaker(asyncio.get_running_loop(), 0.0, work, tried.append, lambda stop: None)


@on_loop
async def test_only_the_last_records_count() -> None:
    circuit = breaker([])
    for _ in range(10 * KEPT):
        circuit.succeeded(work())
    failed = [circuit.failed("broken") for _ in range(KEPT // 2 + 1)]
    assert failed == [False] * (KEPT // 2) + [True]


@on_loop
async def test_after_a_cure_it_begins_anew() -> None:
    tried: list[Work] = []
    circuit = breaker(tried)
    assert [circuit.failed("broken") for _ in range(ENOUGH)][-1]
    while not tried:
        await asyncio.sleep(0)
    circuit.succeeded(tried[0])
    assert not circuit.is_open
    assert [circuit.failed("broken again") for _ in range(ENOUGH)] == [False] * (ENOUGH - 1) + [True]
