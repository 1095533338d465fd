"""The state of a canary: its shares, its record in the history, its words in `status`, and the action that follows from it."""

import json
from dataclasses import replace

import pytest

from conf.canary.verdict import GOOD, UNKNOWN, WORSE
from conf.rollout import history
from conf.rollout.canary.state import (
    GO,
    HELD,
    HOLD,
    JUDGING,
    NEXT_STEP,
    RAISE,
    RAISING,
    STOP_HERE,
    TAKE_BACK,
    TAKE_OVER,
    TAKING_OVER,
    UNDO,
    WAIT,
    Canary,
    Rules,
    Seen,
    StepVerdict,
    canary_of,
    canary_part,
    describe,
    given_shares,
    next_action,
    read,
    shares,
    write,
)
from conf.rollout.history import History, Release

CANARY = Canary(
    (5, 25, 50),
    4,
    JUDGING,
    1,
    since=17.5,
    edges=((0.5, 0.025), (0.95, 0.1)),
    begin={"a": {"counted": 3.0}},
    verdicts=(StepVerdict(5, "good", ("errors: good",), 16.0), StepVerdict(25, "unknown", (), 18.0)),
    driven_at=18.0,
)


def test_both_arms_get_as_much_and_the_service_what_is_left() -> None:
    assert shares(CANARY, "cats") == {"cats": 50, "cats-canary": 25, "cats-baseline": 25}
    assert shares(replace(CANARY, step=2), "cats") == {"cats-canary": 50, "cats-baseline": 50}
    assert shares(replace(CANARY, baseline=False), "cats") == {"cats": 75, "cats-canary": 25}
    assert shares(replace(CANARY, phase=TAKING_OVER), "cats") == {"cats-canary": 100}


def test_the_canary_is_compared_with_a_baseline_of_its_share_or_with_all_the_rest() -> None:
    assert canary_part(CANARY) == 0.5
    assert canary_part(replace(CANARY, baseline=False)) == 0.25


def test_where_one_arm_has_no_ready_pod_both_lose_their_share() -> None:
    wanted = shares(CANARY, "cats")
    assert given_shares(wanted, {"cats-canary": 1, "cats-baseline": 1}, "cats") == wanted
    for ready in ({"cats-canary": 1}, {"cats-baseline": 1}, {"cats-canary": 0, "cats-baseline": 2}):
        assert given_shares(wanted, ready, "cats") == {"cats": 100}
    assert given_shares({"cats-canary": 100}, {"cats-canary": 0}, "cats") == {"cats": 100}


def test_its_record_is_read_as_it_was_written_by_an_older_or_newer_platform_too() -> None:
    plain = json.loads(json.dumps(write(CANARY)))
    assert read(plain) == CANARY
    assert read({**plain, "new": 1}) == CANARY
    assert read({"shares": [5], "pods": 1}) == Canary((5,), 1)


def test_a_history_keeps_it_while_its_release_has_not_ended() -> None:
    begun = Release(2, "2", "image:2", "", "ann", canary=write(CANARY))
    item = history.write(History(None, (begun,)), "cats", "like")
    found = history.read(item).last
    assert canary_of(found) == CANARY
    assert found is not None
    assert canary_of(replace(found, state=history.GOOD)) is None
    assert canary_of(replace(found, canary=None)) is None


def test_a_verdict_replaces_the_one_of_the_same_step_and_the_next_step_keeps_it() -> None:
    newer = StepVerdict(25, "good", ("errors: good",), 19.0)
    judged = CANARY.with_verdict(newer)
    assert judged.verdicts == (CANARY.verdicts[0], newer)
    after = judged.next_step()
    assert (after.step, after.share, after.begin, after.verdicts) == (2, 50, {}, judged.verdicts)
    assert after.is_last_step


GOOD_STEP = StepVerdict(5, "good", ("errors: good: 0 of 900",), 1000.0)
TOLD = Canary((5, 25), 4, JUDGING, 1, verdicts=(GOOD_STEP, StepVerdict(25, "unknown", (), 1100.0)), driven_at=1100.0)


def test_a_driven_canary_waits_for_a_verdict() -> None:
    head, *steps = describe(TOLD, "2", "ann", 1200.0)
    assert head.startswith("canary of 2: step 2 of 2, 25 %, judging")
    assert head.endswith("driven by ann; waits for a verdict")
    assert steps == ["step 1, 5 %: errors: good: 0 of 900", "step 2, 25 %: unknown"]


def test_one_that_nobody_drives_waits_for_a_command_and_a_held_one_for_a_person() -> None:
    alone = describe(TOLD, "2", "", 1200.0)[0]
    assert "nobody for 100 s; waits for a command" in alone
    held = describe(replace(TOLD, phase=HELD), "2", "", 1200.0)[0]
    assert "nobody for 100 s; waits for a person" in held


def test_while_it_takes_over_it_has_all_requests_and_why_there_is_no_baseline_is_said() -> None:
    lines = describe(replace(TOLD, phase=TAKING_OVER, baseline=False, why_no_baseline="no room"), "2", "ann", 1.0)
    assert "100 %, taking over" in lines[0]
    assert lines[1].endswith("the old pods: no room")


RULES = Rules(step_seconds=100, pod_seconds=60)
IN_STEP = Canary((5, 25, 50), 4, phase=JUDGING, since=1000.0)
LAST = replace(IN_STEP, step=2)


def kind(canary: Canary, rules: Rules = RULES, **seen: object) -> str:
    return next_action(canary, Seen(**{"now": 1010.0, **seen}), rules).kind  # type: ignore[arg-type]


def test_capacity_comes_before_the_verdict_and_each_phase_has_its_action() -> None:
    assert kind(replace(IN_STEP, phase=RAISING), verdict=WORSE) == RAISE
    assert kind(replace(IN_STEP, phase=HELD), verdict=GOOD) == STOP_HERE
    assert kind(replace(IN_STEP, phase=TAKING_OVER), verdict=WORSE) == TAKE_OVER


def test_a_good_step_goes_on_at_once_and_the_last_one_takes_over() -> None:
    assert (kind(IN_STEP, verdict=GOOD), kind(LAST, verdict=GOOD)) == (NEXT_STEP, TAKE_OVER)


def test_a_worse_step_is_taken_back_with_its_reason() -> None:
    action = next_action(IN_STEP, Seen(1010.0, WORSE, "errors: 9 of 10"), RULES)
    assert action.kind == TAKE_BACK
    assert action.words.endswith("the old version: errors: 9 of 10")


def test_what_is_not_known_yet_is_waited_for_until_the_step_is_over() -> None:
    assert kind(IN_STEP) == WAIT
    assert kind(IN_STEP, now=1099.9) == WAIT
    assert kind(IN_STEP, now=1100.0) == STOP_HERE


@pytest.mark.parametrize(
    ("undecided", "in_between", "at_the_end"),
    [(HOLD, STOP_HERE, STOP_HERE), (UNDO, TAKE_BACK, TAKE_BACK), (GO, NEXT_STEP, TAKE_OVER)],
)
def test_an_undecided_step_does_what_the_setting_says(undecided: str, in_between: str, at_the_end: str) -> None:
    rules = replace(RULES, undecided=undecided)
    assert kind(IN_STEP, rules, now=1100.0, verdict=UNKNOWN) == in_between
    assert kind(LAST, rules, now=1100.0, verdict=UNKNOWN) == at_the_end


def test_a_fixed_limit_and_a_wrong_share_end_it_whatever_the_verdict() -> None:
    assert kind(IN_STEP, verdict=GOOD, trouble="restarts: 1") == TAKE_BACK


def test_an_arm_without_a_ready_pod_is_waited_for_no_longer_than_a_pod_takes() -> None:
    assert kind(IN_STEP, shareless=60.0) == WAIT
    assert kind(IN_STEP, shareless=60.1) == TAKE_BACK
