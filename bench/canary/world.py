"""A simulated service under a canary: requests in batches, bursts, and pods that differ.

Batches come to each pod as a Poisson process, so routing is random. A batch fails, is refused or is slow as a whole. Latencies
are log-normal. Slow answers are counted by the platform's own bounds, chosen as a canary chooses them. In a burst, traffic
doubles and each bad share grows, in both arms at once. Each pod has a factor of its own for each kind of bad request. It is the
same in all steps.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conf.canary.counts import latency_edges
from serving.settings.exported_metrics import seconds_bounds

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RATE = 200.0  # requests a second, of the whole service
PODS = 12
SCRAPE_SECONDS = 15.0
STEPS = (5, 25, 50)  # percent of the requests
LOOKS = 40  # in a step: ten minutes
METRICS = ("errors", "refusals", "slower than p50", "slower than p95", "slower than p99")
REFUSED = 0.0005  # of the baseline's requests, without bursts
MEDIAN, SIGMA = 0.04, 0.5  # seconds; of the logarithm of a latency
BURST_LOOKS, BURST_TRAFFIC = 4, 2.0
BURST_FACTORS = np.array([5.0, 20.0, 1.2, 2.0, 3.0])  # on each bad share
MAX_SHARE = 0.9
CANARY, BASELINE = 0, 1


@dataclass(frozen=True)
class World:
    """failing: part of the baseline's requests without bursts; with them it is 1.7 times that. sizes: of batches, all as often.

    pods_differ, speeds_differ: the standard deviation of the logarithm of a pod's factors, on bad shares and on latencies.
    bursts: in a step, on average. stalls: of a pod in a step, for two seconds each, on average.
    """

    failing: float = 0.006
    sizes: tuple[int, ...] = (8,)
    pods_differ: float = 0.1
    speeds_differ: float = 0.0
    bursts: float = 1.0
    stalls: float = 0.0


@dataclass(frozen=True)
class Change:
    """How the canary differs. failing: requests more that fail, as a part of all. slower: factor on all latencies.

    tail: factor on the slowest twentieth.
    """

    name: str
    failing: float = 0.0
    slower: float = 1.0
    tail: float = 1.0


NONE = Change("no change")


@dataclass(frozen=True)
class Runs:
    """Simulated steps. n releases, k looks, two arms, m metrics. Counts are of the time between two looks."""

    requests: Integers  # (n, k, 2)
    bad: Integers  # (n, k, 2, m)
    failed_batches: Integers  # (n, k, 2)

    @property
    def looks(self) -> int:
        return int(self.requests.shape[1])


@dataclass(frozen=True)
class Pods:
    """The pods of both arms of n releases. factors: on bad shares, (n, 2, PODS, m). speeds: on latencies, (n, 2, PODS)."""

    factors: Floats
    speeds: Floats


def edges() -> Floats:
    """Return the bounds, in seconds, by which slow answers are counted: those nearest to the baseline's quantiles."""
    bounds = [*seconds_bounds(30.0), math.inf]
    return np.array(list(latency_edges({bound: 1e6 * (1 - _slower_than(bound)) for bound in bounds}).values()))


def pods(chance: np.random.Generator, world: World, releases: int) -> Pods:
    kinds = np.exp(chance.normal(0, world.pods_differ, (releases, 2, PODS, 3)))
    speeds = np.exp(chance.normal(0, world.speeds_differ, (releases, 2, PODS)))
    return Pods(kinds[..., [0, 1, 2, 2, 2]], speeds)  # slow answers of all bounds have one factor


def simulate(chance: np.random.Generator, world: World, change: Change, running: Pods, step: int, looks: int = LOOKS) -> Runs:
    """Return one step of `step` percent, for as many releases as have pods."""
    releases, used = len(running.speeds), math.ceil(PODS * step / 100)
    shares = _bad_shares(world, change, running.speeds[:, :, :used]) * running.factors[:, :, :used]
    bursts = _bursts(chance, world, releases, looks)
    mean = RATE * step / 100 * SCRAPE_SECONDS / used / (sum(world.sizes) / len(world.sizes)) / len(world.sizes)
    means = np.where(bursts, BURST_TRAFFIC * mean, mean)[:, :, None, None]
    requests = np.zeros((releases, looks, 2), np.int64)
    bad = np.zeros((releases, looks, 2, len(METRICS)), np.int64)
    failed_batches = np.zeros((releases, looks, 2), np.int64)
    grown = np.where(bursts[:, :, None], BURST_FACTORS, 1.0)[:, :, None, None, :]
    chances = shares[:, None] * grown  # (n, k, 2, pods, m)
    chances[:, :, CANARY, :, 0] += change.failing
    chances = np.minimum(chances, MAX_SHARE)
    for size in world.sizes:
        batches = chance.poisson(np.broadcast_to(means, (releases, looks, 2, used)))
        of_batches = _bad_batches(chance, batches, chances, _stalled(chance, world, batches))
        requests += size * batches.sum(axis=3)
        bad += size * of_batches.sum(axis=3)
        failed_batches += of_batches[..., 0].sum(axis=3)
    return Runs(requests, bad, failed_batches)


def _bad_batches(chance: np.random.Generator, batches: Integers, chances: Floats, stalled: Integers) -> Integers:
    """Return how many batches are bad for each metric. Those above a bound are among those above a lower one."""
    found = np.empty(chances.shape, np.int64)
    for metric in (0, 1, 2):
        found[..., metric] = chance.binomial(batches, chances[..., metric])
    for metric in (3, 4):
        part = np.minimum(chances[..., metric] / chances[..., metric - 1], 1.0)
        found[..., metric] = chance.binomial(found[..., metric - 1], part)
    found[..., 2:] = np.minimum(found[..., 2:] + stalled[..., None], batches[..., None])
    return found


def _stalled(chance: np.random.Generator, world: World, batches: Integers) -> Integers:
    """Return the batches that wait for a pod that stands still for two seconds."""
    if not world.stalls:
        return np.zeros_like(batches)
    stalls = chance.random(batches.shape) < world.stalls / batches.shape[1]
    return np.where(stalls, np.ceil(batches * 2 / SCRAPE_SECONDS), 0).astype(np.int64)


def _bursts(chance: np.random.Generator, world: World, releases: int, looks: int) -> NDArray[np.bool_]:
    """Return at which looks there is a burst, (n, k): the same for both arms."""
    begins = chance.random((releases, looks + BURST_LOOKS)) < world.bursts / LOOKS
    return np.asarray(np.any([begins[:, each : each + looks] for each in range(BURST_LOOKS)], axis=0))


def _bad_shares(world: World, change: Change, speeds: Floats) -> Floats:
    """Return the bad shares of each pod without bursts and factors, (n, 2, pods, m), and without what fails more."""
    shares = np.empty((*speeds.shape, len(METRICS)))
    shares[..., 0], shares[..., 1] = world.failing, REFUSED
    for number, bound in enumerate(edges(), 2):
        for arm in (CANARY, BASELINE):
            one = change if arm == CANARY else NONE
            shares[:, arm, :, number] = _slow(bound / speeds[:, arm] / one.slower, one.tail)
    return shares


def _slow(bounds: Floats, tail: float) -> Floats:
    """Return the part of answers above each bound, where those above the 95th percentile take `tail` times as long."""
    if tail == 1:
        return np.asarray(np.vectorize(_slower_than)(bounds))
    q95 = MEDIAN * math.exp(1.6448536 * SIGMA)

    def slow(bound: float) -> float:
        return max(_slower_than(bound) - 0.05, 0.0) + _slower_than(max(q95, bound / tail))

    return np.asarray(np.vectorize(slow)(bounds))


def _slower_than(seconds: float) -> float:
    return math.erfc(math.log(seconds / MEDIAN) / SIGMA / math.sqrt(2)) / 2 if math.isfinite(seconds) else 0.0
