"""A pod's own metrics page, and the figures that two readings of it give.

The only module of conf that imports prometheus_client.

Knows the text format and the names of the runtime's metrics. Does not know how a page is read.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from conf.base.matchers import chooses
from conf.observe.pod_figures import PodFigures, quantile
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED

Labels = Mapping[str, str]
RECORDS = "monopod_offline_records_total"  # on the page of an offline pod alone
AWAY = ("monopod_offline_sink_away_seconds", "monopod_offline_brokers_away_seconds")
BUCKETS = "monopod_answer_duration_seconds_bucket"


class UnreadablePage(Exception):
    """A text is no metrics page."""


@dataclass(frozen=True)
class Page:
    """One reading. at: seconds of a monotonic clock. samples: the labels and value of each series, by the metric's name."""

    at: float
    samples: Mapping[str, list[tuple[Labels, float]]] = field(default_factory=dict)

    def sum(self, name: str, keep: Callable[[Labels], bool] = lambda _: True) -> float | None:
        """Return the sum of a metric's series that `keep` chooses, None where there is none."""
        found = [value for labels, value in self.samples.get(name, []) if keep(labels)]
        return sum(found) if found else None

    def most(self, name: str) -> float | None:
        return max((value for _, value in self.samples.get(name, [])), default=None)

    def label(self, name: str, label: str) -> str:
        return next((labels.get(label, "") for labels, _ in self.samples.get(name, [])), "")


def parsed(text: str, at: float) -> Page:
    """Return the page of a text. at: when it was read, in seconds of a monotonic clock. Raises UnreadablePage."""
    samples: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                samples.setdefault(each.name, []).append((each.labels, each.value))
    except (ValueError, KeyError, IndexError) as error:
        raise UnreadablePage(f"it is no metrics page ({error})") from error
    if "monopod_ready" not in samples:
        raise UnreadablePage("it is no metrics page of a service: it has no monopod_ready")
    return Page(at, samples)


def figures_between(pod: str, before: Page, after: Page, restarts: float) -> PodFigures:
    """Return a pod's figures: rates and quantiles of the time between two readings, all else of the second one.

    restarts: in the last hour. A counter that fell was set to 0 by a restart, and counts from there.
    """
    found = PodFigures(
        pod=pod,
        version=after.label("monopod_release_info", "version"),
        ready=after.sum("monopod_ready"),
        rate=_rate(before, after, "monopod_requests_total"),
        valid=_rate(before, after, "monopod_requests_total", partial(chooses, COUNTED)),
        errors=_rate(before, after, "monopod_requests_total", partial(chooses, COUNTED_FAILED)),
        refused=_rate(before, after, "monopod_requests_total", partial(chooses, 'code="429"')),
        p50=quantile(0.5, increases([(before, after)])),
        p95=quantile(0.95, increases([(before, after)])),
        queue_rows=after.sum("monopod_queue_rows"),
        queue_age=after.most("monopod_queue_oldest_age_seconds"),
        memory=after.sum("process_resident_memory_bytes"),
        memory_limit=after.sum("monopod_memory_limit_bytes"),
        cores=_rate(before, after, "process_cpu_seconds_total"),
        cores_asked=after.sum("monopod_cpu_cores"),
        restarts=restarts,
    )
    return _with_records(found, before, after) if RECORDS in after.samples else found


def _with_records(found: PodFigures, before: Page, after: Page) -> PodFigures:
    """Return the figures of an offline pod."""
    finished = _rate(before, after, RECORDS)
    return replace(
        found,
        rate=finished,
        valid=finished,
        errors=_rate(before, after, RECORDS, lambda labels: labels.get("outcome") == "dead"),
        refused=None,
        p50=None,
        p95=None,
        queue_rows=after.sum("monopod_offline_lag_records"),
        queue_age=None,
        held=after.most("monopod_offline_held"),
        away=max(after.most(name) or 0.0 for name in AWAY),
    )


def increases(readings: Sequence[tuple[Page, Page]]) -> list[tuple[float, float]]:
    """Return how much the buckets of the answers' duration grew between two readings, of several pods together.

    Each is (upper bound in seconds, cumulative count), in the order of the bounds.
    """
    found: dict[float, float] = {}
    for before, after in readings:
        then, now = _buckets(before), _buckets(after)
        restarted = any(now[bound] < count for bound, count in then.items() if bound in now)
        for bound, count in now.items():
            found[bound] = found.get(bound, 0.0) + count - (0.0 if restarted else then.get(bound, 0.0))
    return sorted(found.items())


def _buckets(page: Page) -> dict[float, float]:
    """Return the cumulative counts of all routes together, by the upper bound."""
    found: dict[float, float] = {}
    for labels, count in page.samples.get(BUCKETS, []):
        bound = math.inf if labels["le"] == "+Inf" else float(labels["le"])
        found[bound] = found.get(bound, 0.0) + count
    return found


def _rate(before: Page, after: Page, name: str, keep: Callable[[Labels], bool] = lambda _: True) -> float | None:
    grown = _increase(before, after, name, keep)
    return None if grown is None or after.at <= before.at else grown / (after.at - before.at)


def _increase(before: Page, after: Page, name: str, keep: Callable[[Labels], bool]) -> float | None:
    now, then = after.sum(name, keep), before.sum(name, keep) or 0.0
    if now is None:
        return None
    return now - then if now >= then else now
