"""The state of a canary: the shares in each phase, and its record in the history."""

import json
from dataclasses import replace

from conf.rollout import history
from conf.rollout.canary.state import (
    JUDGING,
    TAKING_OVER,
    Canary,
    StepVerdict,
    arms,
    canary_of,
    canary_part,
    given_shares,
    read,
    shares,
    write,
)
from conf.rollout.history import GOOD, History, Release

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
    assert arms(CANARY, "cats") == ("cats-canary", "cats-baseline")
    assert arms(replace(CANARY, baseline=False), "cats") == ("cats-canary",)


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
    assert canary_of(replace(found, state=GOOD)) is None
    assert canary_of(replace(found, canary=None)) is None


def test_a_verdict_replaces_the_one_of_the_same_step_and_the_next_step_keeps_it() -> None:
    newer = StepVerdict(25, "good", ("errors: good",), 19.0)
    judged = CANARY.judged(newer)
    assert judged.verdicts == (CANARY.verdicts[0], newer)
    after = judged.next_step()
    assert (after.step, after.share, after.begin, after.verdicts) == (2, 50, {}, judged.verdicts)
    assert after.is_last_step
