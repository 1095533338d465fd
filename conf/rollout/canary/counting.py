"""The counts of a canary's arms since a step began, from the counters of their pods.

Knows metrics by the names that the runtime exports, and how a step's counts follow from two readings. A pure module: does not
know where counters are read, nor how counts are judged.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from conf.base.matchers import chooses
from conf.canary.counts import Counts, alike, batch_of_a_request, errors
from conf.canary.fixed_limits import Figures
from conf.canary.judging import Judging, Metric
from conf.observe.metrics_page import BUCKETS, Page
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from serving.settings import Settings

ERRORS, REFUSALS = "errors", "refusals"
REQUESTS, FAILED_BATCHES = "monopod_requests_total", "monopod_batch_failures_total"
ROWS, ROW_BUCKETS = "monopod_batch_rows_sum", "monopod_batch_rows_bucket"
MEMORY, MEMORY_LIMIT = "process_resident_memory_bytes", "monopod_memory_limit_bytes"
COST = "monopod_warmup_seconds"
READ = (REQUESTS, BUCKETS, FAILED_BATCHES, ROWS, ROW_BUCKETS, MEMORY, MEMORY_LIMIT, COST)
FAILED_IN_BATCHES = 'code=~"5..",reason="model_failed"'
REFUSED, ANSWERED = 'code="429"', 'code=~"2.."'
Sums = Mapping[str, float]  # of one pod or of several: what was counted -> how often


@dataclass(frozen=True)
class Metrics:
    """The things that are counted. edges: of slow answers, in seconds, by their quantile. own: counters of the service."""

    edges: Mapping[float, float]
    own: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """The names of the series to read."""
        return (*READ, *self.own)


def judging(settings: Settings, edges: Mapping[float, float], steps: int) -> Judging:
    """Return how a canary is judged, as value.py says. Edges that no answer was measured for are not judged."""
    margins = dict(zip((0.5, 0.95, 0.99), settings.canary_latency_margins, strict=True))
    found = [Metric(ERRORS, settings.canary_margin), Metric(REFUSALS, settings.canary_margin)]
    found += [Metric(slower(edge), margins[quantile]) for quantile, edge in edges.items()]
    found += [Metric(name, margin) for name, margin in settings.canary_metrics.items()]
    return Judging(tuple(found), settings.canary_tolerance, settings.canary_confidence, steps)


def slower(edge: float) -> str:
    """Return the name of the metric of answers slower than an edge, in seconds."""
    return f"slower than {edge * 1000:g} ms"


def sums(page: Page, metrics: Metrics) -> dict[str, float]:
    """Return what a pod has counted since its start."""

    def requests(which: str) -> float:
        return page.sum(REQUESTS, partial(chooses, which)) or 0.0

    found = {
        "counted": requests(COUNTED),
        "failed": requests(COUNTED_FAILED),
        "failed in batches": requests(FAILED_IN_BATCHES),
        "failed batches": page.sum(FAILED_BATCHES) or 0.0,
        "refused": requests(REFUSED),
        "answered": requests(ANSWERED),
        "rows": page.sum(ROWS) or 0.0,
        "measured": page.sum(BUCKETS, lambda labels: labels["le"] == "+Inf") or 0.0,
    }
    for labels, count in page.samples.get(ROW_BUCKETS, []):
        name = f"rows {_bound(labels['le']):g}"
        found[name] = found.get(name, 0.0) + count
    for edge in metrics.edges.values():
        within = page.sum(BUCKETS, lambda labels, edge=edge: _bound(labels["le"]) == edge) or 0.0  # type: ignore[misc]
        found[slower(edge)] = found["measured"] - within
    return found | {name: page.sum(name) or 0.0 for name in metrics.own}


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
    found = {
        ERRORS: errors(
            whole("counted"),
            min(whole("failed"), whole("counted")),
            whole("failed in batches"),
            whole("failed batches"),
            batch,
        ),
        REFUSALS: alike(requests(total), whole("refused"), batch),
    }
    found |= {slower(edge): alike(whole("measured"), whole(slower(edge)), batch) for edge in metrics.edges.values()}
    return found | {name: alike(whole("counted"), whole(name), batch) for name in metrics.own}


def requests(total: Sums) -> int:
    """Return how many requests an arm got that it answered or refused."""
    return round(total.get("counted", 0.0) + total.get("refused", 0.0))


def duration_buckets(pages: Iterable[Page]) -> dict[float, float]:
    """Return the buckets of the answers' duration of several pods together: bound in seconds -> answers within it."""
    found: dict[float, float] = {}
    for page in pages:
        for labels, value in page.samples.get(BUCKETS, []):
            found[_bound(labels["le"])] = found.get(_bound(labels["le"]), 0.0) + value
    return found


def figures(pages: Sequence[Page], restarts: int) -> Figures:
    """Return an arm's figures for the fixed limits. restarts: of its containers."""
    parts = [
        used / limit for page in pages if (used := page.sum(MEMORY)) is not None and (limit := page.sum(MEMORY_LIMIT) or 0.0)
    ]
    costs: dict[tuple[str, int], list[float]] = {}
    for page in pages:
        for labels, value in page.samples.get(COST, []):
            costs.setdefault((labels["model"], int(labels["rows"])), []).append(value)
    return Figures(max(parts, default=None), restarts, {key: min(values) for key, values in costs.items()})


def _bound(text: str) -> float:
    return math.inf if text == "+Inf" else float(text)
