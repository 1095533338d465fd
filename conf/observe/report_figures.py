"""The figures of a report on one track in one region: each hour, the sums, the objectives and the cost.

Knows how a region's Prometheus is asked for it. Does not know how it looks, nor what should be changed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from conf.observe.judgement import LEAST_REQUESTS
from conf.observe.pod_figures import known, share
from conf.observe.prometheus import NoFigures, PrometheusClient, Series
from conf.observe.region_figures import ObservedTrack
from conf.observe.report_queries import HOUR, hourly, hourly_records, over_all, versions
from serving.settings import latency_objective, size_in_bytes

MONTH_HOURS = 730.0
SLOWEST = 5  # hours that are listed
STEPS, MOST_POINTS = (60, 300, 900), 200  # seconds between two points of a picture, and the most points; else hours


@dataclass(frozen=True)
class Hour:
    """One hour, or a step of a picture.

    Requests and answers are numbers, p50 and p95 seconds, memory bytes of the largest pod, cores of the busiest.

    at: its end, in seconds since 1970. A figure is None where nothing was measured. pods: ready ones, on average.
    Of offline pods, requests are records that were finished, failed those that became dead letters, and lag the most records
    that waited.
    """

    at: float
    requests: float | None = None
    valid: float | None = None
    failed: float | None = None
    refused: float | None = None
    answers: float | None = None
    in_time: float | None = None
    p50: float | None = None
    p95: float | None = None
    pods: float | None = None
    memory: float | None = None
    cores: float | None = None
    lag: float | None = None


@dataclass(frozen=True)
class Objective:
    """One objective. wanted, found: shares of the requests; found is None without requests."""

    words: str
    wanted: float
    found: float | None

    @property
    def kept(self) -> bool:
        return self.found is None or self.found >= self.wanted

    @property
    def budget_used(self) -> float | None:
        """The share of the failures that the objective allows which were used up; over 1 it is missed."""
        return None if self.found is None else (1 - self.found) / (1 - self.wanted)


@dataclass(frozen=True)
class SeenRelease:
    """A release that began within the report's days. at: seconds since 1970. words: the deployer and its state, or ""."""

    at: float
    version: str
    words: str = ""


@dataclass(frozen=True)
class RegionReport:
    """One track in one region. A dictionary's keys are the values of one label.

    trouble: why there is nothing, "" where there is something.
    points: what pictures show, `step` seconds apart, from the first request on. Where that is long ago, these are hours.
    offline: whether it is about offline pods, which have no objectives.
    refusals: number by reason; of offline pods, dead letters.
    stages: mean seconds by stage.
    batches: rows of a batch on average, by model.
    full_batches: the share of batches with more than half of max_batch_size.
    memory: bytes declared.
    price, cost: of one pod for a month, and of all pods in these days.
    """

    region: str
    track: str
    trouble: str = ""
    hours: tuple[Hour, ...] = ()
    points: tuple[Hour, ...] = ()
    step: int = HOUR
    objectives: tuple[Objective, ...] = ()
    releases: tuple[SeenRelease, ...] = ()
    refusals: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    batches: Mapping[str, float] = field(default_factory=dict)
    full_batches: float | None = None
    memory: float = 0.0
    currency: str = ""
    price: float | None = None
    cost: float | None = None
    offline: bool = False

    @property
    def half(self) -> str:
        """The track's name for a person, which tells its offline pods from the online ones."""
        return f"{self.track} offline" if self.offline else self.track

    def total(self, name: str) -> float:
        """Return the sum of a figure over all hours."""
        return sum(known(getattr(hour, name) for hour in self.hours))

    def peak(self, name: str) -> float | None:
        return max(known(getattr(hour, name) for hour in self.hours), default=None)

    @property
    def slowest(self) -> list[Hour]:
        """The slowest hours, the slowest first. Hours of a few requests do not count."""
        found = [hour for hour in self.hours if hour.p95 is not None and (hour.requests or 0) >= LEAST_REQUESTS]
        return sorted(found, key=lambda hour: -(hour.p95 or 0.0))[:SLOWEST]


def region_report(watched: ObservedTrack, days: int, price: float | None, currency: str) -> RegionReport:
    """Return the report of a track. price: of one pod for a month by regions.yaml, where its pods tell none."""
    prometheus, service, namespace = PrometheusClient(watched.region), watched.service, watched.namespace
    end = time.time()
    start = end - days * 24 * HOUR + HOUR
    memory = float(size_in_bytes(watched.settings.memory))
    found = RegionReport(watched.region.name, watched.track, memory=memory, offline=watched.offline)
    try:
        hours = _steps(prometheus, watched, start, end, HOUR)
        if not hours:
            return replace(found, trouble=f"Prometheus ({prometheus}) has no series of {namespace}/{service} in these days")
        points, step = _points(prometheus, watched, hours, end)
        by_label = {
            label: {each.labels.get(label, ""): each.value for each in prometheus.now(query) if each.value is not None}
            for label, query in over_all(service, namespace, days, watched.offline).items()
        }
        seen = prometheus.over(versions(service, namespace), start, end, HOUR)
    except NoFigures as error:
        return replace(found, trouble=str(error))
    told = next(iter(by_label["currency"].items()), (currency, price))
    cost = told[1] * sum(known(hour.pods for hour in hours)) / MONTH_HOURS if told[1] is not None else None
    found = replace(found, hours=hours, points=points, step=step)
    return replace(
        found,
        objectives=() if watched.offline else _objectives(watched, found),
        releases=first_seen(seen, start),
        refusals=by_label["reason"],
        stages=by_label["stage"],
        batches=by_label["model"],
        full_batches=full_batches(by_label["le"], watched.settings.max_batch_size),
        currency=told[0],
        price=told[1],
        cost=cost,
    )


def hours_of(series: Mapping[str, Sequence[Series]]) -> tuple[Hour, ...]:
    """Return the hours that have a figure, in order. series: the one series of each figure, by its name."""
    found: dict[float, dict[str, float]] = {}
    for name, each in series.items():
        for at, value in (point for one in each for point in one.points):
            found.setdefault(at, {})[name] = value
    return tuple(Hour(at, **found[at]) for at in sorted(found))


def _steps(prometheus: PrometheusClient, watched: ObservedTrack, start: float, end: float, step: int) -> tuple[Hour, ...]:
    where, latency = (watched.service, watched.namespace), latency_objective(watched.settings)
    asked = hourly_records(*where, step) if watched.offline else hourly(*where, latency, step)
    return hours_of({name: prometheus.over(query, start, end, step) for name, query in asked.items()})


def _points(
    prometheus: PrometheusClient, watched: ObservedTrack, hours: Sequence[Hour], end: float
) -> tuple[tuple[Hour, ...], int]:
    """Return what pictures show from the first request on, and the seconds between two points."""
    shown = from_first_request(hours)
    begin = shown[0].at - HOUR
    step = step_of(end - begin)
    finer = () if step == HOUR else from_first_request(_steps(prometheus, watched, begin + step, end, step))
    return (finer, step) if finer else (shown, HOUR)


def from_first_request(hours: Sequence[Hour]) -> tuple[Hour, ...]:
    """Return the hours from the first one with a request on, all where none has one."""
    first = next((number for number, hour in enumerate(hours) if hour.requests), 0)
    return tuple(hours[first:])


def step_of(seconds: float) -> int:
    """Return the seconds between two points of a picture of a time."""
    return next((step for step in STEPS if seconds / step <= MOST_POINTS), HOUR)


def first_seen(series: Sequence[Series], start: float) -> tuple[SeenRelease, ...]:
    """Return the versions that first ran within the time. series: pods of each version. start: its first hour."""
    begun = [(each.points[0][0], each.labels.get("version", "")) for each in series if each.points]
    return tuple(SeenRelease(at, version) for at, version in sorted(begun) if at >= start + HOUR)


def full_batches(buckets: Mapping[str, float], max_batch_size: int) -> float | None:
    """Return the share of batches with more than half of max_batch_size. buckets: cumulative counts by their bound's text."""
    counts = {float(bound): count for bound, count in buckets.items()}
    below = [bound for bound in counts if bound <= max_batch_size / 2]
    if not below or max_batch_size < 2:
        return None
    every = max(counts.values())
    return share(every - counts[max(below)], every)


def _objectives(watched: ObservedTrack, report: RegionReport) -> tuple[Objective, ...]:
    s, total = watched.settings, report.total
    failed = share(total("failed"), total("valid"))
    success = Objective("requests do not fail", s.objective_success, None if failed is None else 1 - failed)
    words = f"answers take {1000 * latency_objective(s):g} ms at most"
    return success, Objective(words, s.objective_latency_share, share(total("in_time"), total("answers")))
