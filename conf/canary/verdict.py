"""The verdict on a canary from the counts of both arms: worse, good, or not known yet.

Two checks come before it: fixed limits that need no test, and whether routing gave the canary its share.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.base.quantities import significant
from conf.canary.counts import Counts
from conf.canary.sequential_tests import binomial_bounds, log_evidence, share_of_bad

WORSE, GOOD, UNKNOWN = "worse", "good", "unknown"
TOLD = 1_000_000  # more evidence is told as over it, since its number may have hundreds of digits
NAMES = {WORSE: "worse", GOOD: "good", UNKNOWN: "not known yet"}


@dataclass(frozen=True)
class Metric:
    """A metric that is judged. margin: by how much the canary's bad share may be the larger one for the verdict good."""

    name: str
    margin: float


@dataclass(frozen=True)
class Judging:
    """The metrics of a canary, and how surely they are judged.

    tolerance: how many times the baseline's bad share the canary's may be. steps: of the whole canary. The same settings stand
    for all of them. confidence: that a canary within the tolerance is never called worse, over all metrics and steps together.
    It is also that of the verdict good, for each metric and step.
    """

    metrics: tuple[Metric, ...]
    tolerance: float = 1.25
    confidence: float = 0.99
    steps: int = 1

    def __post_init__(self) -> None:
        if not self.metrics or self.tolerance < 1 or not 0 < self.confidence < 1 or self.steps < 1:
            raise ValueError(f"{self}: at least 1 metric, tolerance and step, and a confidence between 0 and 1")

    @property
    def threshold(self) -> float:
        """The evidence at which a metric is worse. The error allowed is split evenly over metrics and steps (Bonferroni)."""
        return len(self.metrics) * self.steps / (1 - self.confidence)


@dataclass(frozen=True)
class MetricVerdict:
    """One metric's verdict. canary, baseline: what was counted.

    log_evidence: ln E. threshold: of E. upper: of the canary's bad share. lower: of the baseline's.
    """

    metric: Metric
    state: str
    canary: Counts
    baseline: Counts
    log_evidence: float
    threshold: float
    upper: float
    lower: float

    @property
    def evidence(self) -> float:
        """E, or infinity where no float holds it."""
        return math.exp(self.log_evidence) if self.log_evidence < 700 else math.inf

    @property
    def most_worse(self) -> float:
        """By how much the canary's bad share is the larger one at most."""
        return self.upper - self.lower

    @property
    def words(self) -> str:
        beside = f"{_of(self.canary)} in the canary, {_of(self.baseline)} in the baseline"
        if self.state == WORSE:
            told = max(TOLD, self.threshold)
            found = f"{self.evidence:,.0f}" if self.evidence < told else f"over {told:,.0f}"
            reason = f"evidence {found}, at {self.threshold:,.0f} it is worse"
        else:
            most = f"{significant(100 * self.most_worse, 2)} percentage points more at most"
            evidence = f"evidence {significant(self.evidence, 2)} of {self.threshold:,.0f}"
            reason = f"{most}, good below {100 * self.metric.margin:g}; {evidence}"
        return f"{self.metric.name}: {NAMES[self.state]}: {beside} ({reason})"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a step: worse where one metric is, good where all are."""

    state: str
    metrics: tuple[MetricVerdict, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """A line for each metric, those that decide first."""
        order = (WORSE, UNKNOWN, GOOD)
        return tuple(each.words for each in sorted(self.metrics, key=lambda each: order.index(each.state)))

    @property
    def summary(self) -> str:
        """The line of the metric that decides most, and how many others have which verdict."""
        states = Counter(each.state for each in self.metrics)
        states[next(state for state in (WORSE, UNKNOWN, GOOD) if states[state])] -= 1
        others = ", ".join(f"{count} {NAMES[state]}" for state, count in states.items() if count)
        return self.words[0] + (f"; the others: {others}" if others else "")


def judge(canary: Mapping[str, Counts], baseline: Mapping[str, Counts], share: float, settings: Judging) -> Verdict:
    """Return the verdict on a step from the counts since it began. It may be asked for after every scrape.

    canary, baseline: the counts of each metric, by its name. share: the canary's part of the requests to both arms together, as
    it was asked for. Raises KeyError where a metric has no counts, ValueError for a share that is not between 0 and 1. Ask
    `sample_ratio_error` first: where routing did not give the share, the counts tell nothing.
    """
    if not 0 < share < 1:
        raise ValueError(f"the canary's share of both arms' requests is {share}, and must be between 0 and 1")
    verdicts = tuple(_verdict(each, canary[each.name], baseline[each.name], share, settings) for each in settings.metrics)
    states = {each.state for each in verdicts}
    return Verdict(WORSE if WORSE in states else GOOD if states == {GOOD} else UNKNOWN, verdicts)


def _verdict(metric: Metric, canary: Counts, baseline: Counts, share: float, settings: Judging) -> MetricVerdict:
    found = _evidence(canary, baseline, share, settings.tolerance)
    # Each of the two bounds fails with half of the error. No split over metrics and steps: all of them must be good.
    error = (1 - settings.confidence) / 2
    batch = max(canary.requests_together, baseline.requests_together)
    upper, lower = _bounds(canary, batch, error)[1], _bounds(baseline, batch, error)[0]
    good_or_unknown = GOOD if upper - lower < metric.margin else UNKNOWN
    state = WORSE if found >= math.log(settings.threshold) else good_or_unknown
    return MetricVerdict(metric, state, canary, baseline, found, settings.threshold, upper, lower)


def _evidence(canary: Counts, baseline: Counts, share: float, tolerance: float) -> float:
    """Return ln E of one metric.

    The share is the larger one of what was asked for and what came, which makes E the smaller near its threshold. Both arms'
    causes are taken for equally large, since a version with other batches must not look worse by that alone.
    """
    requests = canary.requests + baseline.requests
    seen = canary.requests / requests if requests else share
    together = max(canary.bad_together, baseline.bad_together)
    most = share_of_bad(max(share, seen), tolerance)
    return log_evidence(canary.bad / together, baseline.bad / together, most)


def _bounds(counts: Counts, together: float, error: float) -> tuple[float, float]:
    """Return bounds of a bad share. A counter that counts more than requests tells no share."""
    if counts.bad > counts.requests:
        return 0.0, 1.0
    return binomial_bounds(counts.bad / together, counts.requests / together, error)


def _of(counts: Counts) -> str:
    share = f" ({significant(100 * counts.bad / counts.requests, 2)} %)" if counts.requests else ""
    return f"{counts.bad:,} of {counts.requests:,}{share}"


def sample_ratio_error(canary: int, baseline: int, share: float, settings: Judging) -> str | None:
    """Return what is wrong with the share that routing gave, in words, or None.

    canary, baseline: requests of each arm since the step began. share: the canary's part of both that was asked for.

    Shares are compared by odds, and may differ by the factor `tolerance`. Routing is never exact, scrapes of both arms come at
    different times, and the verdict allows for as much. The share is wrong where the bounds of the share that came lie wholly
    outside of that. They hold at every look of all steps together. So chance alone makes an error in 1 - confidence of all
    canaries at most. Lindon and Malek, NeurIPS 2022, section 2, test for such mismatches in the same way.
    """
    if canary + baseline == 0:
        return None
    lower, upper = binomial_bounds(canary, canary + baseline, (1 - settings.confidence) / settings.steps)
    odds = share / (1 - share)
    least, most = (part / (1 + part) for part in (odds / settings.tolerance, odds * settings.tolerance))
    if lower <= most and upper >= least:
        return None
    got = f"{significant(100 * canary / (canary + baseline), 2)} %"
    return (
        f"the canary got {canary:,} of the {canary + baseline:,} requests of both arms, {got}, and was to get "
        f"{significant(100 * share, 2)} %: routing does not give the shares, so nothing is judged; look at the route's "
        "weights, and for callers that bypass it"
    )


@dataclass(frozen=True)
class Figures:
    """An arm's figures. memory: the largest part of its limit that a pod uses, or None where that is not known.

    restarts: of the arm's containers since the step began. batch_seconds: the measured cost of a batch, by model and rows.
    """

    memory: float | None = None
    restarts: int = 0
    batch_seconds: Mapping[tuple[str, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """memory: part of a pod's limit. restarts: that are allowed. batch_cost: times the baseline's, in the median over sizes."""

    memory: float = 0.95
    restarts: int = 0
    batch_cost: float = 1.5


def passed_limits(canary: Figures, baseline: Figures, limits: Limits) -> tuple[str, ...]:
    """Return in words each limit that the canary has passed. One of them is enough to take it back.

    Memory that the baseline uses as well is not the new version's fault, so only what is above it counts.
    """
    found = []
    allowed = max(limits.memory, baseline.memory or 0.0)
    if canary.memory is not None and canary.memory > allowed:
        found.append(f"memory: a pod of the canary uses {100 * canary.memory:.0f} % of its limit, over {100 * allowed:.0f} %")
    if canary.restarts > limits.restarts + baseline.restarts:
        found.append(f"restarts: {canary.restarts} of the canary's containers, {baseline.restarts} of the baseline's")
    ratios = [
        seconds / baseline.batch_seconds[key]
        for key, seconds in canary.batch_seconds.items()
        if baseline.batch_seconds.get(key, 0.0) > 0
    ]
    if ratios and (ratio := statistics.median(ratios)) > limits.batch_cost:
        found.append(f"batch cost: {significant(ratio, 2)} times the baseline's, over {limits.batch_cost:g}")
    return tuple(found)
