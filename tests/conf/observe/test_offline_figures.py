"""The offline pods of a track together, as a real Prometheus that holds the series of two pods answers."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.observe.offline_figures import OfflineFigures, idle_words, offline_figures, offline_status_query, troubles
from conf.observe.prometheus import PrometheusClient, Sample
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus

MOMENTS = 41  # 15 seconds apart


def of_pod(number: int, gauges: Mapping[str, float], **finished: float) -> dict[str, tuple[str, list[float | None]]]:
    """Return the series of a pod. gauges: by name and own labels. finished: records between two moments, by outcome."""
    labels = f'namespace="like",service="small-offline",pod="small-offline-{number}"'
    series: dict[str, tuple[str, list[float | None]]] = {}
    for name, value in gauges.items():
        family, brace, own = name.partition("{")
        kind = "counter" if family.endswith("_total") else "gauge"
        series[f"{family}{{{labels}{',' if brace else ''}{own.rstrip('}')}}}"] = (kind, [value] * MOMENTS)
    for outcome, each in finished.items():
        records = f'monopod_offline_records_total{{{labels},outcome="{outcome}"}}'
        series[records] = ("counter", [each * moment for moment in range(MOMENTS)])
    return series


def test_the_figures_of_two_pods_are_one(tmp_path: Path) -> None:
    first = {
        'monopod_offline_lag_records{topic="videos",partition="0"}': 7.0,
        "monopod_offline_oldest_record_age_seconds": 3.0,
        "monopod_offline_partitions": 1.0,
        "monopod_offline_held": 0.0,
        'monopod_offline_sink_away_seconds{sink="stdout"}': 0.0,
        'monopod_offline_dead_letters_total{reason="bad_input"}': 2.0,
    }
    second = {
        'monopod_offline_lag_records{topic="videos",partition="0"}': 9.0,  # it goes from one pod to the other, and counts once
        'monopod_offline_lag_records{topic="videos",partition="1"}': 5.0,
        "monopod_offline_oldest_record_age_seconds": 40.0,
        "monopod_offline_partitions": 0.0,
        "monopod_offline_held": 1.0,
        'monopod_offline_sink_away_seconds{sink="postgresql:ages"}': 61.4,
        "monopod_offline_brokers_away_seconds": 31.2,
        'monopod_offline_dead_letters_total{reason="bad_input"}': 4.0,
        'monopod_offline_dead_letters_total{reason="model_failed"}': 1.0,
    }
    fill(tmp_path, {**of_pod(1, first, answered=150.0, tombstone=30.0), **of_pod(2, second, answered=75.0)}, 15.0)
    with prometheus(tmp_path) as url:
        client = PrometheusClient(load(write_regions(tmp_path, {"hk": url})).regions["hk"])
        found = offline_figures(client.now(offline_status_query("small-offline", "like")))
        other = offline_figures(client.now(offline_status_query("small-offline", "grey")))
    assert found.rate == pytest.approx(17, rel=0.2)
    assert found == OfflineFigures({"postgresql:ages": 61.4}, 14, found.rate, 40, 7, 1, 1, 1, 31.2)
    assert idle_words(found).startswith("1 of its pods has no partition")
    assert [each.partition(" ")[0] for each in troubles(found)] == ["postgresql:ages", "the", "reading"]
    assert other == OfflineFigures({})


def figures(**values: float) -> OfflineFigures:
    return offline_figures([Sample({"figure": name}, value) for name, value in values.items()])


def test_pods_that_have_counted_no_dead_letter_have_none() -> None:
    assert figures(lag=0.0).dead_letters == 0


def test_pods_without_a_partition_are_counted_once_others_read() -> None:
    assert idle_words(figures(partitions=3.0, idle=2.0)).startswith("2 of its pods have no partition to read")
    assert idle_words(figures(partitions=0.0, idle=1.0)) == ""  # partitions are on their way
    assert idle_words(figures(partitions=2.0)) == ""
    assert troubles(figures(held=0.0, brokers_away=0.0)) == []
