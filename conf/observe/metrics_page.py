"""A pod's own metrics page, and the figures that two readings of it give.

The only module of conf that imports prometheus_client.

Knows the text format and the names of the runtime's metrics. Does not know how a page is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
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
