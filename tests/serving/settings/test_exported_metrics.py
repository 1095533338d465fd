"""The list of metrics follows Prometheus' rules for names, and says the meaning of every label."""

import re

import pytest

from serving.settings.exported_metrics import (
    EXPORTED_METRICS,
    METRICS,
    OWN_LABELS,
    PREFIXES,
    SCRAPE_LABELS,
    ExportedMetric,
    series,
)

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
