"""A small, seeded run of what `make bench-canary` measures. Its bounds leave room for chance, not for a worse judge."""

import itertools
import math

import numpy as np
import pytest

from bench.canary import judges, measuring
from bench.canary.fixed_size import at_least, requests_needed
from bench.canary.judges import NEVER
from bench.canary.world import NONE, Change, World, pods, simulate

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


def test_the_fixed_size_test_has_the_error_and_the_power_that_it_should_have() -> None:
    causes = round(requests_needed(0.02, 0.01, 0.01) * 0.015)
    allowed, true = 1.25 / 2.25, 2 / 3
    assert exact_tail(critical(causes, allowed), causes, true) >= 0.8
    fewer = causes - 5
    assert (power := exact_tail(critical(fewer, allowed), fewer, true)) < 0.82
    assert at_least(critical(fewer, allowed), fewer, true) == pytest.approx(power)
    assert requests_needed(0.012, 0.01, 0.01) == math.inf  # within the tolerance


def critical(causes: int, allowed: float) -> int:
    return next(k for k in range(causes + 1) if exact_tail(k, causes, allowed) <= 0.01)


def exact_tail(least: int, causes: int, probability: float) -> float:
    return sum(math.comb(causes, k) * probability**k * (1 - probability) ** (causes - k) for k in range(least, causes + 1))
