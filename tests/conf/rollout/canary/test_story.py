"""The words of `status` about a canary: step, share, verdicts, and what is waited for."""

from dataclasses import replace

from conf.rollout.canary.state import HELD, JUDGING, TAKING_OVER, Canary, StepVerdict
from conf.rollout.canary.story import status_lines

VERDICT = StepVerdict(5, "good", ("errors: good: 0 of 900",), 1000.0)
CANARY = Canary((5, 25), 4, JUDGING, 1, verdicts=(VERDICT, StepVerdict(25, "unknown", (), 1100.0)), driven_at=1100.0)


def test_a_driven_canary_waits_for_a_verdict() -> None:
    assert status_lines(CANARY, "2", "ann", 1200.0) == [
        "canary of 2: step 2 of 2, 25 %, judging, driven by ann; waited for: a verdict",
        "step 1, 5 %: errors: good: 0 of 900",
        "step 2, 25 %: unknown",
    ]


def test_one_that_nobody_drives_waits_for_a_command_and_a_held_one_for_a_person() -> None:
    alone = status_lines(CANARY, "2", "", 1200.0)[0]
    assert "driven by nobody for 100 s; waited for: a command: `monopod deploy --continue`" in alone
    held = status_lines(replace(CANARY, phase=HELD), "2", "", 1200.0)[0]
    assert "held, driven by nobody for 100 s; waited for: a person" in held


def test_while_it_takes_over_it_has_all_requests_and_why_there_is_no_baseline_is_said() -> None:
    lines = status_lines(replace(CANARY, phase=TAKING_OVER, baseline=False, why_no_baseline="no room"), "2", "ann", 1.0)
    assert "100 %, taking over" in lines[0]
    assert lines[1] == "it is compared with the old pods: no room"
