"""Each figure of a track is judged by its levels, and alerts and failing requests are told as a real Prometheus has them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.clusters.regions import load
from conf.observe.figures import PodFigures, TrackFigures
from conf.observe.health import CRITICAL, TOO_NEW, UNKNOWN, WARNING, limits_of, present_troubles, reasons, troubles_query
from conf.observe.pod_states import PodStates
from conf.observe.prometheus import PrometheusClient, Sample
from serving.settings import Settings
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus

GIB = 2.0**30
GOOD = PodFigures("small-1", "7", 1.0, 10.0, 10.0, 0.0, 0.0, 0.02, 0.05, 0.0, 0.0, 0.5 * GIB, GIB, 0.4, 1.0, 0.0)
TRACK = TrackFigures("hk", "prod", "like", "small", wanted=1, seconds=120, p50=0.02, p95=0.05, pods=(GOOD,))
SETTINGS = Settings(service_name="small", username="like", timeout_second=10.0)


READS = replace(GOOD, pod="small-offline-1", refused=None, p50=None, p95=None, queue_rows=50.0, queue_age=None, cores=1.0)
OFFLINE = TrackFigures(
    "hk", "prod", "like", "small-offline", 1, seconds=300, pods=(replace(READS, held=0.0, away=0.0),), offline=True
)


def told(track: TrackFigures, **settings: Any) -> list[tuple[str, str]]:
    return [(each.level, each.words) for each in reasons(track, limits_of(replace(SETTINGS, **settings)))]


def with_pod(**figures: Any) -> TrackFigures:
    return replace(TRACK, pods=(replace(GOOD, **figures),))


def with_states(track: TrackFigures = TRACK, **states: Any) -> TrackFigures:
    return replace(track, states=PodStates(**states))


def test_a_version_whose_pods_have_just_come_is_too_new_to_judge() -> None:
    new = ("small-2", "8", 20.0)
    words = "version 8 has been ready for 20 s, and 0 of its answers are counted: ask again in a minute"
    assert told(with_states(ready=(new,))) == [(TOO_NEW, words)]  # Prometheus has the old pods alone
    scraped = PodFigures("small-2", "8", 1.0)
    assert told(with_states(replace(TRACK, pods=(GOOD, scraped)), ready=(("small-1", "7", 900.0), new)))[0][0] == TOO_NEW
    assert told(with_states(ready=(("small-2", "8", 61.0),)))[0][0] == TOO_NEW  # it is not scraped twice yet
    idle = replace(GOOD, pod="small-2", rate=None, valid=None, errors=None)
    assert told(with_states(replace(TRACK, pods=(idle,)), ready=(("small-2", "8", 61.0),))) == []  # nobody asks it anything


def test_a_version_is_judged_as_soon_as_ten_answers_are_counted() -> None:
    new = replace(GOOD, pod="small-2", valid=10 / 120, errors=2 / 120)
    (found,) = told(with_states(replace(TRACK, pods=(new,)), ready=(("small-2", "8", 20.0),)))
    assert found[1].startswith("20 % of the answers are 5xx")
    assert found[0] == CRITICAL


def test_a_pod_more_of_a_version_that_is_known_is_not_too_new() -> None:
    assert told(with_states(ready=(("small-1", "7", 900.0), ("small-2", "7", 5.0)))) == []


def test_what_is_too_new_hides_nothing_critical_and_stands_before_warnings() -> None:
    found = told(with_states(with_pod(memory=0.7 * GIB), ready=(("small-2", "8", 20.0),)))
    assert [level for level, _ in found] == [TOO_NEW, WARNING]
    found = told(with_states(with_pod(memory=0.9 * GIB), ready=(("small-2", "8", 20.0),)))
    assert [level for level, _ in found] == [CRITICAL, TOO_NEW]


def test_lost_pods_are_judged_as_restarts_are_and_waiting_ones_are_a_warning() -> None:
    evicted = "small-0 was evicted: its /tmp was full"
    assert told(with_states(lost=(evicted,))) == [(WARNING, evicted)]
    assert told(with_states(lost=(evicted,) * 3)) == [(CRITICAL, f"{evicted}, and 2 more in the last hour")]
    assert told(with_states(waiting=(("small-2", "no node has room"),))) == [(WARNING, "small-2: no node has room")]


def test_a_track_that_is_well_gives_no_reason() -> None:
    assert told(TRACK) == []


@pytest.mark.parametrize(
    ("track", "level", "words"),
    [
        (with_pod(memory=0.7 * GIB), WARNING, "small-1 uses 70 % of its memory, 0.7 GiB"),
        (with_pod(memory=0.85 * GIB), CRITICAL, "small-1 uses 85 % of its memory"),
        (with_pod(cores=0.8), WARNING, "small-1 uses 80 % of the cores"),
        (with_pod(cores=0.95), CRITICAL, "small-1 uses 95 % of the cores"),
        (replace(TRACK, p95=2.0), WARNING, "5 % of the answers take 2 s or longer"),
        (replace(TRACK, p95=5.0), CRITICAL, "5 % of the answers take 5 s or longer"),
        (with_pod(errors=0.05), WARNING, "0.5 % of the answers are 5xx"),
        (with_pod(errors=0.2), CRITICAL, "2 % of the answers are 5xx"),
        (with_pod(rate=1000.0, errors=0.2), CRITICAL, "2 % of the answers are 5xx"),  # Most answers are 4xx.
        (with_pod(refused=0.1), WARNING, "0.1 requests a second are refused with 429"),
        (with_pod(queue_age=5.0), WARNING, "small-1: the oldest row waits 5 s"),
        (with_pod(queue_age=10.0), CRITICAL, "small-1: the oldest row waits 10 s"),
        (with_pod(restarts=1.0), WARNING, "small-1 restarted 1 time in an hour"),
        (with_pod(restarts=3.0), CRITICAL, "small-1 restarted 3 times"),
        (with_pod(ready=0.0), CRITICAL, "no pod is ready, and value.py asks for 1"),
        (replace(TRACK, wanted=2), WARNING, "1 of 2 pods are ready"),
        (replace(TRACK, pods=()), CRITICAL, "no pod is ready"),
        (replace(TRACK, trouble="Prometheus is away"), UNKNOWN, "Prometheus is away"),
    ],
)
def test_each_figure_is_judged_by_its_levels(track: TrackFigures, level: str, words: str) -> None:
    found = told(track)
    assert [each[0] for each in found] == [level]
    assert found[0][1].startswith(words)


def test_what_kubernetes_knows_is_judged_where_prometheus_is_away() -> None:
    away = replace(TRACK, trouble="Prometheus is away", wanted=2, pods=(PodFigures("small-1", "7", 1.0),))
    assert [level for level, _ in told(with_states(away, lost=("small-0 failed",)))] == [UNKNOWN, WARNING, WARNING]
    assert [level for level, _ in told(replace(away, pods=()))] == [CRITICAL, UNKNOWN]
    assert [level for level, _ in told(replace(away, pods=(), unseen="no kubeconfig"))] == [UNKNOWN]


def test_settings_move_the_levels() -> None:
    assert told(with_pod(memory=0.7 * GIB), memory_levels=(75.0, 90.0)) == []
    assert told(with_pod(cores=1.2), cpu_levels=(150.0, 200.0)) == []
    assert told(replace(TRACK, p95=2.0), latency_levels=(3.0, 4.0)) == []
    assert told(with_pod(errors=0.05), objective_success=0.99) == []


def test_errors_and_latency_of_a_few_requests_are_not_judged() -> None:
    few = replace(GOOD, rate=9 / 120, valid=9 / 120, errors=9 / 120)
    assert told(replace(TRACK, p95=9.0, pods=(few,))) == []


def test_errors_are_not_judged_where_few_answers_count() -> None:
    assert told(with_pod(rate=1000.0, valid=9 / 120, errors=9 / 120)) == []
    assert told(with_pod(rate=1000.0, valid=None, errors=None)) == []


def test_figures_that_are_not_known_are_no_concern() -> None:
    assert told(replace(TRACK, p50=None, p95=None, pods=(PodFigures("small-1", ready=1.0),))) == []


def test_the_gravest_reason_stands_first() -> None:
    assert [level for level, _ in told(with_pod(memory=0.9 * GIB, cores=0.8, refused=1.0))] == [CRITICAL, WARNING, WARNING]


def told_offline(**figures: Any) -> list[tuple[str, str]]:
    track = replace(OFFLINE, pods=(replace(OFFLINE.pods[0], **figures),))
    return [(each.level, each.words) for each in reasons(track, limits_of(SETTINGS, offline=True))]


def test_offline_pods_that_use_all_cores_while_records_wait_are_well() -> None:
    assert told_offline() == []
    assert told_offline(queue_rows=0.0, rate=0.0, valid=0.0) == []


@pytest.mark.parametrize(
    ("figures", "level", "words"),
    [
        ({"errors": 0.1}, WARNING, "1 % of the records become dead letters"),
        ({"errors": 6.0}, CRITICAL, "60 % of the records become dead letters"),
        ({"rate": 0.0}, WARNING, "50 records wait, and none was finished in 300 s"),
        ({"held": 1.0}, CRITICAL, "small-offline-1 has stopped reading"),
        ({"away": 60.0}, WARNING, "small-offline-1: a sink or the brokers"),
        ({"away": 300.0}, CRITICAL, "small-offline-1: a sink or the brokers"),
        ({"memory": 0.85 * GIB}, CRITICAL, "small-offline-1 uses 85 % of its memory"),
        ({"restarts": 1.0}, WARNING, "small-offline-1 restarted 1 time in an hour"),
        ({"ready": 0.0}, CRITICAL, "no pod is ready, and value.py asks for 1"),
    ],
)
def test_a_figure_of_offline_pods_is_a_reason(figures: dict[str, float], level: str, words: str) -> None:
    ((found, said),) = told_offline(**figures)
    assert found == level
    assert said.startswith(words)


def test_a_short_look_says_nothing_about_records_that_wait() -> None:
    quiet = replace(OFFLINE, seconds=3, pods=(replace(OFFLINE.pods[0], rate=0.0),))
    assert reasons(quiet, limits_of(SETTINGS, offline=True)) == []


MINE = 'namespace="like",service="small"'


@pytest.mark.parametrize(("failed", "kinds"), [(25.0, ["requests fail", "alerts fire"]), (5.0, ["alerts fire"])])
def test_a_service_whose_requests_fail_and_whose_alerts_fire_is_told_and_no_other(
    tmp_path: Path, failed: float, kinds: list[str]
) -> None:
    growing = [15.0 * number for number in range(41)]
    requests = 'monopod_requests_total{%s,pod="small-1",route="service",code="%s",reason="%s"}'
    alert = 'ALERTS{alertname="%s",alertstate="%s",severity="critical",%s}'
    series = {
        requests % (MINE, 200, ""): ("counter", [(25.0 - failed) * each for each in growing]),
        requests % (MINE, 500, "internal"): ("counter", [failed * each for each in growing]),
        alert % ("ErrorBudgetBurnsFast", "firing", MINE): ("gauge", [1.0] * 41),
        alert % ("Restarts", "pending", MINE): ("gauge", [1.0] * 41),
        alert % ("Slow", "firing", 'namespace="like",service="other"'): ("gauge", [1.0] * 41),
    }
    fill(tmp_path, series, 15.0)
    with prometheus(tmp_path) as url:
        client = PrometheusClient(load(write_regions(tmp_path, {"hk": url})).regions["hk"])
        found = present_troubles(client.now(troubles_query("small", "small-offline", "like")))
    assert [kind for kind, _ in found] == kinds
    assert "ErrorBudgetBurnsFast (critical)" in found[-1][1]
    if failed == 25.0:
        assert found[0][1].startswith("100 % of the answers")


def test_without_requests_and_alerts_nothing_is_wrong() -> None:
    assert present_troubles([]) == []
    assert present_troubles([Sample({}, None)]) == []  # no request in two minutes
