"""The metrics of the platform and of the service, and their page in Prometheus' text format.

The one module that imports prometheus_client, which takes 2 us for each value and 10 us for each line. The metrics of a
request's path are therefore counted by serving.telemetry.request_metrics and written here: their page has over a thousand lines
of buckets, in which only the numbers change. All that stands before a number is made once.

Names and meanings of the platform's metrics: serving.settings.exported_metrics.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import floatToGoString

from serving.base.errors import StartError
from serving.settings.exported_metrics import METRICS, OWN_SECONDS, PREFIXES, SCRAPE_LABELS, ExportedMetric
from serving.telemetry.request_metrics import COUNTED, Distribution, RequestMetrics, Samples

disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads the _created series that each counter would have

CONTENT_TYPE = CONTENT_TYPE_LATEST
MAX_KNOWN = 4096  # series and histograms whose words are remembered

Values = Mapping[tuple[str, ...], float]  # the values of a gauge's labels -> its value


class Metrics(RequestMetrics):
    """The process's metrics, in a registry of their own. Any thread may call any method. All times are seconds.

    timeout: of the service's requests. objective: the time of a good answer.
    """

    def __init__(self, timeout: float = 30.0, objective: float | None = None) -> None:
        super().__init__(timeout, objective)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Names())
        self._info, self._warmup = self._gauge("monopod_model_info"), self._gauge("monopod_warmup_seconds")
        self._batch_failures = self.listed_counter("monopod_batch_failures_total")
        self.reloads = self.listed_counter("monopod_reloads_total")
        self.reload_failures = self.listed_counter("monopod_reload_failures_total")
        self.reload_failed = self._gauge("monopod_reload_failed")

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None:
        """Show a model as loaded. costs: rows of a batch -> seconds, as the warm-up measured them."""
        self._info.labels(model, provider, str(instances), str(threads)).set(1)
        self.expect_batches(model)
        self._batch_failures.labels(model)  # with the value 0, since rate() does not see the event that creates a series
        for rows, seconds in costs.items():
            self._warmup.labels(model, str(rows)).set(seconds)

    def batch_failed(self, model: str) -> None:
        """Count a failed batch once. `request` counts its requests."""
        self._batch_failures.labels(model).inc()

    def model_unloaded(self, model: str) -> None:
        self._info.remove_by_labels({"model": model})

    def show(self, name: str, values: Callable[[], Values]) -> None:
        """Register a gauge of METRICS whose values are asked for each time the page is read.

        values: returns the values of its labels, in their order -> value; () -> value where there are none.
        """
        self.registry.register(_CallbackGauge(METRICS[name], values))

    def listed_counter(self, name: str) -> Counter:
        """Return a counter of METRICS, which stays on the page from now on. Call it once for a name."""
        return Counter(name, METRICS[name].about, METRICS[name].labels, registry=self.registry)

    def listed_histogram(self, name: str, buckets: tuple[float, ...] = OWN_SECONDS) -> Histogram:
        """Return a histogram of METRICS. buckets: their upper bounds. Call it once for a name."""
        return Histogram(name, METRICS[name].about, METRICS[name].labels, registry=self.registry, buckets=buckets)

    def counter(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
        """Return a counter of the service's own. By Prometheus' rules its name ends in _total. Raises StartError."""
        return Counter(*_own(name, about, labels), registry=self.registry)

    def gauge(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Return a gauge of the service's own. Raises StartError."""
        return Gauge(*_own(name, about, labels), registry=self.registry)

    def histogram(
        self, name: str, about: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = OWN_SECONDS
    ) -> Histogram:
        """Return a histogram of the service's own. buckets: their upper bounds. Raises StartError."""
        return Histogram(*_own(name, about, labels), registry=self.registry, buckets=buckets)

    def page(self) -> bytes:
        """Return the metrics page in Prometheus' text format."""
        counted = "".join(text_of(metric, samples) for metric, samples in self.read().items())
        return counted.encode() + generate_latest(self.registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, METRICS[name].about, METRICS[name].labels, registry=self.registry)


def _own(name: str, about: str, labels: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Return what describes a metric of the service's own. Raises StartError for a name or label that the platform has."""
    if name.startswith(PREFIXES):
        raise StartError(
            f"metric {name!r}: names that begin with {' or '.join(PREFIXES)} are the platform's; begin it with another word, "
            "such as the service's name"
        )
    for label in labels:
        if label in SCRAPE_LABELS:
            raise StartError(
                f"metric {name!r}: its label {label!r} is one that Prometheus sets itself when it reads the page, and it would "
                f"rename this one to exported_{label}; give it another name, such as of_{label}"
            )
    return name, about, labels


class _Names:
    """The names of the metrics that are written elsewhere, so that the registry refuses another one of such a name."""

    def describe(self) -> Iterable[Metric]:
        return [Metric(metric.name, metric.about, metric.type) for metric in COUNTED]

    def collect(self) -> Iterable[Metric]:
        return []


class _CallbackGauge:
    def __init__(self, metric: ExportedMetric, values: Callable[[], Values]):
        self._metric, self._values = metric, values

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._metric.name, self._metric.about, labels=self._metric.labels)
        for labels, value in self._values().items():
            family.add_metric(labels, value)
        yield family


def text_of(metric: ExportedMetric, samples: Samples) -> str:
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
    return _words(metric, labels, suffix)


def _words(metric: ExportedMetric, labels: tuple[str, ...], suffix: str, *more: tuple[str, str]) -> str:
    named = sorted([*zip(metric.labels, labels, strict=True), *more])  # as prometheus_client writes them
    found = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in named)
    return f"{metric.name}{suffix}{{{found}}}" if found else metric.name + suffix


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
