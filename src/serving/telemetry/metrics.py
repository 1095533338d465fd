"""Every metric of the platform in one place, and the service's own, for Prometheus. The only module that imports
prometheus_client.

Knows names, labels and buckets. Does not know where the events happen.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
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

disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads the _created series that each counter would have

# 1 ms to 60 s. The default deadline, 30 s, is a bound.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RECENT = 1000  # good answers of each route whose durations are kept
PERCENTILES = (50, 95, 99)
STAGES = ("upload", "decode", "queue", "batch", "infer", "encode")
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The process's metrics, in a registry of their own. Any thread may call any method. All times are seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter, gauge, histogram = self.counter, self.gauge, self.histogram
        self._requests = counter("monopod_requests_total", "Requests answered.", ("route", "code", "reason"))
        about = "From a request's first byte to its answer."
        self._duration = histogram("monopod_request_duration_seconds", about, ("route",))
        about = "From a request's last byte to its answer."
        self._answer = histogram("monopod_answer_duration_seconds", about, ("route",))
        about = "Time in one stage of a request or batch."
        stages = histogram("monopod_stage_duration_seconds", about, ("stage",))
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._batch_rows = histogram("monopod_batch_rows", "Rows of a batch.", ("model",), ROWS)
        self._batch_seconds = histogram("monopod_batch_duration_seconds", "Time of one run of the model.", ("model",))
        self._shed = counter("monopod_shed_total", "Requests refused before any work on them.", ("reason",))
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
        self._counts: dict[tuple[str, int, str], Counter] = {}
        self._recent: dict[str, deque[float]] = {}

    def expect(self, route: str, ends: Iterable[tuple[int, str]]) -> None:
        """Create a route's series with the value 0, since rate() does not see the event that creates a series.

        ends: each code and reason with which its requests may end.
        """
        for code, reason in ends:
            self._counts[route, code, reason] = self._requests.labels(route, str(code), reason)
        self._recent[route] = deque(maxlen=RECENT)
        self._duration.labels(route)
        self._answer.labels(route)

    def expect_shed(self, reasons: Iterable[str]) -> None:
        """Create the series of the refusals with the value 0."""
        for reason in reasons:
            self._shed.labels(reason)

    def request(self, route: str, code: int, reason: str, seconds: float, upload: float | None = None) -> None:
        """Count one answered request.

        seconds: from its first byte to its answer. upload: from its first byte to its last, or None where it was refused.
        """
        key = (route, code, reason)
        if key not in self._counts:  # two threads may do this at once; both get the same child
            self._counts[key] = self._requests.labels(route, str(code), reason)
            self._recent.setdefault(route, deque(maxlen=RECENT))
        self._counts[key].inc()
        self._duration.labels(route).observe(seconds)
        if upload is not None:
            self._answer.labels(route).observe(seconds - upload)
        if code < 400:
            self._recent[route].append(seconds)

    def shed(self, reason: str) -> None:
        self._shed.labels(reason).inc()

    def stage(self, stage: str, seconds: float) -> None:
        self._stages[stage].observe(seconds)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe the duration of the block as a stage, also when it raises."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.stage(stage, time.monotonic() - began)

    def batch(self, model: str, rows: int, seconds: float) -> None:
        self._batch_rows.labels(model).observe(rows)
        self._batch_seconds.labels(model).observe(seconds)

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None:
        """Show a model as loaded. costs: rows of a batch -> seconds, as the warm-up measured them."""
        self._info.labels(model, provider, str(instances), str(threads)).set(1)
        self._batch_rows.labels(model)
        self._batch_seconds.labels(model)
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

    def recent(self, route: str) -> dict[str, float | None]:
        """Return a route's number of requests, and the percentiles of its last RECENT good answers: p50_ms, p95_ms, p99_ms.

        route: as in @route, or "service" for the service's own route. The percentiles are None before its first good answer.
        """
        route = route.strip("/").replace(".", "_")
        seconds = self._recent[route].copy() if route in self._recent else ()
        number = sum(
            sample.value
            for metric in self._requests.collect()
            for sample in metric.samples
            if sample.labels.get("route") == route and sample.name.endswith("_total")
        )
        found = np.percentile(seconds, PERCENTILES) * 1000 if seconds else [None] * len(PERCENTILES)
        named = zip((f"p{p}_ms" for p in PERCENTILES), found, strict=True)
        return {"requests": int(number), **{name: None if ms is None else round(float(ms), 2) for name, ms in named}}

    def codes(self) -> dict[str, int]:
        """Return the number of answers by their code, since the start."""
        found: dict[str, int] = {}
        for metric in self._requests.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total") and sample.value:
                    found[sample.labels["code"]] = found.get(sample.labels["code"], 0) + int(sample.value)
        return found

    def page(self) -> bytes:
        """Return the metrics page in Prometheus' text format."""
        return generate_latest(self.registry)


class _CallbackGauge:
    """A gauge whose values are asked for each time they are read."""

    def __init__(self, name: str, about: str, values: Callable[[], dict[str, float]], label: str):
        self._name, self._about, self._values, self._label = name, about, values, label

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._about, labels=[self._label] if self._label else None)
        for key, value in self._values().items():
            family.add_metric([key] if self._label else [], value)
        yield family
