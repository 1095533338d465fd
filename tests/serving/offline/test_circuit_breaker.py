"""The model counts as failing once over half of the last hundred records failed, however the failures lie among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.offline.circuit_breaker import KEPT, MIN_OUTCOMES, mostly_failed


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
