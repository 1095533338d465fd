"""A pod whose counts could not be read when a step began is judged from the first counts that are read of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conf.rollout.canary.judge import Finding
from conf.rollout.canary.state import Canary
from tests.conf.rollout.canary.scripted_counters import BASELINE, NEW, OLD, answered, scripted

BESIDE_OLD_PODS = Canary((50, 25), 2, baseline=False)
LATE = 1000.0  # seconds after a step began: skew between two pods' counters explains no difference any more
Answered = Mapping[str, Mapping[str, int]]  # Service -> pod -> requests


class Judged:
    """A canary whose pods have answered as many requests as a test says."""

    def __init__(self, folder: Path):
        self.judge, self.counters = scripted(folder)

    def read(self, found: Answered) -> None:
        """Let these counts be read from now on."""
        self.counters.pages = {
            service: {pod: answered(count) for pod, count in pods.items()} for service, pods in found.items()
        }

    def begun(self, canary: Canary, found: Answered) -> Canary:
        self.read(found)
        return replace(canary, begin=self.judge.begin(canary))

    def look(self, canary: Canary, found: Answered) -> Finding:
        self.read(found)
        return self.judge.look(canary, {}, LATE)


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    return Judged(tmp_path)


def compared(found: Finding) -> tuple[int, int]:
    """Return the requests of both arms that a finding is about."""
    assert found.verdict is not None, found.trouble
    errors = found.verdict.metrics[0]
    return errors.canary.requests, errors.baseline.requests


def test_an_old_pod_that_could_not_be_read_at_a_steps_begin_does_not_count_its_life(judged: Judged) -> None:
    canary = judged.begun(BESIDE_OLD_PODS, {NEW: {"n": 0}, OLD: {"a": 9_000}})
    first = judged.look(canary, {NEW: {"n": 20}, OLD: {"a": 9_010, "b": 80_010}})
    assert (first.trouble, compared(first)) == ("", (20, 10))
    assert compared(judged.look(canary, {NEW: {"n": 400}, OLD: {"a": 9_200, "b": 80_200}})) == (400, 390)


def test_where_it_began_is_told_so_that_another_judge_goes_on_from_there(judged: Judged, tmp_path: Path) -> None:
    canary = judged.begun(BESIDE_OLD_PODS, {NEW: {"n": 0}, OLD: {}})
    assert "b" not in canary.begin
    kept = replace(canary, begin=judged.look(canary, {NEW: {"n": 0}, OLD: {"b": 80_000}}).begin)
    assert kept.begin.keys() == {"n", "b"}
    assert compared(Judged(tmp_path).look(kept, {NEW: {"n": 300}, OLD: {"b": 80_300}})) == (300, 300)


def test_a_new_pod_that_was_not_scraped_yet_at_a_steps_begin_loses_nothing(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {NEW: {}, BASELINE: {"old": 0}})
    assert compared(judged.look(canary, {NEW: {"n": 40}, BASELINE: {"old": 45}})) == (40, 45)


def test_an_arms_pod_of_the_step_before_that_could_not_be_read_counts_from_the_next_reading(judged: Judged) -> None:
    """The new pod beside it counts from its start."""
    canary = judged.begun(Canary((25, 50), 4), {NEW: {"n": 0}, BASELINE: {"o": 0}})
    judged.look(canary, {NEW: {"n": 5_000}, BASELINE: {"o": 5_000}})
    canary = judged.begun(canary.next_step(), {NEW: {"n": 5_100}, BASELINE: {}})
    assert compared(judged.look(canary, {NEW: {"n": 5_200, "m": 90}, BASELINE: {"o": 5_190, "p": 180}})) == (190, 180)


def test_a_pod_that_restarts_within_a_step_keeps_what_it_had_counted_in_it(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {NEW: {"n": 100}, BASELINE: {"o": 100}})
    assert compared(judged.look(canary, {NEW: {"n": 900}, BASELINE: {"o": 890}})) == (800, 790)
    assert compared(judged.look(canary, {NEW: {"n": 950}, BASELINE: {"o": 40}})) == (850, 830)
    assert compared(judged.look(canary, {NEW: {"n": 1_100}, BASELINE: {"o": 200}})) == (1_000, 990)
    assert compared(judged.look(canary, {NEW: {"n": 1_200}, BASELINE: {"o": 90}})) == (1_100, 1_080)
