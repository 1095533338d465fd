"""Requests, stages, batches and refusals are counted as prometheus_client would count them, on any thread."""

import math
import random
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serving.base.errors import StartError
from serving.settings.exported_metrics import ROWS, SIZES, STAGES, ExportedMetric, seconds_bounds
from serving.telemetry.metrics import Metrics
from serving.telemetry.request_metrics import (
    BATCH_ROWS,
    DURATION,
    END,
    NUMBERS,
    RECENT,
    REQUEST_SIZE,
    ROWS_WAITING,
    SHED,
    STAGE,
    STAGES_WAITING,
    BucketCounts,
    Distribution,
    Numbers,
    RequestMetrics,
    RowBuffer,
    stage_seconds,
)
from tests.serving.stage_begins import begins_of, seconds_of
from tests.threads import in_threads


def test_a_value_belongs_to_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    histogram = BucketCounts((1, 2))
    histogram.add(np.array([0.5, 1.0, 1.5, 2.0, 2.5, -1.0]))
    found = histogram.read()
    assert found.bounds == (1, 2, math.inf)
    assert found.counts == (3, 5, 6)
    assert found.sum == 6.5


def test_values_that_are_not_there_are_not_counted() -> None:
    histogram = BucketCounts((1, 2))
    histogram.add(np.array([math.nan, 1.5, math.nan]))
    assert histogram.read().counts == (0, 1, 1)
    assert histogram.read().sum == 1.5


def test_rows_wait_until_they_are_many_or_read() -> None:
    taken: list[Numbers] = []
    lock = threading.Lock()
    waiting = RowBuffer(2, taken.append, lock)
    for number in range(ROWS_WAITING - 1):
        waiting.note((number, 0.5))
    assert taken == []
    waiting.note((ROWS_WAITING - 1, 0.5))
    assert [rows.shape for rows in taken] == [(ROWS_WAITING, 2)]
    assert taken[0][:, 0].tolist() == list(range(ROWS_WAITING))
    waiting.note((7, 8))
    with lock:
        waiting.settle()
        waiting.settle()
    assert [rows.tolist() for rows in taken[1:]] == [[[7, 8]]]


def test_a_thread_that_notes_does_not_wait_for_one_that_reads() -> None:
    taken: list[Numbers] = []
    lock = threading.Lock()
    waiting = RowBuffer(1, taken.append, lock)
    with lock:
        for _ in range(ROWS_WAITING + 1):
            waiting.note((1,))
        assert taken == []
    waiting.note((1,))
    assert [len(rows) for rows in taken] == [ROWS_WAITING + 2]


def test_a_row_that_does_not_hold_numbers_stops_nothing_later() -> None:
    taken: list[Numbers] = []
    waiting = RowBuffer(1, taken.append, threading.Lock())
    waiting.note(["no number"])  # type: ignore[list-item]
    with pytest.raises(Exception, match="float"):
        waiting.settle()
    waiting.note((3,))
    waiting.settle()
    assert [rows.tolist() for rows in taken] == [[[3]]]


def test_a_stage_that_a_request_has_twice_counts_with_both_its_times() -> None:
    begins = [NUMBERS["upload"], 8.0, NUMBERS["queue"], 10.0, NUMBERS["decode"], 10.5, NUMBERS["queue"], 12.0, END, 20.0]
    assert seconds_of(begins) == {"upload": 2.0, "queue": 8.5, "decode": 1.5}


def test_a_stage_of_no_time_is_one_that_the_request_had() -> None:
    assert seconds_of(begins_of(upload=0.0, infer=3.0)) == {"upload": 0.0, "infer": 3.0}


@pytest.mark.parametrize("count", [1, 2, 300])
def test_requests_one_after_the_other_do_not_touch_each_other(count: int) -> None:
    chance = np.random.default_rng(7)
    requests = [
        begins_of(**{stage: float(chance.integers(1024)) for stage in STAGES if stage == "upload" or chance.random() < 0.5})
        for _ in range(count)
    ]
    found = stage_seconds(np.array(sum(requests, ())).reshape(-1, 2))
    assert found.shape == (count, len(STAGES))
    alone = [stage_seconds(np.array(each).reshape(-1, 2))[0] for each in requests]
    np.testing.assert_array_equal(found, alone)


SECONDS = seconds_bounds(30.0)
THREADS = 8
TIMES = 3 * ROWS_WAITING + 7


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Reference:
    """The same metrics, counted by prometheus_client itself."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        about = "Requests answered."
        self._requests = Counter("monopod_requests_total", about, ("route", "code", "reason"), registry=registry)
        about = "From a request's first byte to its answer."
        self._duration = self._histogram("monopod_request_duration_seconds", about, "route")
        about = "From a request's last byte to its answer."
        self._answer = self._histogram("monopod_answer_duration_seconds", about, "route")
        self._stage = self._histogram("monopod_stage_duration_seconds", "Time in one stage of a request.", "stage")
        for stage in ("upload", "queue", "fetch", "decode", "batch", "infer", "encode", "handle"):
            self._stage.labels(stage)
        about = "Bytes of a request's body as it was sent."
        self._received = self._histogram("monopod_request_size_bytes", about, "route", SIZES)
        self._sent = self._histogram("monopod_response_size_bytes", "Bytes of an answer's body.", "route", SIZES)
        self._rows = self._histogram("monopod_batch_rows", "Rows of a batch.", "model", ROWS)
        self._batch = self._histogram("monopod_batch_duration_seconds", "Time of one run of the model.", "model")
        about = "Requests refused before any work on them."
        self._shed = Counter("monopod_shed_total", about, ("reason",), registry=registry)

    def _histogram(self, name: str, about: str, label: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
        return Histogram(name, about, (label,), registry=self.registry, buckets=buckets)

    def expect(self, route: str, ends: list[tuple[int, str]]) -> None:
        for code, reason in ends:
            self._requests.labels(route, str(code), reason)
        self._duration.labels(route)
        self._answer.labels(route)
        self._received.labels(route)
        self._sent.labels(route)

    def expect_shed(self, reasons: list[str]) -> None:
        for reason in reasons:
            self._shed.labels(reason)

    def request(
        self, route: str, code: int, reason: str, seconds: float, upload: float | None = None, received: int = 0, sent: int = 0
    ) -> None:
        self._requests.labels(route, str(code), reason).inc()
        self._duration.labels(route).observe(seconds)
        if upload is not None:
            self._answer.labels(route).observe(seconds - upload)
            self._received.labels(route).observe(received)
            self._sent.labels(route).observe(sent)

    def shed(self, reason: str) -> None:
        self._shed.labels(reason).inc()

    def stages(self, begins: tuple[float, ...]) -> None:
        for stage, value in seconds_of(begins).items():
            self._stage.labels(stage).observe(value)

    def batch(self, model: str, rows: int, seconds: float) -> None:
        self._rows.labels(model).observe(rows)
        self._batch.labels(model).observe(seconds)


def count_something(metrics: Metrics | Reference, times: int) -> None:
    """Count requests of several kinds. Their seconds are sums of powers of two, so that no order of addition changes a sum."""
    chance = random.Random(7)
    metrics.expect("service", [(200, ""), (429, "queue_full")])
    metrics.expect("quiet", [(200, "")])
    metrics.expect_shed(["queue_full", "too_large"])

    def seconds() -> float:
        return chance.choice((0, chance.randrange(2**7) / 2**12, chance.randrange(2**17) / 2**10, 0.5, 30, 60))

    for number in range(times):
        upload = seconds()
        metrics.request("service", 200, "", upload + seconds(), upload, chance.randrange(2**20), chance.randrange(2**27))
        metrics.stages(begins_of(upload=upload, queue=seconds(), infer=seconds()))
        metrics.stages(begins_of(upload=upload, handle=seconds()))
        metrics.batch("demo", chance.randrange(1, 300), seconds())
        if number % 3 == 0:
            metrics.shed("queue_full")
            metrics.request("refused", 429, "queue_full", seconds())
            metrics.request('odd "route"', 400 + number % 7, "bad_input", seconds(), 0.0, 4**5, 0)
            metrics.shed("never\nexpected")


@pytest.mark.parametrize("times", [0, 1, TIMES])
def test_the_page_says_what_prometheus_client_would_write(times: int) -> None:
    metrics, reference = Metrics(), Reference()
    count_something(metrics, times)
    count_something(reference, times)
    expected = list(text_string_to_metric_families(generate_latest(reference.registry).decode()))
    found = list(text_string_to_metric_families(metrics.page().decode()))[: len(expected)]
    assert found == expected


def distribution(metrics: RequestMetrics, family: ExportedMetric, *labels: str) -> Distribution:
    found = dict(metrics.read()[family])[labels]
    assert isinstance(found, Distribution)
    return found


@pytest.mark.usefixtures("frequent_switches")
def test_threads_that_count_and_read_lose_nothing() -> None:
    metrics = RequestMetrics()

    def count() -> None:
        for number in range(TIMES):
            metrics.request(f"r{number % 2}", 200 + number % 3, "", 0.5, 0.25, 3, 4)
            metrics.stages(begins_of(upload=0.5, encode=0.25))
            metrics.shed("queue_full")
            metrics.batch("demo", 2, 0.5)
            if number % 100 == 0:
                metrics.read()

    in_threads(THREADS, lambda _: count())
    total = THREADS * TIMES
    assert sum(metrics.codes().values()) == total
    assert sum(distribution(metrics, DURATION, route).counts[-1] for route in ("r0", "r1")) == total
    assert sum(distribution(metrics, REQUEST_SIZE, route).sum for route in ("r0", "r1")) == 3 * total
    assert distribution(metrics, STAGE, "upload").sum == total / 2
    assert distribution(metrics, STAGE, "encode").sum == total / 4
    assert distribution(metrics, BATCH_ROWS, "demo").sum == 2 * total
    assert dict(metrics.read()[SHED])["queue_full",] == total


@pytest.mark.usefixtures("frequent_switches")
def test_a_reader_sees_what_was_counted_before() -> None:
    """Each thread counts under a code of its own, and reads after each count."""
    metrics, wrong = RequestMetrics(), list[object]()
    codes = iter(range(200, 200 + THREADS))

    def count() -> None:
        code = next(codes)
        for number in range(1, 200):
            metrics.request("service", code, "", 0.5)
            if metrics.codes().get(str(code)) != number:
                wrong.append(metrics.codes())

    in_threads(THREADS, lambda _: count())
    assert wrong == []


def test_what_waits_is_bounded_though_nobody_reads() -> None:
    metrics = RequestMetrics()
    for _ in range(TIMES):
        metrics.request("service", 200, "", 0.5, 0.25)
        metrics.stages(begins_of(upload=0.5))
        metrics.shed("queue_full")
    most = {id(metrics._stages_waiting): STAGES_WAITING}
    assert all(len(waiting) < most.get(id(waiting), ROWS_WAITING) for waiting in metrics._waiting)


def test_the_recent_answers_of_a_route_are_its_last_good_ones() -> None:
    metrics = RequestMetrics()
    assert metrics.recent("service") == {"requests": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None}
    for _ in range(2 * RECENT):
        metrics.request("service", 200, "", 9.0)
    for number in range(RECENT):
        metrics.request("service", 200 + number % 2, "", 0.25)
        metrics.request("service", 500, "service_failed", 7.0)
    expected = {"requests": 4 * RECENT, "p50_ms": 250.0, "p95_ms": 250.0, "p99_ms": 250.0}
    assert metrics.recent("service") == metrics.recent("/service/") == expected
    metrics.request("service", 200, "", 0.5)
    assert metrics.recent("service")["p99_ms"] == 250.0


def test_a_route_with_failures_alone_has_no_recent_answers() -> None:
    metrics = RequestMetrics()
    metrics.request("service", 500, "service_failed", 7.0)
    assert metrics.recent("service") == {"requests": 1, "p50_ms": None, "p95_ms": None, "p99_ms": None}


def test_a_service_may_not_take_a_name_of_the_platform() -> None:
    for family in RequestMetrics().read():
        with pytest.raises(StartError, match="monopod_"):
            Metrics().gauge(family.name, "Mine.")
