"""The judge of a canary's step: reads the counters of both arms from the region's Prometheus, and gives their verdict.

Concurrency: CountsReader has a thread of its own, since an answer of Prometheus may take longer than an arm without a ready pod
may keep its share. The thread alone uses the judge, for one question at a time. It is given up at the end, and each of its
questions ends by itself.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from conf.base.matchers import matchers, one_of
from conf.canary.counts import latency_edges
from conf.canary.sample_size import requests_until_good, seconds_until_found
from conf.canary.verdict import UNKNOWN, Limits, Verdict, judge, passed_limits, sample_ratio_error
from conf.clusters.regions import Region
from conf.observe.prometheus import NoFigures, PrometheusClient, Sample
from conf.plan.alerts import ARM
from conf.render.arms import arm_name, arm_names
from conf.rollout.canary.counting import (
    ERRORS,
    READ,
    REQUESTS,
    Labels,
    Metrics,
    PodCounters,
    StepCounts,
    Sums,
    counts,
    duration_buckets,
    figures,
    judging,
    requests,
    since,
    sums,
)
from conf.rollout.canary.state import Canary, canary_part
from serving.settings import Settings

LIMITS = Limits()
MIN_FACTOR = 1.25  # by which the odds of shares may differ at least, since no routing is exact
FOUND_SHARE = 0.01  # more errors, for which the time until they are found is told
SCRAPE_SECONDS = 15.0  # between two scrapes of a pod, as templates/servicemonitor.yaml asks for
MAX_SKEW_SECONDS = 2 * SCRAPE_SECONDS  # between the latest scrapes of both arms, of which a failed one makes more
RATE_WINDOW = "1m"  # of a rate that is called the present one
WAIT_SECONDS = 0.2  # between two looks at whether counts have been read
BEGIN_SECONDS = 30.0  # in which a step's first reading is tried again
Pods = Mapping[str, PodCounters]


class NotScraped(NoFigures):
    """Prometheus answers, and has no series of a Service's pods."""


class Counters:
    """The counters of a service's pods, as the region's Prometheus has them. Each method raises NoFigures.

    names: of the metrics that are read, with the suffixes of a histogram's series.
    """

    def __init__(self, region: Region, namespace: str, service: str, names: Sequence[str]):
        self._prometheus, self._namespace, self._service, self._names = PrometheusClient(region), namespace, service, names

    def __str__(self) -> str:
        return f"Prometheus ({self._prometheus})"

    def pods(self, services: Sequence[str]) -> dict[str, Pods]:
        """Return the counters of Services' pods as Prometheus has them now: Service -> pod -> its counters."""
        return self.read(services)[0]

    def read(self, services: Sequence[str]) -> tuple[dict[str, Pods], float]:
        """Return the counters of Services' pods, and how many seconds the Services' latest scrapes lie apart.

        The seconds are infinity where a Service has no scrape. For minutes, Prometheus keeps the counters of pods that are
        gone, or whose scrape fails. So counters alone do not tell how old they are. One query asks for both.
        Arms that an earlier release of the platform made have no label `arm`: their label `service` names the arm.
        """
        arms = [each.removeprefix(f"{self._service}-") for each in services]
        unlabelled = f"{matchers(namespace=self._namespace, arm='')},{one_of('service', services)}"
        labelled = f"{matchers(namespace=self._namespace, service=self._service)},{one_of(ARM, arms)}"
        read = one_of("__name__", self._names)
        scraped = f"timestamp({REQUESTS}{{{unlabelled}}}) or timestamp({REQUESTS}{{{labelled}}})"
        latest = f'label_replace(max by (service, {ARM}) ({scraped}), "scrape", "latest", "", "")'
        samples = self._prometheus.now(f"{{{unlabelled},{read}}} or {{{labelled},{read}}} or {latest}")
        times: dict[str, float] = {}
        for each in samples:
            if "scrape" in each.labels and each.value is not None:
                times[_service_of(each)] = max(each.value, times.get(_service_of(each), 0.0))
        skew = max(times.values()) - min(times.values()) if len(times) == len(services) else math.inf
        found = _by_service(samples)
        return {each: found.get(each, {}) for each in services}, skew

    def rate(self, service: str) -> float:
        where = matchers(namespace=self._namespace, service=service, arm="")
        samples = self._prometheus.now(f"sum(rate({REQUESTS}{{{where}}}[{RATE_WINDOW}]))")
        return sum(each.value or 0.0 for each in samples)


def _by_service(samples: Sequence[Sample]) -> dict[str, Pods]:
    """Prometheus may have a pod's series twice for some seconds, when its arm has just got the label `arm`: these count."""
    found: dict[str, dict[str, dict[str, list[tuple[Labels, float]]]]] = {}
    labelled = {each.labels.get("pod", "") for each in samples if ARM in each.labels}
    for each in samples:
        pod, name = each.labels.get("pod", ""), each.labels.get("__name__", "")
        if each.value is not None and pod and (ARM in each.labels or pod not in labelled):
            found.setdefault(_service_of(each), {}).setdefault(pod, {}).setdefault(name, []).append((each.labels, each.value))
    return {service: {pod: PodCounters(series) for pod, series in pods.items()} for service, pods in found.items()}


def _service_of(sample: Sample) -> str:
    service, arm = sample.labels.get("service", ""), sample.labels.get(ARM, "")
    return arm_name(service, f"-{arm}") if arm else service


def not_scraped(services: Sequence[str], who: object) -> str:
    """Return that Prometheus has no series of Services' pods, and what to do."""
    labels = "has its ServiceMonitor the labels that prometheus.labels names?"
    return f"{who} has no series of {' and '.join(services)} yet: {labels}"


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
        self._counters = counters or Counters(region, namespace, service, (*READ, *settings.canary_metrics))
        self._step = StepCounts(service)

    @property
    def source(self) -> str:
        return str(self._counters)

    def edges(self) -> tuple[tuple[float, float], ...]:
        """Return the bounds of slow answers by the old pods' answers so far. Raises NotScraped, NoFigures."""
        pods = self._counters.pods([self._service])[self._service]
        if not pods:
            raise NotScraped(not_scraped([self._service], self._counters))
        try:
            return tuple(latency_edges(duration_buckets(pods.values())).items())
        except ValueError:  # they have answered nothing
            return ()

    def outlook(self, canary: Canary) -> Outlook:
        """Return how long each step takes at the present rate. Raises NoFigures.

        Errors of the future are taken for as large causes as the old pods' batches make them: whole batches that fail.
        """
        rate, pods = self._counters.rate(self._service), self._counters.pods([self._service])[self._service]
        metrics = self._metrics(canary)
        seen = counts(since({}, {name: sums(pod, metrics) for name, pod in pods.items()}), metrics)
        settings, errors = judging(self._settings, metrics.edges, len(canary.shares)), seen[ERRORS]
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
        self._step.begin_step()
        self._read(canary)
        return self._step.now

    def look(self, canary: Canary, restarts: Mapping[str, int], now: float) -> Finding:
        """Return what the counts since the step began tell. restarts: of the containers of each arm. now: as time.time."""
        try:
            pods, skew = self._read(canary)
        except NoFigures as error:
            return Finding(words=(f"counts cannot be read: {error}",))
        begin = self._step.begin(canary.begin, canary.step)
        return replace(self._found(canary, pods, skew, begin, restarts, now), begin=begin)

    def _found(
        self,
        canary: Canary,
        pods: Mapping[str, Pods],
        skew: float,
        begin: Mapping[str, Sums],
        restarts: Mapping[str, int],
        now: float,
    ) -> Finding:
        new, old = self._names(canary)
        settings = judging(self._settings, dict(canary.edges), len(canary.shares))
        limits = [figures(pods[name].values(), restarts.get(name, 0)) for name in (new, old)]
        if passed := passed_limits(limits[0], limits[1], LIMITS):
            return Finding(trouble="; ".join(passed), words=passed)
        if missing := [name for name in (new, old) if not self._step.has(name)]:
            return Finding(words=(not_scraped(missing, self._counters),))
        if skew > MAX_SKEW_SECONDS:
            seen = f"{self._counters} has scraped only one of {new} and {old} in the last {MAX_SKEW_SECONDS:g} s"
            return Finding(words=(seen,))
        totals = [self._step.total(name, begin) for name in (new, old)]
        part, factor = canary_part(canary), max(settings.tolerance, MIN_FACTOR)
        wrong = sample_ratio_error(requests(totals[0]), requests(totals[1]), part, replace(settings, tolerance=factor))
        if wrong and now - canary.since > until_shares_are_comparable(SCRAPE_SECONDS + max(SCRAPE_SECONDS, skew), factor):
            return Finding(trouble=wrong, words=(wrong,))
        metrics = self._metrics(canary)
        verdict = judge(counts(totals[0], metrics), counts(totals[1], metrics), part, settings)
        return Finding(verdict, words=verdict.words)

    def _read(self, canary: Canary) -> tuple[dict[str, Pods], float]:
        metrics, (found, skew) = self._metrics(canary), self._counters.read(self._names(canary))
        for service, pods in found.items():
            for name, pod in pods.items():
                self._step.note(service, name, sums(pod, metrics))
        return found, skew

    def _names(self, canary: Canary) -> tuple[str, str]:
        """Return the names of what is compared: the canary, and its baseline or the old pods."""
        new, baseline = arm_names(self._service)
        return new, baseline if canary.baseline else self._service

    def _metrics(self, canary: Canary) -> Metrics:
        return Metrics(dict(canary.edges), tuple(self._settings.canary_metrics))


def until_shares_are_comparable(skew: float, factor: float) -> float:
    """Return for how many seconds of a step the counters' own skew may hide the share that routing gave.

    skew: seconds by which one arm's counts may span a longer time than the other's. Over T seconds that changes
    the odds of a request's arm by T / (T - skew) at most, which must be below `factor`.
    """
    return skew * factor / (factor - 1)


class CountsReader:
    """Reads counts for a driver. seconds: between two readings."""

    def __init__(self, judge: Judge, seconds: float):
        self._judge, self._seconds = judge, seconds
        self._thread = ThreadPoolExecutor(1, "canary-counts")
        self._asked: Future[Finding] | None = None
        self._at = float("-inf")

    def begin(self, canary: Canary, meanwhile: Callable[[], None]) -> Mapping[str, Mapping[str, float]]:
        """Return what each pod has counted now, and call `meanwhile` until that is known.

        Raises NoFigures where counts could not be read for BEGIN_SECONDS.
        """
        end = time.monotonic() + BEGIN_SECONDS
        while True:
            reading = self._thread.submit(self._judge.begin, canary)
            while not reading.done():
                meanwhile()
                time.sleep(WAIT_SECONDS)
            self._asked, self._at = None, time.monotonic()
            if not isinstance(reading.exception(), NoFigures) or self._at >= end:
                return reading.result()
            meanwhile()
            time.sleep(WAIT_SECONDS)

    def newest(self, canary: Canary, restarts: Mapping[str, int]) -> Finding | None:
        """Return a finding that was not returned before, None where there is none, and read again from time to time."""
        found = None
        if self._asked and self._asked.done():
            found, self._asked = self._asked.result(), None
        if not self._asked and time.monotonic() - self._at >= self._seconds:
            self._asked = self._thread.submit(self._judge.look, canary, dict(restarts), time.time())
            self._at = time.monotonic()
        return found

    def end(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
