"""A small, seeded run of what `make bench-canary` measures. Its bounds leave room for chance, not for a worse judge."""

import itertools
import math

import numpy as np
import pytest

from bench.canary import judges, measuring
from bench.canary.canary_report import Figures, floors, write
from bench.canary.fixed_size import at_least, requests_needed
from bench.canary.judges import NEVER
from bench.canary.world import BASELINE, CANARY, METRICS, NONE, STEPS, Change, World, pods, simulate

BATCH = 8.0


def test_hardly_any_release_without_a_change_is_called_worse() -> None:
    """At 1 % of releases, chance makes 10 or more of 400 in one run of a hundred."""
    alarms = measuring.compared_alarms(World(), BATCH, 400, seed=11)
    assert alarms["the platform's judge"] < 10
    assert alarms["the same, each bad request counted"] > 200
    assert min(count for name, count in alarms.items() if "platform" not in name) > alarms["the platform's judge"]


@pytest.mark.parametrize("change", measuring.CHANGES, ids=lambda change: change.name)
def test_a_change_is_found_with_twice_the_requests_of_a_fixed_size_test_at_most(change: Change) -> None:
    found = measuring.detection(World(), change, BATCH, 100, seed=12)
    assert found.platform.median < 2 * found.same
    assert found.platform.found > 0.9
    assert found.plain < found.alone < found.same


def test_a_canary_like_its_baseline_is_good_in_the_end_and_one_above_its_margin_is_not() -> None:
    world = World(failing=0.0006, sizes=(1,))
    assert measuring.until_good(world, NONE, 1.0, 40, seed=13).found > 0.9
    assert measuring.until_good(world, measuring.barely_worse(), 1.0, 100, seed=13, looks=100).found <= 0.02


def test_no_look_is_left_out_that_would_be_worse() -> None:
    """The bound that spares most looks the exact evidence spares none that reaches the threshold."""
    chance, world = np.random.default_rng(14), World(sizes=(4,))
    runs = simulate(chance, world, measuring.CHANGES[0], pods(chance, world, 20), 50, 40)
    judging = judges.settings(1, tolerance=1.1)
    found = judges.worse(runs, judging, 4.0)
    requests, bad, failed = (each.cumsum(axis=1) for each in (runs.requests, runs.bad, runs.failed_batches))
    for release, look in itertools.product(range(20), range(40)):
        state = judges.verdict(requests[release, look], bad[release, look], failed[release, look], judging, 4.0).state
        first = found.look[release]
        assert state != "worse" or NEVER != first <= look
        assert look != first or state == "worse"
    assert (found.look != NEVER).any()


def test_the_world_is_as_it_is_described() -> None:
    chance, world = np.random.default_rng(15), World()
    runs = simulate(chance, world, NONE, pods(chance, world, 300), 25)
    shares = runs.bad.sum(axis=(0, 1)) / runs.requests.sum(axis=(0, 1))[:, None]
    assert shares[BASELINE] == pytest.approx([0.010, 0.0022, 0.46, 0.040, 0.019], rel=0.1)
    assert shares[CANARY] == pytest.approx(shares[BASELINE], rel=0.1)
    assert set(np.unique(runs.bad % 8)) == {0}  # batches fail as a whole
    assert (np.diff(runs.bad[..., 2:], axis=-1) <= 0).all()  # who is above a bound is above a lower one
    ones = World(sizes=(1,), pods_differ=0.0, bursts=0.0)
    even = simulate(chance, ones, NONE, pods(chance, ones, 100), 50)
    counts = even.bad[..., 0].ravel()
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.1)  # without batches, bursts and pods it is Poisson's


def test_slower_answers_are_as_many_as_they_should_be() -> None:
    chance, world = np.random.default_rng(16), World(sizes=(1,), pods_differ=0.0, bursts=0.0)
    tail = measuring.CHANGES[2]
    runs = simulate(chance, world, tail, pods(chance, world, 20), 50)
    shares = runs.bad.sum(axis=(0, 1)) / runs.requests.sum(axis=(0, 1))[:, None]
    assert shares[CANARY][4] == pytest.approx(0.05, rel=0.1)  # the whole slowest twentieth is above the bound of p99
    assert shares[CANARY][2] == pytest.approx(shares[BASELINE][2], rel=0.05)


def test_the_fixed_size_test_has_the_error_and_the_power_that_it_should_have() -> None:
    causes = round(requests_needed(0.02, 0.01, 0.01) * 0.015)
    allowed, true = 1.25 / 2.25, 2 / 3
    critical = next(k for k in range(causes + 1) if exact_tail(k, causes, allowed) <= 0.01)
    assert exact_tail(critical, causes, true) >= 0.8
    fewer = causes - 5
    critical = next(k for k in range(fewer + 1) if exact_tail(k, fewer, allowed) <= 0.01)
    assert exact_tail(critical, fewer, true) < 0.82
    assert at_least(critical, fewer, true) == pytest.approx(exact_tail(critical, fewer, true))
    assert requests_needed(0.012, 0.01, 0.01) == math.inf  # within the tolerance


def exact_tail(least: int, causes: int, probability: float) -> float:
    return sum(math.comb(causes, k) * probability**k * (1 - probability) ** (causes - k) for k in range(least, causes + 1))


def test_the_gate_ranks_as_the_textbook_does() -> None:
    """Mann and Whitney's U of 3, 4, 5 over 1, 2, 3 is 8.5 of 9, with a tie of two."""
    chance, world = np.random.default_rng(17), World()
    runs = simulate(chance, world, NONE, pods(chance, world, 2), 5, judges.GATE_LOOKS)
    assert judges.mann_whitney(runs).shape == (2, 1)
    canary, baseline = np.array([3.0, 4, 5]).reshape(1, 3, 1), np.array([1.0, 2, 3]).reshape(1, 3, 1)
    variance = 9 / 12 * (7 - (2**3 - 2) / (6 * 5))
    assert judges.rank_z(canary, baseline) == pytest.approx((8.5 - 4.5) / math.sqrt(variance))


def test_the_report_tells_what_was_measured_and_whether_floors_are_met() -> None:
    changes = tuple(measuring.detection(World(), change, BATCH, 20, seed=18) for change in measuring.CHANGES)
    worse = measuring.Worse(1234.0, math.inf, 0.75)
    alarms = {"the platform's judge": 11, "another": 500}
    figures = Figures(1000, alarms, {"no batches": 1}, changes, 20, {"no change": worse})
    text = write(figures)
    assert "| releases without a change that are called worse | at most 1 % | 1.1 % | **no** |" in text
    assert "| no change | 1,200 | never | 75 % |" in text
    assert [met for *_, met in floors(figures)] == [False, True, True, True]
    assert len(METRICS) == 5
    assert len(STEPS) == 3
