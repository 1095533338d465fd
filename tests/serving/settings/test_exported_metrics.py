"""The exported metrics: names by Prometheus' rules, a meaning for every label, and buckets narrow enough for a quantile."""

import re

import pytest

from serving.settings.exported_metrics import (
    EXPORTED_METRICS,
    METRICS,
    OWN_LABELS,
    OWN_SECONDS,
    PREFIXES,
    ROWS,
    SCRAPE_LABELS,
    SIZES,
    STAGES,
    ExportedMetric,
    seconds_bounds,
    series,
    series_of,
)
from serving.telemetry.metrics import Metrics

UNITS = {"seconds": "_seconds", "bytes": "_bytes", "cores": "_cores"}  # in the name, as Prometheus asks


def test_no_metric_stands_twice() -> None:
    assert len(METRICS) == len(EXPORTED_METRICS)


@pytest.mark.parametrize("metric", EXPORTED_METRICS, ids=lambda metric: str(metric.name))
def test_a_metric_is_named_by_its_type_and_unit(metric: ExportedMetric) -> None:
    assert metric.type in ("counter", "gauge", "histogram")
    assert metric.name.startswith(PREFIXES)
    assert metric.name.endswith("_total") is (metric.type == "counter")
    assert UNITS.get(metric.unit, "") in metric.name
    assert metric.about.endswith(".")


def test_every_label_has_a_meaning_and_none_is_renamed_by_a_scrape() -> None:
    used = {label for metric in EXPORTED_METRICS for label in metric.labels}
    assert used == set(OWN_LABELS)
    assert used.isdisjoint(SCRAPE_LABELS)
    assert all(re.fullmatch("[a-z_]+", label) for label in used)


def test_a_histogram_is_found_as_buckets_sum_and_count() -> None:
    found = series(METRICS["monopod_batch_rows"])
    assert set(found) == {"monopod_batch_rows_bucket", "monopod_batch_rows_sum", "monopod_batch_rows_count"}
    assert found["monopod_batch_rows_sum"] == ("model", *SCRAPE_LABELS)
    assert found["monopod_batch_rows_bucket"] == ("model", *SCRAPE_LABELS, "le")
    assert series(METRICS["monopod_ready"]) == {"monopod_ready": tuple(SCRAPE_LABELS)}


@pytest.mark.parametrize("timeout", [0.05, 0.5, 2.5, 29.9, 30.0, 3600.0])
def test_no_bucket_is_wider_than_1_2_times_from_a_millisecond_to_the_timeout(timeout: float) -> None:
    bounds = seconds_bounds(timeout)
    assert (bounds[0], bounds[-1]) == (0.001, timeout)
    assert all(1 < upper / lower <= 1.2 + 1e-9 for lower, upper in zip(bounds, bounds[1:], strict=False))


def test_services_of_different_timeouts_share_their_bounds() -> None:
    assert set(seconds_bounds(10.0)) < set(seconds_bounds(30.0)) < set(seconds_bounds(60.0))


def test_objectives_that_people_choose_are_bounds() -> None:
    assert {0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1, 2, 2.5, 3, 5, 10, 20} < set(seconds_bounds(30.0))


def test_a_default_service_has_64_bounds_of_seconds() -> None:
    assert len(seconds_bounds(30.0)) == 64


@pytest.mark.parametrize("bounds", [ROWS, SIZES, OWN_SECONDS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_an_objective_is_a_bound_exactly_and_adds_one_at_most() -> None:
    assert set(seconds_bounds(30.0, 0.333)) == {*seconds_bounds(30.0), 0.333}
    assert seconds_bounds(30.0, 0.25) == seconds_bounds(30.0)
    assert seconds_bounds(0.05, 0.025) == tuple(sorted(seconds_bounds(0.05, 0.025)))


@pytest.mark.parametrize(("timeout", "objective"), [(30.0, 15.0), (1.0, 0.5), (0.05, None)])
def test_the_series_of_a_metric_are_those_that_the_page_has(timeout: float, objective: float | None) -> None:
    metrics = Metrics(timeout, objective)
    metrics.expect("service", [(200, "")])
    metrics.expect_batches("small")
    metrics.expect_shed(["queue_full"])
    lines = metrics.page().decode().splitlines()
    online = [metric for metric in EXPORTED_METRICS if not metric.only_with]
    counted = [metric for metric in online if metric.type == "histogram" or metric.name.startswith("monopod_requests_t")]
    assert len(counted) == 8
    for metric in counted:
        on_the_page = [line for line in lines if re.match(rf"{metric.name}(_bucket|_sum|_count)?{{", line)]
        values = len(STAGES) if metric.labels == ("stage",) else 1
        assert len(on_the_page) == values * series_of(metric, timeout, objective), metric.name
