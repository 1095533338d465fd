import math

import pytest

from bench.pods.ladder import BOUNDS, TRIES, climb, held, medians, most, p99, rates


def test_full_batches_do_more_than_one_request_at_a_time_by_what_a_batch_saves() -> None:
    limits = most(4, 32)
    assert limits.pods == pytest.approx(4 * 32 / 0.040 / 2.5)
    assert limits.gunicorn == pytest.approx(4 / 0.0105)
    assert limits.ratio == pytest.approx(3.36)


def test_steps_rise_to_what_the_cards_can_do() -> None:
    steps = rates(1000)
    assert steps == sorted(steps)
    assert (steps[0], steps[1], steps[-1]) == (400, 440, 1000)


def test_a_climb_ends_at_the_first_step_that_misses_the_largest_bound_each_time() -> None:
    asked: list[float] = []

    def measure(rate: float) -> float:
        asked.append(rate)
        return BOUNDS[-1] if rate < 300 else math.inf

    assert climb([100, 200, 300, 400], measure) == {100: BOUNDS[-1], 200: BOUNDS[-1], 300: math.inf}
    assert asked == [100, 200] + TRIES * [300]


def test_a_hiccup_does_not_end_a_climb() -> None:
    answers = iter([20.0, 5000.0, 30.0, 40.0])
    assert climb([100, 200, 300], lambda rate: next(answers)) == {100: 20.0, 200: 30.0, 300: 40.0}


def test_a_bound_is_held_up_to_the_last_step_before_it_is_missed() -> None:
    climbed = {100.0: 20.0, 200.0: 50.0, 300.0: 70.0, 400.0: 55.0}
    assert [held(climbed, bound) for bound in (10, 20, 60, 80)] == [0, 100, 200, 400]


def test_a_step_that_a_round_did_not_reach_counts_as_missed_in_that_round() -> None:
    rounds = [{100.0: 20.0, 200.0: 90.0}, {100.0: 30.0, 200.0: 50.0}, {100.0: 25.0}]
    assert medians(rounds) == {100.0: 25.0, 200.0: 90.0}
    assert medians([rounds[2], {100.0: 5.0}, rounds[0]])[200.0] == math.inf


GOOD = {"200": {"count": 10, "from_schedule_ms": {"p99": 12.5}}}


def test_p99_is_of_a_run_in_which_every_request_was_answered_by_200() -> None:
    assert p99({"statuses": GOOD, "errors": {}, "not_sent": 0}) == 12.5
    refused = {**GOOD, "429": {"count": 1, "from_schedule_ms": {"p99": 1.0}}}
    assert p99({"statuses": refused, "errors": {}, "not_sent": 0}) == math.inf
    assert p99({"statuses": GOOD, "errors": {"reset": 1}, "not_sent": 0}) == math.inf
    assert p99({"statuses": GOOD, "errors": {}, "not_sent": 1}) == math.inf
    assert p99({"statuses": {}, "errors": {}, "not_sent": 0}) == math.inf
