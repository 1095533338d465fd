"""The model counts as failing once over half of the last hundred records failed, however the failures lie among them."""

from hypothesis import given
from hypothesis import strategies as st

from serving.offline.circuit_breaker import FEWEST, KEPT, RecentOutcomes


def after(outcomes: list[bool]) -> bool:
    recent = RecentOutcomes()
    for failed in outcomes:
        recent.note(failed)
    return recent.failing()


@given(st.lists(st.booleans(), max_size=3 * KEPT))
def test_it_is_over_half_of_the_last_hundred(outcomes: list[bool]) -> None:
    last = outcomes[-KEPT:]
    assert after(outcomes) is (sum(last) > max(len(last), FEWEST) / 2)


def test_a_few_failures_at_the_start_do_not_count_as_all() -> None:
    assert not after([True] * 10)
    assert after([True] * 11)


def test_half_is_not_over_half() -> None:
    assert not after([True, False] * 50)
    assert after([True, False] * 49 + [True, True])


def test_after_a_cure_it_begins_anew() -> None:
    recent = RecentOutcomes()
    for _ in range(KEPT):
        recent.note(True)
    recent.forget()
    assert not recent.failing()
    recent.note(True)
    assert not recent.failing()
