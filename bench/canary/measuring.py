"""Measures judges by simulation: false alarms, requests until a change is found, and until a canary is good.

Each run is seeded, so figures come again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.canary import judges
from bench.canary.fixed_size import requests_needed
from bench.canary.judges import CHECKS, GATE_LOOKS, MARGINS, MINUTE, NEVER
from bench.canary.world import BASELINE, METRICS, NONE, STEPS, Change, Floats, Runs, World, pods, simulate

AT_ONCE = 250  # releases whose numbers are in memory together
LONG_STEP, LONG_LOOKS = 25, 400  # the step, and its looks, in which changes are found
MIXED_SIZES, MIXED_BATCH = (1, 2, 4, 8, 16, 32), 21.67  # and the batch that a request is in, on average
CHANGES = (
    Change("1 % more requests fail", failing=0.01),
    Change("all answers take 20 % longer", slower=1.2),
    Change("the slowest twentieth takes twice as long", tail=2.0),
)
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Worse:
    """How soon a change is found. median, late: requests of both arms, for half and nine tenths of the releases.

    found: part of the releases. Infinity stands for releases that were not found.
    """

    median: float
    late: float
    found: float


@dataclass(frozen=True)
class Detection:
    """How soon judges find a change. The last three are requests of fixed-size tests.

    same: of one that keeps the promise of the platform's judge. alone: of one that judges one metric at one look. plain: of one
    that has no tolerance either.
    """

    change: Change
    platform: Worse
    thresholds: Worse
    gate: Worse
    same: float
    alone: float
    plain: float


def false_alarms(world: World, batch: float, releases: int, seed: int) -> int:
    """Return how many of so many releases without a change the platform's judge calls worse at some step."""
    judging = judges.settings(len(STEPS))
    total = 0
    for chance, count in _parts(releases, seed):
        running = pods(chance, world, count)
        found = [judges.worse(simulate(chance, world, NONE, running, step), judging, batch).look for step in STEPS]
        total += int((np.array(found) != NEVER).any(axis=0).sum())
    return total


def compared_alarms(world: World, batch: float, releases: int, seed: int) -> dict[str, int]:
    """Return the false alarms of all judges on the same runs."""
    strict, judging = judges.settings(len(STEPS), tolerance=1.0), judges.settings(len(STEPS))
    totals: dict[str, int] = {}
    for chance, count in _parts(releases, seed):
        running = pods(chance, world, count)
        alarms: dict[str, list[Flags]] = {}
        failed_checks = np.zeros(count, int)
        for step in STEPS:
            runs = simulate(chance, world, NONE, running, step)
            failed_checks += judges.fixed_thresholds(runs, _known(runs)).sum(axis=1)
            for name, flags in {
                "the platform's judge": judges.worse(runs, judging, batch).look != NEVER,
                "the same without tolerance": judges.worse(runs, strict, batch).look != NEVER,
                "the same, each bad request counted": judges.worse(runs, judging, batch, by_cause=False).look != NEVER,
                "fixed-size tests at each step's end, without tolerance": judges.plain_tests(runs, batch),
                "Mann-Whitney gate at each step's end": judges.mann_whitney(runs).any(axis=1),
            }.items():
                alarms.setdefault(name, []).append(flags)
        alarms["fixed thresholds"] = [failed_checks >= CHECKS]
        for name, of_steps in alarms.items():
            totals[name] = totals.get(name, 0) + int(np.any(of_steps, axis=0).sum())
    return totals


def detection(world: World, change: Change, batch: float, releases: int, seed: int) -> Detection:
    """Return how soon a change is found in one long step, by each judge on the same runs."""
    judging = judges.settings(len(STEPS))
    times: tuple[list[Floats], ...] = ([], [], [])
    causes, requests = np.zeros((2, len(METRICS))), np.zeros(2)
    for chance, count in _parts(releases, seed):
        runs = simulate(chance, world, change, pods(chance, world, count), LONG_STEP, LONG_LOOKS)
        both = runs.requests.sum(axis=2).cumsum(axis=1)
        checks = judges.fixed_thresholds(runs, _known(runs)).cumsum(axis=1) >= CHECKS
        times[0].append(_requests(both, judges.worse(runs, judging, batch).look))
        times[1].append(_requests(both, _first(checks, MINUTE)))
        times[2].append(_requests(both, _first(judges.mann_whitney(runs), GATE_LOOKS)))
        causes += runs.bad.sum(axis=(0, 1)) / batch
        requests += runs.requests.sum(axis=(0, 1))
    rates: list[tuple[float, float]] = (causes / requests[:, None]).T.tolist()
    same, alone, plain = (
        min(requests_needed(canary, baseline, error, tolerance) for canary, baseline in rates)
        for error, tolerance in ((1 / judging.threshold, judging.tolerance), (0.01, judging.tolerance), (0.01, 1.0))
    )
    platform, thresholds, gate = (_worse(np.concatenate(each)) for each in times)
    return Detection(change, platform, thresholds, gate, same, alone, plain)


def until_good(world: World, change: Change, batch: float, releases: int, seed: int, looks: int = LONG_LOOKS) -> Worse:
    """Return after how many requests of both arms the verdict is good, in one long step."""
    judging, times = judges.settings(len(STEPS)), list[Floats]()
    for chance, count in _parts(releases, seed):
        runs = simulate(chance, world, change, pods(chance, world, count), LONG_STEP, looks)
        worse, found = judges.worse(runs, judging, batch).look, judges.good(runs, judging, batch)
        found = np.where((worse != NEVER) & (worse < found), NEVER, found)  # a driver has taken it back by then
        times.append(_requests(runs.requests.sum(axis=2).cumsum(axis=1), found))
    return _worse(np.concatenate(times))


def barely_worse(metric: int = 0) -> Change:
    """Return a change whose difference is a little over the margin, so that it must not be called good."""
    return Change("failing requests above their margin", failing=1.02 * MARGINS[metric])


def _parts(releases: int, seed: int) -> Iterator[tuple[np.random.Generator, int]]:
    for number, begin in enumerate(range(0, releases, AT_ONCE)):
        yield np.random.default_rng([seed, number]), min(AT_ONCE, releases - begin)


def _known(runs: Runs) -> Floats:
    """Return the bad shares that a team knows before a canary: those of all baselines."""
    return np.asarray(runs.bad[:, :, BASELINE].sum(axis=(0, 1)) / runs.requests[:, :, BASELINE].sum())


def _first(flags: Flags, every: int) -> NDArray[np.int64]:
    """Return the look at which a flag is first up, or NEVER. every: looks of a flag."""
    return np.where(flags.any(axis=1), (flags.argmax(axis=1) + 1) * every - 1, NEVER)


def _requests(both: NDArray[np.int64], look: NDArray[np.int64]) -> Floats:
    return np.where(look == NEVER, math.inf, both[np.arange(len(both)), look].astype(float))


def _worse(requests: Floats) -> Worse:
    ordered = np.sort(requests)
    return Worse(float(ordered[len(ordered) // 2]), float(ordered[len(ordered) * 9 // 10]), float(np.isfinite(ordered).mean()))
