"""The next action of a canary follows from its state and from what is seen, without a cluster and a clock."""

from dataclasses import replace

import pytest

from conf.canary.judging import GOOD, UNKNOWN, WORSE
from conf.rollout.canary.decision import (
    GO,
    HOLD,
    NEXT_STEP,
    RAISE,
    STOP_HERE,
    TAKE_BACK,
    TAKE_OVER,
    UNDO,
    WAIT,
    Rules,
    Seen,
    next_action,
)
from conf.rollout.canary.state import HELD, JUDGING, RAISING, TAKING_OVER, Canary

RULES = Rules(step_seconds=100, pod_seconds=60)
JUDGED = Canary((5, 25, 50), 4, phase=JUDGING, since=1000.0)
LAST = replace(JUDGED, step=2)


def kind(canary: Canary, rules: Rules = RULES, **seen: object) -> str:
    return next_action(canary, Seen(**{"now": 1010.0, **seen}), rules).kind  # type: ignore[arg-type]


def test_capacity_comes_before_the_verdict_and_each_phase_has_its_action() -> None:
    assert kind(replace(JUDGED, phase=RAISING), verdict=WORSE) == RAISE
    assert kind(replace(JUDGED, phase=HELD), verdict=GOOD) == STOP_HERE
    assert kind(replace(JUDGED, phase=TAKING_OVER), verdict=WORSE) == TAKE_OVER


def test_a_good_step_goes_on_at_once_and_the_last_one_takes_over() -> None:
    assert (kind(JUDGED, verdict=GOOD), kind(LAST, verdict=GOOD)) == (NEXT_STEP, TAKE_OVER)


def test_a_worse_step_is_taken_back_with_its_reason() -> None:
    action = next_action(JUDGED, Seen(1010.0, WORSE, "errors: 9 of 10"), RULES)
    assert (action.kind, action.words) == (TAKE_BACK, "it is worse than the old version: errors: 9 of 10")


def test_what_is_not_known_yet_is_waited_for_until_the_step_is_over() -> None:
    assert kind(JUDGED) == WAIT
    assert kind(JUDGED, now=1099.9) == WAIT
    assert kind(JUDGED, now=1100.0) == STOP_HERE


@pytest.mark.parametrize(
    ("undecided", "in_between", "at_the_end"),
    [(HOLD, STOP_HERE, STOP_HERE), (UNDO, TAKE_BACK, TAKE_BACK), (GO, NEXT_STEP, TAKE_OVER)],
)
def test_an_undecided_step_does_what_the_setting_says(undecided: str, in_between: str, at_the_end: str) -> None:
    rules = replace(RULES, undecided=undecided)
    assert kind(JUDGED, rules, now=1100.0, verdict=UNKNOWN) == in_between
    assert kind(LAST, rules, now=1100.0, verdict=UNKNOWN) == at_the_end


def test_a_fixed_limit_and_a_wrong_share_end_it_whatever_the_verdict() -> None:
    assert kind(JUDGED, verdict=GOOD, trouble="restarts: 1") == TAKE_BACK


def test_an_arm_without_a_ready_pod_is_waited_for_no_longer_than_a_pod_takes() -> None:
    assert kind(JUDGED, shareless=60.0) == WAIT
    assert kind(JUDGED, shareless=60.1) == TAKE_BACK
