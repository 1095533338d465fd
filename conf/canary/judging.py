"""The verdict on a canary from the counts of both arms: worse, good, or not known yet.

Knows counts, tolerances and margins. Does not know which metric means what, nor where counts come from.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conf.base.quantities import significant
from conf.canary.binomial_bounds import binomial_bounds
from conf.canary.counts import Counts
from conf.canary.evidence import log_evidence, share_of_bad

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
    `routed_share.share_error` first: where routing did not give the share, the counts tell nothing.
    """
    if not 0 < share < 1:
        raise ValueError(f"the canary's share of both arms' requests is {share}, and must be between 0 and 1")
    verdicts = tuple(_judged(each, canary[each.name], baseline[each.name], share, settings) for each in settings.metrics)
    return Verdict(_together([each.state for each in verdicts]), verdicts)


def _judged(metric: Metric, canary: Counts, baseline: Counts, share: float, settings: Judging) -> MetricVerdict:
    found = _evidence(canary, baseline, share, settings.tolerance)
    # One of the two bounds fails with half of the error each. No split over metrics and steps: all of them must be good.
    half = (1 - settings.confidence) / 2
    batch = max(canary.requests_together, baseline.requests_together)
    upper, lower = _bounds(canary, batch, half)[1], _bounds(baseline, batch, half)[0]
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


def _together(states: Sequence[str]) -> str:
    if WORSE in states:
        return WORSE
    return GOOD if all(state == GOOD for state in states) else UNKNOWN


def _of(counts: Counts) -> str:
    share = f" ({significant(100 * counts.bad / counts.requests, 2)} %)" if counts.requests else ""
    return f"{counts.bad:,} of {counts.requests:,}{share}"
