"""A source reads no more than its rate, its bytes and its limit allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.offline.reading_bounds import BURST_SECONDS, ReadingBounds


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_no_second_has_more_records_than_the_rate_and_its_burst(rate: float, pauses: list[float]) -> None:
    bounds, now, begun = ReadingBounds(rate, 1), 100.0, list[float]()
    for number, pause in enumerate(pauses):
        now += pause
        if bounds.allow(0, now):
            bounds.begin(number, 0, now)
            bounds.end(number)
            begun.append(now)
        else:
            assert bounds.wait(now) > 0
    for index, first in enumerate(begun):
        within = sum(first <= each < first + 1 for each in begun[index:])
        assert within <= rate + max(1.0, rate * BURST_SECONDS) + 1e-6


def test_bytes_are_bounded_but_one_record_always_fits() -> None:
    bounds = ReadingBounds(0, 100)
    assert bounds.allow(1000, 0)
    bounds.begin("large", 1000, 0)
    assert not bounds.allow(0, 0)
    bounds.end("large")
    bounds.begin("a", 60, 0)
    bounds.begin("a", 60, 0)  # the same record once more
    assert (bounds.running, bounds.allow(40, 0), bounds.allow(41, 0)) == (1, True, False)


@pytest.mark.parametrize(("limit", "exhausted"), [(0, False), (3, False), (2, True)])
def test_a_limit_counts_records_that_ended_too(limit: int, exhausted: bool) -> None:
    bounds = ReadingBounds(0, 1, limit)
    for number in range(2):
        bounds.begin(number, 0, 0)
        bounds.end(number)
    assert (bounds.exhausted, bounds.allow(0, 0)) == (exhausted, not exhausted)
