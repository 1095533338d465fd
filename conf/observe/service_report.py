"""The report on the last days of a track in one region: its figures hour by hour, its objectives, its cost, and advice.

Advice is pure: each sentence says the figure that it follows from. A few quiet hours say nothing, so they give no advice.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from conf.base.matchers import matchers, one_of
from conf.base.quantities import counted, money, readable_bytes, shares, significant
from conf.observe.figures import ObservedTrack, answer_quantile, known, selector, share
from conf.observe.health import MIN_REQUESTS as MIN_IN_AN_HOUR
from conf.observe.prometheus import NoFigures, PrometheusClient, Series
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.plan.plan import most_pods, scales
from conf.render.arms import arm_names
from serving.settings import Settings, latency_objective, size_in_bytes

HOUR = 3600
MONTH_HOURS = 730.0
SLOWEST = 5  # hours that are listed
STEPS, MAX_POINTS = (60, 300, 900), 200  # seconds between two points of a picture, and the most points; else hours
MIN_HOURS, MIN_REQUESTS = 24, 1000  # from which on there is advice
STEP = 64 * 2**20  # bytes; advice is in multiples of it
SPARE = 0.5  # a share of memory; a peak below it leaves some over
FULL, EMPTY = 0.5, 0.05  # shares of the batches that are more than half full
Price = Callable[[str], float | None]  # of a pod for a month, by its memory


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
    def workload(self) -> str:
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
        found = [hour for hour in self.hours if hour.p95 is not None and (hour.requests or 0) >= MIN_IN_AN_HOUR]
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
    return next((step for step in STEPS if seconds / step <= MAX_POINTS), HOUR)


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


def hourly(service: str, namespace: str, latency: float, step: int = HOUR) -> Mapping[str, str]:
    """Return queries about online pods that give one series each, a value each `step` seconds.

    latency: the objective's bound in seconds.

    Of the answers, only those of pods whose histogram has the bound are counted: it came with a change of value.py.
    """
    all_ = _online(service, namespace)
    answers = "monopod_answer_duration_seconds_bucket"

    def within(bound: str) -> str:
        chosen = _online(service, namespace, f'le="{bound}"')
        return f"increase({answers}{{{chosen}}}[{step}s])"

    def requests(*more: str) -> str:
        return f"sum(increase(monopod_requests_total{{{_online(service, namespace, *more)}}}[{step}s]))"

    return {
        "requests": requests(),
        "valid": requests(COUNTED),
        "failed": requests(COUNTED_FAILED),
        "refused": requests('code="429"'),
        "answers": f"sum({within('+Inf')} and ignoring (le) {within(repr(latency))})",
        "in_time": f"sum({within(repr(latency))})",
        "p50": answer_quantile(0.5, all_, f"{step}s"),
        "p95": answer_quantile(0.95, all_, f"{step}s"),
        **_process(all_, step),
    }


def hourly_records(service: str, namespace: str, step: int = HOUR) -> Mapping[str, str]:
    """Return queries about offline pods that give one series each, a value each `step` seconds. service: their Deployment."""
    all_ = selector(service, [namespace])
    dead = selector(service, [namespace], 'outcome="dead"')
    lag = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{all_}}}))"
    return {
        "requests": f"sum(increase(monopod_offline_records_total{{{all_}}}[{step}s]))",
        "failed": f"sum(increase(monopod_offline_records_total{{{dead}}}[{step}s]))",
        "lag": f"max_over_time({lag}[{step}s:1m])",
        **_process(all_, step),
    }


def _online(service: str, namespace: str, *more: str) -> str:
    """Return the matchers of the series of online pods, a canary's and its baseline's included. more: further matchers."""
    return ",".join((matchers(namespace=namespace), one_of("service", (service, *arm_names(service))), *more))


def _process(all_: str, step: int) -> Mapping[str, str]:
    """Return the queries about what each pod has. all_: the matchers of its series."""
    return {
        "pods": f"sum_over_time(sum(monopod_ready{{{all_}}})[{step}s:1m]) / {step // 60}",
        "memory": f"max(max_over_time(process_resident_memory_bytes{{{all_}}}[{step}s]))",
        "cores": f"max(rate(process_cpu_seconds_total{{{all_}}}[{step}s]))",
    }


def versions(service: str, namespace: str) -> str:
    """Return the query of how many pods each version has, a series a version."""
    return f"sum by (version) (monopod_release_info{{{_online(service, namespace)}}})"


def over_all(service: str, namespace: str, days: int, offline: bool = False) -> Mapping[str, str]:
    """Return queries of the whole time, as of its end, by the label of whose values each gives a series.

    offline: about offline pods, whose reasons are those of dead letters, not those of refusals.
    """
    all_ = selector(service, [namespace]) if offline else _online(service, namespace)
    span = f"{days}d"
    refused = "monopod_offline_dead_letters_total" if offline else "monopod_shed_total"

    def mean(metric: str, by: str) -> str:
        parts = (f"sum by ({by}) (increase({metric}_{part}{{{all_}}}[{span}]))" for part in ("sum", "count"))
        return " / ".join(parts)

    return {
        "reason": f"sum by (reason) (increase({refused}{{{all_}}}[{span}])) > 0",
        "stage": mean("monopod_stage_duration_seconds", "stage"),
        "model": mean("monopod_batch_rows", "model"),
        "le": f"sum by (le) (increase(monopod_batch_rows_bucket{{{all_}}}[{span}]))",
        "currency": f"avg by (currency) (avg_over_time(monopod_price_per_month{{{all_}}}[{span}]))",
    }


def advice(report: RegionReport, settings: Settings, price: Price) -> list[str]:
    """Return what to change in value.py, each with the reason."""
    if report.trouble:
        return []
    hours = sum(1 for hour in report.hours if hour.requests)
    if hours < MIN_HOURS or report.total("requests") < MIN_REQUESTS:
        what = "records" if report.offline else "requests"
        return [
            f"nothing yet: {counted(hours, 'hour')} with {what} and {report.total('requests'):,.0f} {what} say too little "
            f"(from {MIN_HOURS} hours and {MIN_REQUESTS:,} {what} on)"
        ]
    if report.offline:  # their number follows the lag, and they are to use all cores
        return list(_memory(report, settings, price)) or ["nothing: memory fits the load"]
    found = [*_memory(report, settings, price), *_replicas(report, settings), *_batches(report, settings)]
    return found or ["nothing: memory, replicas and the batch size fit the load"]


def _memory(report: RegionReport, settings: Settings, price: Price) -> Iterator[str]:
    peak = report.peak("memory")
    if peak is None or not report.memory:
        return
    warns, acts = shares(settings.memory_levels)
    enough = ceil(peak / warns / STEP) * STEP  # The peak reaches the level of a warning at most.
    fitting = f"{enough // 2**20}Mi"
    used = f"the peak is {readable_bytes(peak)} of {settings.memory}"
    if peak < SPARE * report.memory and enough < report.memory:
        yield f'less memory: memory = "{fitting}", since {used}{_saving(report, settings, price, fitting)}'
    elif peak > acts * report.memory:
        yield f'more memory: memory = "{fitting}", since {used}, and a pod over it is killed'


def _saving(report: RegionReport, settings: Settings, price: Price, memory: str) -> str:
    now, then, pods = price(settings.memory), price(memory), report.peak("pods")
    if now is None or then is None or not pods or now - then < 0.5:
        return ", which saves no money here: its cores or its card decide the price"
    return f", which saves {money((now - then) * pods, report.currency)} a month"


def _replicas(report: RegionReport, settings: Settings) -> Iterator[str]:
    refused, requests = report.total("refused"), report.total("requests")
    cores = report.peak("cores")
    most = most_pods(settings, "prod")
    name = "max_replicas" if scales(settings, "prod") else "replicas"
    if refused > 0.001 * requests:
        share = f"{significant(100 * refused / requests, 2)} % of the requests were refused with 429"
        yield f"more replicas: {name} = {most + 1}, since {share}"
    elif cores is not None and cores > settings.cpu * settings.cpu_levels[0] / 100:
        used = f"{significant(cores, 2)} of its {settings.cpu:g} cores"
        yield f"more replicas: {name} = {most + 1}, since a pod used {used} for an hour"


def _batches(report: RegionReport, settings: Settings) -> Iterator[str]:
    size, full = settings.max_batch_size, report.full_batches
    if full is None or size < 2:
        return
    queue, infer = report.stages.get("queue", 0.0), report.stages.get("infer", 0.0)
    if full > FULL and queue > infer:
        share = f"{100 * full:.0f} % of the batches are more than half full"
        yield (
            f"larger batches: max_batch_size = {2 * size}, since {share} and requests wait {significant(1000 * queue)} ms for "
            f"a model that takes {significant(1000 * infer)} ms; `monopod bench` tells whether it pays"
        )
    elif full < EMPTY and size >= 8:
        share = f"{significant(100 * full, 2)} % of the batches are more than half full"
        yield f"smaller batches: max_batch_size = {size // 2}, since {share}; the warm-up is shorter and takes less memory"
