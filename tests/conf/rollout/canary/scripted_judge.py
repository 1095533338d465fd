"""A judge whose verdicts a test says, since simulated pods count nothing."""

from collections.abc import Mapping
from dataclasses import replace

from conf.canary.judging import Verdict
from conf.rollout.canary.decision import Rules
from conf.rollout.canary.journal import Journal
from conf.rollout.canary.judge import Finding, Judge, Outlook
from conf.rollout.canary.run import Order
from conf.rollout.canary.state import Canary


class ScriptedJudge(Judge):
    """Gives one verdict after another, the last of them for ever. trouble: in place of the verdict with that number.

    begun: where pods begin that were found after the step began.
    """

    def __init__(self, *states: str, trouble: str = "", begun: Mapping[str, Mapping[str, float]] | None = None):
        self.states, self.trouble, self.begun = list(states), trouble, begun or {}

    def edges(self) -> tuple[tuple[tuple[float, float], ...], str]:
        return (), "a script"

    def outlook(self, canary: Canary) -> Outlook:
        return Outlook(1.0, tuple(1.0 for _ in canary.shares), tuple(1.0 for _ in canary.shares))

    def begin(self, canary: Canary) -> dict[str, Mapping[str, float]]:
        return {}

    def look(self, canary: Canary, restarts: Mapping[str, int], now: float) -> Finding:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Finding(Verdict(state, ()), self.trouble, (f"errors: {state}",), self.begun)


RULES = Rules(step_seconds=20.0, pod_seconds=3.0, read_seconds=0.1)
UNDECIDED_SECONDS = 3.0  # of a step where no verdict comes


def order(*states: str, shares: tuple[int, ...] = (5, 50), undecided: str = "hold", trouble: str = "") -> Order:
    """Return an order whose steps get these verdicts."""
    seconds = UNDECIDED_SECONDS if states[-1] == "unknown" else RULES.step_seconds
    return Order(
        shares,
        replace(RULES, undecided=undecided, step_seconds=seconds),
        ScriptedJudge(*states, trouble=trouble),
        Journal("eu"),
    )
