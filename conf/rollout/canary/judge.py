"""The judge of a canary's step: reads the counters of both arms, and gives their verdict.

Knows where counters are read, and which limits are asked before the test. Does not know routes, nor what a verdict leads to.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from conf.canary.fixed_limits import Limits, passed_limits
from conf.canary.judging import UNKNOWN, Verdict, judge
from conf.canary.latency_edges import latency_edges
from conf.canary.routed_share import share_error
from conf.canary.until_found import requests_until_good, seconds_until_found
from conf.clusters.regions import Region
from conf.observe.prometheus import NoFigures
from conf.render.arms import arm_names
from conf.rollout.canary.counters import Counters, Standing
from conf.rollout.canary.counting import (
    ERRORS,
    READ,
    Metrics,
    Sums,
    counts,
    duration_buckets,
    figures,
    judging,
    requests,
    since,
    sums,
)
from conf.rollout.canary.latest_counts import LatestCounts
from conf.rollout.canary.state import Canary, canary_part
from serving.settings import Settings

LIMITS = Limits()
LEAST_FACTOR = 1.25  # by which the odds of shares may differ at least, since no routing is exact
FOUND_SHARE = 0.01  # more errors, until whose finding the time is told


def until_shares_are_comparable(skew: float, factor: float) -> float:
    """Return how many seconds of a step the share that routing gave cannot be told from the counters' own skew.

    skew: seconds that the counters of two pods may lie apart, at the begin of the step and again at its end. Over T seconds
    that changes the odds of a request's arm by T / (T - 2 skew) at most, which must be below `factor`.
    """
    return 2 * skew * factor / (factor - 1)


@dataclass(frozen=True)
class Finding:
    """The finding of a look. verdict: None where nothing could be judged. trouble: what ends the canary, "" for nothing.

    words: a line for each metric, or why there is no verdict. begin: what each pod had counted where its part of the step
    began, with pods that could not be read then; empty where nothing could be read.
    """

    verdict: Verdict | None = None
    trouble: str = ""
    words: tuple[str, ...] = ()
    begin: Mapping[str, Sums] = field(default_factory=dict, hash=False)

    @property
    def state(self) -> str:
        return self.verdict.state if self.verdict else UNKNOWN

    @property
    def summary(self) -> str:
        """The finding in one line."""
        return self.verdict.summary if self.verdict and self.verdict.metrics else "; ".join(self.words)


@dataclass(frozen=True)
class Outlook:
    """How long steps will take. rate: requests a second to the service.

    found: for each step, the seconds until 1 % more errors are found. good: until a version without a change is good.
    """

    rate: float
    found: tuple[float, ...]
    good: tuple[float, ...]


class Judge:
    """Judges a canary of a service in a region. counters: None for those of the region."""

    def __init__(self, region: Region, namespace: str, service: str, settings: Settings, counters: Counters | None = None):
        self._service, self._settings = service, settings
        self._counters = counters or Counters(region, namespace, (*READ, *settings.canary_metrics))
        self._latest = LatestCounts(service)

    def edges(self) -> tuple[tuple[tuple[float, float], ...], str]:
        """Return the bounds of slow answers by the old pods' answers so far, and where counts are from. Raises NoFigures."""
        standing = self._counters.standing([self._service], new=False)
        pages = standing.pods[self._service].values()
        try:
            return tuple(latency_edges(duration_buckets(pages)).items()), standing.source
        except ValueError:
            return (), standing.source

    def outlook(self, canary: Canary) -> Outlook:
        """Return how long each step takes at the present rate. Raises NoFigures.

        Errors of the future are taken for as large causes as the old pods' batches make them: whole batches that fail.
        """
        rate = self._counters.rate(self._service)
        standing = self._counters.standing([self._service])
        metrics = self._metrics(canary)
        total = since({}, {pod: sums(page, metrics) for pod, page in standing.pods[self._service].items()})
        seen, settings = counts(total, metrics), judging(self._settings, metrics.edges, len(canary.shares))
        errors = seen[ERRORS]
        bad = errors.bad / errors.requests if errors.requests else 0.0
        found, good = [], []
        for number in range(len(canary.shares)):
            step = replace(canary, step=number)
            part, both = canary_part(step), rate * step.share / 100 / canary_part(step)
            found.append(seconds_until_found(both, part, settings, bad, FOUND_SHARE, errors.requests_together))
            good.append(requests_until_good(part, settings, seen) / both if both > 0 else math.inf)
        return Outlook(rate, tuple(found), tuple(good))

    def begin(self, canary: Canary) -> dict[str, Sums]:
        """Return what each pod of both arms has counted now. Raises NoFigures."""
        self._latest.begin_step()
        self._read(canary)
        return self._latest.now

    def look(self, canary: Canary, restarts: Mapping[str, int], now: float) -> Finding:
        """Return what the counts since the step began tell. restarts: of the containers of each arm. now: as time.time."""
        try:
            standing = self._read(canary)
        except NoFigures as error:
            return Finding(words=(f"counts cannot be read: {error}",))
        begin = self._latest.begin(canary.begin)
        return replace(self._found(canary, standing, begin, restarts, now), begin=begin)

    def _found(
        self, canary: Canary, standing: Standing, begin: Mapping[str, Sums], restarts: Mapping[str, int], now: float
    ) -> Finding:
        new, old = self._names(canary)
        totals = [self._latest.total(name, begin) for name in (new, old)]
        settings = judging(self._settings, dict(canary.edges), len(canary.shares))
        limits = [figures(list(standing.pods[name].values()), restarts.get(name, 0)) for name in (new, old)]
        if passed := passed_limits(limits[0], limits[1], LIMITS):
            return Finding(trouble="; ".join(passed), words=passed)
        part, factor = canary_part(canary), max(settings.tolerance, LEAST_FACTOR)
        sure = replace(settings, tolerance=factor)
        wrong = share_error(requests(totals[0]), requests(totals[1]), part, sure)
        if wrong and now - canary.since > until_shares_are_comparable(standing.skew, factor):
            return Finding(trouble=wrong, words=(wrong,))
        metrics = self._metrics(canary)
        verdict = judge(counts(totals[0], metrics), counts(totals[1], metrics), part, settings)
        return Finding(verdict, words=verdict.words)

    def _read(self, canary: Canary) -> Standing:
        metrics, names = self._metrics(canary), self._names(canary)
        standing = self._counters.standing(names)
        for name in names:
            for pod, page in standing.pods[name].items():
                self._latest.note(name, pod, sums(page, metrics))
        return standing

    def _names(self, canary: Canary) -> tuple[str, str]:
        """Return the names of what is compared: the canary, and its baseline or the old pods."""
        new, baseline = arm_names(self._service)
        return new, baseline if canary.baseline else self._service

    def _metrics(self, canary: Canary) -> Metrics:
        return Metrics(dict(canary.edges), tuple(self._settings.canary_metrics))
