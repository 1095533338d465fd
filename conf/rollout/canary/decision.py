"""The next action of a canary: a pure decision from its state and from what was seen.

Knows the order of the steps and what ends one. Asks no cluster, and no clock.
"""

from dataclasses import dataclass

from conf.canary.judging import GOOD, UNKNOWN, WORSE
from conf.rollout.canary.state import HELD, JUDGING, RAISING, TAKING_OVER, Canary

# The ends of a step without a verdict, as value.py's canary_undecided names them.
HOLD, UNDO, GO = "hold", "undo", "go"
# The kinds of actions.
WAIT, RAISE, NEXT_STEP, TAKE_OVER, TAKE_BACK, STOP_HERE = "wait", "raise", "next step", "take over", "take back", "hold"


@dataclass(frozen=True)
class Rules:
    """The rules of a canary. step_seconds: the most that a step is judged. pod_seconds: for a lost pod to come back.

    read_seconds: between two readings of the counts.
    """

    step_seconds: float
    undecided: str = HOLD
    pod_seconds: float = 60.0
    read_seconds: float = 5.0


@dataclass(frozen=True)
class Seen:
    """A look at a canary. Times are seconds, `now` since 1970.

    verdict: on the step so far. words: of the verdict, for people.
    trouble: a fixed limit that was passed, or that routing does not give the shares; "" for none.
    shareless: for how long the arms have had no share, since one of them has no ready pod.
    """

    now: float
    verdict: str = UNKNOWN
    words: str = ""
    trouble: str = ""
    shareless: float = 0.0


@dataclass(frozen=True)
class Action:
    """The next action. words: its reason, for people; "" where nobody needs to know."""

    kind: str
    words: str = ""


def next_action(canary: Canary, seen: Seen, rules: Rules) -> Action:
    """Return what to do next. The same state and the same sight always give the same action."""
    if canary.phase == TAKING_OVER:
        return Action(TAKE_OVER)
    if canary.phase == RAISING:
        return Action(RAISE)
    if canary.phase == HELD:
        return Action(STOP_HERE, "it is held")
    assert canary.phase == JUDGING, canary.phase
    if seen.trouble:
        return Action(TAKE_BACK, seen.trouble)
    if seen.shareless > rules.pod_seconds:
        return Action(TAKE_BACK, f"one of its arms has had no ready pod for {seen.shareless:.0f} s")
    if seen.verdict == WORSE:
        return Action(TAKE_BACK, f"it is worse than the old version: {seen.words}")
    if seen.verdict == GOOD:
        return _forward(canary, f"good: {seen.words}")
    if seen.now - canary.since < rules.step_seconds:
        return Action(WAIT)
    return _undecided(canary, seen, rules)


def _forward(canary: Canary, words: str) -> Action:
    return Action(TAKE_OVER if canary.is_last_step else NEXT_STEP, words)


def _undecided(canary: Canary, seen: Seen, rules: Rules) -> Action:
    """Return what canary_undecided says for a step whose time is over without a verdict."""
    words = f"not known after {rules.step_seconds:.0f} s: {seen.words or 'no counts yet'}"
    if rules.undecided == GO:
        return _forward(canary, f"{words}; it goes on, as canary_undecided says")
    if rules.undecided == UNDO:
        return Action(TAKE_BACK, f"{words}; it is taken back, as canary_undecided says")
    return Action(STOP_HERE, words)
