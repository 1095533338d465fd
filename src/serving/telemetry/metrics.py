"""The metrics of the platform and of the service for Prometheus, and the page. The only module that imports prometheus_client.

Knows how each metric is written. Does not know where the events happen. The metrics of a request's path are counted by
serving.telemetry.request_metrics, since prometheus_client takes 2 us for each value.
"""

from collections.abc import Callable, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import floatToGoString

from serving.telemetry.request_metrics import FAMILIES, SECONDS, Family, RequestMetrics, Samples
from serving.telemetry.series import Distribution

disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads the _created series that each counter would have

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(RequestMetrics):
    """The process's metrics, in a registry of their own. Any thread may call any method. All times are seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_RequestPath(self.read))
        counter, gauge = self.counter, self.gauge
        self._info = gauge("monopod_model_info", "1 for each loaded model.", ("model", "provider", "instances", "threads"))
        about = "Cost of one batch of so many rows, measured at start."
        self._warmup = gauge("monopod_warmup_seconds", about, ("model", "rows"))
        self.reloads = counter("monopod_reloads_total", "Watched files that changed and were loaded again.")
        about = "Watched files that changed and could not be loaded; the old state stays."
        self.reload_failures = counter("monopod_reload_failures_total", about)
        about = "1 while a watched file holds what could not be loaded; the old state is used."
        self.reload_failed = gauge("monopod_reload_failed", about, ("file",))
        self._platform = gauge(
            "monopod_platform_info", "1, with the platform's version and the service.", ("version", "service")
        )

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None:
        """Show a model as loaded. costs: rows of a batch -> seconds, as the warm-up measured them."""
        self._info.labels(model, provider, str(instances), str(threads)).set(1)
        self.expect_batches(model)
        for rows, seconds in costs.items():
            self._warmup.labels(model, str(rows)).set(seconds)

    def model_unloaded(self, model: str) -> None:
        self._info.remove_by_labels({"model": model})

    def platform(self, version: str, service: str) -> None:
        self._platform.labels(version, service).set(1)

    def callback_gauge(self, name: str, about: str, values: Callable[[], dict[str, float]], label: str = "") -> None:
        """Register a gauge whose values are asked for each time the page is read.

        values: returns label value -> value, or {"": value} where there is no label.
        """
        self.registry.register(_CallbackGauge(f"monopod_{name}", about, values, label))

    def counter(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
        """Return a counter of the service's own. By Prometheus' rules its name ends in _total."""
        return Counter(name, about, labels, registry=self.registry)

    def gauge(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Return a gauge of the service's own."""
        return Gauge(name, about, labels, registry=self.registry)

    def histogram(self, name: str, about: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = SECONDS) -> Histogram:
        """Return a histogram of the service's own. buckets: their upper bounds."""
        return Histogram(name, about, labels, registry=self.registry, buckets=buckets)

    def page(self) -> bytes:
        """Return the metrics page in Prometheus' text format."""
        return generate_latest(self.registry)


class _RequestPath:
    """The metrics of a request's path, which are read each time the page is."""

    def __init__(self, read: Callable[[], dict[Family, Samples]]):
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without series, so that the registry refuses another one of such a name."""
        return [_written(family, []) for family in FAMILIES]

    def collect(self) -> Iterable[Metric]:
        return [_written(family, samples) for family, samples in self._read().items()]


def _written(family: Family, samples: Samples) -> Metric:
    """Return a family as prometheus_client writes it."""
    counter = CounterMetricFamily(family.name, family.about, labels=family.labels)
    histogram = HistogramMetricFamily(family.name, family.about, labels=family.labels)
    for labels, value in samples:
        if isinstance(value, Distribution):
            bounds = map(floatToGoString, value.bounds)
            histogram.add_metric(labels, list(zip(bounds, value.counts, strict=True)), value.sum)
        else:
            counter.add_metric(labels, value)
    return counter if family.type == "counter" else histogram


class _CallbackGauge:
    """A gauge whose values are asked for each time they are read."""

    def __init__(self, name: str, about: str, values: Callable[[], dict[str, float]], label: str):
        self._name, self._about, self._values, self._label = name, about, values, label

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._about, labels=[self._label] if self._label else None)
        for key, value in self._values().items():
            family.add_metric([key] if self._label else [], value)
        yield family
