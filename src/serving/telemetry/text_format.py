"""Counters and histograms in Prometheus' text format.

Knows the format. Does not know what is counted.

A page holds over a thousand lines of buckets, of which the numbers alone change. All that stands before a number is made once.
prometheus_client takes ten times as long for such a page, and holds the interpreter that requests need.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from prometheus_client.utils import floatToGoString

from serving.settings.exported_metrics import ExportedMetric
from serving.telemetry.series import Distribution

MAX_KNOWN = 4096  # series and histograms whose words are remembered

Sample = tuple[tuple[str, ...], int | Distribution]  # the values of the labels, and the value


def text_of(metric: ExportedMetric, samples: Iterable[Sample]) -> str:
    """Return the lines of one metric."""
    head = f"# HELP {metric.name} {_escaped(metric.about)}\n# TYPE {metric.name} {metric.type}\n"
    return head + "".join(piece for labels, value in samples for piece in _pieces(metric, labels, value))


def _pieces(metric: ExportedMetric, labels: tuple[str, ...], value: int | Distribution) -> Iterator[str]:
    if not isinstance(value, Distribution):
        yield f"{_series(metric, labels)} {value}\n"
        return
    for words, count in zip(_buckets(metric, labels, value.bounds), value.counts, strict=True):
        yield f"{words} {count}\n"
    yield f"{_series(metric, labels, '_count')} {value.counts[-1]}\n{_series(metric, labels, '_sum')} {value.sum!r}\n"


@lru_cache(MAX_KNOWN)
def _buckets(metric: ExportedMetric, labels: tuple[str, ...], bounds: tuple[float, ...]) -> list[str]:
    """Return the words before the number of each bucket's line. The last bound is infinity."""
    named = map(floatToGoString, bounds)
    return [_words(metric, labels, "_bucket", ("le", bound)) for bound in named]


@lru_cache(MAX_KNOWN)
def _series(metric: ExportedMetric, labels: tuple[str, ...], suffix: str = "") -> str:
    """Return the words before the number of a line without a bound."""
    return _words(metric, labels, suffix)


def _words(metric: ExportedMetric, labels: tuple[str, ...], suffix: str, *more: tuple[str, str]) -> str:
    named = sorted([*zip(metric.labels, labels, strict=True), *more])  # as prometheus_client writes them
    found = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in named)
    return f"{metric.name}{suffix}{{{found}}}" if found else metric.name + suffix


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
