"""A step's first reading is tried again while counts cannot be read, and shares are kept meanwhile."""

from collections.abc import Mapping

import pytest

from conf.observe.prometheus import NoFigures
from conf.rollout.canary import counts_reader
from conf.rollout.canary.counts_reader import CountsReader
from conf.rollout.canary.state import Canary
from tests.conf.rollout.canary.scripted_judge import ScriptedJudge

BEGUN = {"small-canary-1": {"counted": 7.0}}


class FailingJudge(ScriptedJudge):
    """Cannot read counts for a number of times."""

    def __init__(self, failures: int):
        super().__init__("unknown")
        self.failures, self.asked = failures, 0

    def begin(self, canary: Canary) -> dict[str, Mapping[str, float]]:
        self.asked += 1
        if self.asked <= self.failures:
            raise NoFigures("the API server does not answer")
        return dict(BEGUN)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_reader, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(counts_reader, "BEGIN_SECONDS", 0.5)


def test_a_step_begins_when_counts_can_be_read_again() -> None:
    judge, kept = FailingJudge(2), []
    reader = CountsReader(judge, 5.0)
    assert reader.begin(Canary((25,), 1), lambda: kept.append(1)) == BEGUN
    assert judge.asked == 3
    assert len(kept) >= 2
    reader.end()


def test_a_step_whose_counts_stay_unreadable_ends_with_the_reason() -> None:
    judge = FailingJudge(10**9)
    reader = CountsReader(judge, 5.0)
    with pytest.raises(NoFigures, match="does not answer"):
        reader.begin(Canary((25,), 1), lambda: None)
    assert judge.asked > 1
    reader.end()
