"""The counts of a canary's arms since a step began, from the counters of their pods.

A pure module: asks no Prometheus.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from conf.base.matchers import chooses
from conf.canary.counts import Counts, alike, batch_of_a_request, errors
from conf.canary.verdict import Figures, Judging, Metric
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from serving.settings import Settings

ERRORS, REFUSALS = "errors", "refusals"
REQUESTS, FAILED_BATCHES = "monopod_requests_total", "monopod_batch_failures_total"
BUCKETS = "monopod_answer_duration_seconds_bucket"
ROWS, ROW_BUCKETS = "monopod_batch_rows_sum", "monopod_batch_rows_bucket"
MEMORY, MEMORY_LIMIT = "process_resident_memory_bytes", "monopod_memory_limit_bytes"
COST = "monopod_warmup_seconds"
READ = (REQUESTS, BUCKETS, FAILED_BATCHES, ROWS, ROW_BUCKETS, MEMORY, MEMORY_LIMIT, COST)
FAILED_IN_BATCHES = 'code=~"5..",reason="model_failed"'
REFUSED, ANSWERED = 'code="429"', 'code=~"2.."'
Labels = Mapping[str, str]
Sums = Mapping[str, float]  # of one pod or of several: what was counted -> how often


@dataclass(frozen=True)
class PodCounters:
    """The counters of a pod, as they stand. series: the labels and value of each, by the metric's name."""

    series: Mapping[str, Sequence[tuple[Labels, float]]]

    def sum(self, name: str, keep: Callable[[Labels], bool] = lambda _: True) -> float | None:
        """Return the sum of a metric's series that `keep` chooses, None where there is none."""
        found = [value for labels, value in self.series.get(name, ()) if keep(labels)]
        return sum(found) if found else None


@dataclass(frozen=True)
class Metrics:
    """The things that are counted. edges: of slow answers, in seconds, by their quantile. own: counters of the service."""

    edges: Mapping[float, float]
    own: tuple[str, ...] = ()


def judging(settings: Settings, edges: Mapping[float, float], steps: int) -> Judging:
    """Return how a canary is judged, as value.py says. Without edges, latency is not judged."""
    margins = dict(zip((0.5, 0.95, 0.99), settings.canary_latency_margins, strict=True))
    found = [Metric(ERRORS, settings.canary_margin), Metric(REFUSALS, settings.canary_margin)]
    found += [Metric(slower(edge), margins[quantile]) for quantile, edge in edges.items()]
    found += [Metric(name, margin) for name, margin in settings.canary_metrics.items()]
    return Judging(tuple(found), settings.canary_tolerance, settings.canary_confidence, steps)


def slower(edge: float) -> str:
    """Return the name of the metric of answers slower than an edge, in seconds."""
    return f"slower than {edge * 1000:g} ms"


def sums(pod: PodCounters, metrics: Metrics) -> dict[str, float]:
    def requests(which: str) -> float:
        return pod.sum(REQUESTS, partial(chooses, which)) or 0.0

    found = {
        "counted": requests(COUNTED),
        "failed": requests(COUNTED_FAILED),
        "failed in batches": requests(FAILED_IN_BATCHES),
        "failed batches": pod.sum(FAILED_BATCHES) or 0.0,
        "refused": requests(REFUSED),
        "answered": requests(ANSWERED),
        "rows": pod.sum(ROWS) or 0.0,
        "measured": pod.sum(BUCKETS, lambda labels: labels["le"] == "+Inf") or 0.0,
    }
    for labels, count in pod.series.get(ROW_BUCKETS, ()):
        name = f"rows {_bound(labels['le']):g}"
        found[name] = found.get(name, 0.0) + count
    for edge in metrics.edges.values():
        within = pod.sum(BUCKETS, lambda labels, edge=edge: _bound(labels["le"]) == edge) or 0.0  # type: ignore[misc]
        found[slower(edge)] = found["measured"] - within
    return found | {name: pod.sum(name) or 0.0 for name in metrics.own}


def since(begin: Mapping[str, Sums], latest: Mapping[str, Sums]) -> dict[str, float]:
    """Return what pods counted together since a step began. A pod that is not in `begin` had counted nothing.

    A pod whose requests are fewer than at the beginning was restarted, so all that it has counted is of this step.
    """
    total: dict[str, float] = {}
    for pod, now in latest.items():
        then = begin.get(pod, {})
        restarted = now["counted"] < then.get("counted", 0.0)
        for name, value in now.items():
            total[name] = total.get(name, 0.0) + max(0.0, value - (0.0 if restarted else then.get(name, 0.0)))
    return total


def counts(total: Sums, metrics: Metrics) -> dict[str, Counts]:
    """Return the counts of each metric of an arm. total: of all its pods since the step began, {} for none."""

    def whole(name: str) -> int:
        return round(total.get(name, 0.0))

    buckets = {float(name.removeprefix("rows ")): value for name, value in total.items() if name.startswith("rows ")}
    batch = batch_of_a_request(buckets, total.get("rows", 0.0), total.get("answered", 0.0))
    failed = min(whole("failed"), whole("counted"))
    found = {
        ERRORS: errors(whole("counted"), failed, whole("failed in batches"), whole("failed batches"), batch),
        REFUSALS: alike(requests(total), whole("refused"), batch),
    }
    found |= {slower(edge): alike(whole("measured"), whole(slower(edge)), batch) for edge in metrics.edges.values()}
    return found | {name: alike(whole("counted"), whole(name), batch) for name in metrics.own}


def requests(total: Sums) -> int:
    return round(total.get("counted", 0.0) + total.get("refused", 0.0))


def duration_buckets(pods: Iterable[PodCounters]) -> dict[float, float]:
    """Return the buckets of the answers' duration of several pods together: bound in seconds -> answers within it."""
    found: dict[float, float] = {}
    for pod in pods:
        for labels, value in pod.series.get(BUCKETS, ()):
            found[_bound(labels["le"])] = found.get(_bound(labels["le"]), 0.0) + value
    return found


def figures(pods: Iterable[PodCounters], restarts: int) -> Figures:
    """Return an arm's figures for the fixed limits. restarts: of its containers."""
    parts: list[float] = []
    costs: dict[tuple[str, int], list[float]] = {}
    for pod in pods:
        used, limit = pod.sum(MEMORY), pod.sum(MEMORY_LIMIT)
        if used is not None and limit:
            parts.append(used / limit)
        for labels, value in pod.series.get(COST, ()):
            costs.setdefault((labels["model"], int(labels["rows"])), []).append(value)
    return Figures(max(parts, default=None), restarts, {key: min(values) for key, values in costs.items()})


class StepCounts:
    """The latest counts of the pods of one step after another, and where each pod's part of the step begins.

    A pod that ended still counts. A pod whose counts went back was restarted: what it had counted is kept, and it goes on as
    one more pod. No clocks are compared, since those of pods and of this machine differ.
    service: the name of the service's own pods, which are older than any step.
    """

    def __init__(self, service: str):
        self._service = service
        self._seen: set[str] = set()  # pods that were seen before the step
        self._latest: dict[str, dict[str, Sums]] = {}  # Service -> pod -> its counts
        self._names: dict[str, str] = {}  # of pods that were restarted: the name under which they go on
        self._late: dict[str, Sums] = {}  # where pods begin that the step's first reading did not have

    def begin_step(self) -> None:
        """Forget all counts, since a new step begins."""
        self._seen |= {pod for pods in self._latest.values() for pod in pods}
        self._latest, self._names, self._late = {}, {}, {}

    def note(self, service: str, pod: str, found: Sums) -> None:
        pods = self._latest.setdefault(service, {})
        name = self._names.get(pod, pod)
        if name in pods and found["counted"] < pods[name]["counted"]:
            name = self._names[pod] = f"{name}, restarted"
            self._late[name] = {}
        pods[name] = found

    def has(self, service: str) -> bool:
        """Return whether a pod of a Service was read in this step."""
        return bool(self._latest.get(service))

    @property
    def now(self) -> dict[str, Sums]:
        return {pod: found for pods in self._latest.values() for pod, found in pods.items()}

    def begin(self, known: Mapping[str, Sums], step: int) -> dict[str, Sums]:
        """Return the counts with which each pod's part of the step began. A pod that is not in it began with nothing.

        known: the step's first reading. The service's own pods, and arms' pods of earlier steps, were there when the step
        began. If one was not read then, it begins with the first counts that are read of it. An arm's new pods got no request
        before the step's shares, so all that they have counted is of the step, however late they are scraped. Where nothing
        was read as a later step began, nobody knows which pods are new, and all begin with their first counts.
        """
        none_known = step > 0 and not known
        for service, pods in self._latest.items():
            for pod, found in pods.items():
                if pod not in known and (none_known or service == self._service or pod in self._seen):
                    self._late.setdefault(pod, found)
        return {**self._late, **known}

    def total(self, service: str, begin: Mapping[str, Sums]) -> dict[str, float]:
        """Return what a Service's pods counted together since the step began."""
        return since(begin, self._latest.get(service, {}))


def _bound(text: str) -> float:
    return math.inf if text == "+Inf" else float(text)
