"""Each alert on offline pods fires on a history of its trouble alone, and is silent on one that only looks like it."""

from pathlib import Path

import pytest

from tests.conf.rule_files import rule_groups, written
from tests.promtool import firing

Histories = dict[str, str]  # series -> values, a minute apart

SERVICE = """
service_name = "ages"
username = "like"
replicas = 0
offline_source = "kafka:videos"
offline_sinks = ["kafka:ages"]
offline_lag_per_replica = 1000
"""
REGION = "eu"
POD = 'namespace="like",service="ages-offline",pod="a"'
OTHER_POD = 'namespace="like",service="ages-offline",pod="b"'
DEPLOYMENT = 'namespace="like",deployment="ages-offline"'
GIB = 2**30


def pod(name: str, values: str, labels: str = POD) -> Histories:
    return {f"{name}{{{labels}}}": values}


def lag(values: str, partition: int = 0, labels: str = POD) -> Histories:
    return {f'monopod_offline_lag_records{{{labels},topic="videos",partition="{partition}"}}': values}


def records(outcome: str, values: str) -> Histories:
    return {f'monopod_offline_records_total{{{POD},outcome="{outcome}"}}': values}


def away(values: str, labels: str = POD) -> Histories:
    return {f'monopod_offline_sink_away_seconds{{{labels},sink="kafka:ages"}}': values}


def lost(values: str) -> Histories:
    return pod("monopod_offline_lost_records_total", values)


def deployment(unavailable: str, updated: str, wanted: str) -> Histories:
    figures = {"status_replicas_unavailable": unavailable, "status_replicas_updated": updated, "spec_replicas": wanted}
    return {f"kube_deployment_{name}{{{DEPLOYMENT}}}": values for name, values in figures.items()}


def restarts(values: str) -> Histories:
    return {'kube_pod_container_status_restarts_total{namespace="like",pod="a",uid="1",container="ages-offline"}': values}


WELL: Histories = {
    **pod("up", "1x60"),
    **pod("monopod_ready", "1x60"),
    **lag("50x60"),
    **records("answered", "0+600x60"),
    **records("dead", "0x60"),
    **pod("monopod_offline_held", "0x60"),
    **pod("monopod_offline_brokers_away_seconds", "0x60"),
    **away("0x60"),
    **lost("0x60"),
    **pod("process_resident_memory_bytes", f"{GIB}x60"),
    **pod("monopod_memory_limit_bytes", f"{2 * GIB}x60"),
    **pod("monopod_tmp_bytes", "1x60"),
    **pod("monopod_tmp_limit_bytes", "100x60"),
    **pod("process_start_time_seconds", "1000x60"),
    **restarts("0x60"),
    f'monopod_reload_failed{{{POD},file="labels.txt"}}': "0x60",
    **deployment("0x60", "2x60", "2x60"),
}

# A history beside WELL -> the alerts that fire after an hour of it.
CASES: dict[str, tuple[Histories, set[str]]] = {
    "all is well": ({}, set()),
    "the only pod is not ready": (pod("monopod_ready", "1x50 0x10"), {"OfflineNotReady"}),
    "the only pod is not ready for a moment": (pod("monopod_ready", "1x57 0x3"), set()),
    "one of two pods is not ready": (
        {**pod("monopod_ready", "1x50 0x10"), **pod("monopod_ready", "1x60", OTHER_POD)},
        set(),
    ),
    "no pod is scraped": (pod("up", "1x50 0x10"), {"NothingScraped"}),
    "nothing is finished though records wait": (records("answered", "0+600x40 24000x20"), {"OfflineStandsStill"}),
    "nothing is finished for ten minutes though records wait": (records("answered", "0+600x50 30000x10"), set()),
    "nothing is finished, and no record waits": ({**records("answered", "0+600x40 24000x20"), **lag("50x40 0x20")}, set()),
    "only dead letters are finished": (
        {**records("answered", "0x60"), **records("dead", "0+600x60")},
        {"OfflineDeadLetters"},
    ),
    "nothing was ever finished": (
        {**records("answered", "_x60"), **records("dead", "_x60")},
        {"OfflineStandsStill"},
    ),
    "the brokers are away for nine minutes, though no record waits": (
        {
            **pod("monopod_offline_brokers_away_seconds", "0x50 0+60x9"),
            **lag("0x60"),
            **records("answered", "0+600x50 30000x10"),
        },
        {"OfflineBrokersAway"},
    ),
    "the brokers are away for four minutes": (pod("monopod_offline_brokers_away_seconds", "0x56 0+60x4"), set()),
    "lag grows for half an hour": (lag("50x30 50+100x30"), {"OfflineLagGrows"}),
    "lag grows for ten minutes": (lag("50x50 50+200x10"), set()),
    "lag grows and stays small": (lag("50x30 50+10x30"), set()),
    "much lag shrinks": (lag("90000-1000x60"), set()),
    "a partition's lag is told by two pods for a while": ({**lag("900x60"), **lag("_x40 900x20", 0, OTHER_POD)}, set()),
    "two partitions grow at two pods": (
        {**lag("50x30 50+50x30"), **lag("50x30 50+50x30", 1, OTHER_POD)},
        {"OfflineLagGrows"},
    ),
    "reading is held": (pod("monopod_offline_held", "0x59 1"), {"OfflineHeld"}),
    "reading was held": (pod("monopod_offline_held", "0x30 1x20 0x9"), set()),
    "a sink is away for nine minutes": (away("0x50 0+60x9"), {"OfflineSinkWaits"}),
    "a sink is away for four minutes": (away("0x56 0+60x4"), set()),
    "two of a hundred records are dead": (records("dead", "0x30 0+12x30"), {"OfflineDeadLetters"}),
    "one of two hundred records is dead": (records("dead", "0x30 0+3x30"), set()),
    "three of few records are dead": ({**records("answered", "0+1x60"), **records("dead", "0x57 1 2 3")}, set()),
    "retention takes records": (lost("0x55 7x5"), {"OfflineRecordsLost"}),
    "retention took records an hour ago": (lost("0 7x60"), set()),
    "retention took records before a new pod was read": (
        {f"monopod_offline_lost_records_total{{{OTHER_POD}}}": "_x55 7x5"},
        {"OfflineRecordsLost"},
    ),
    "a pod holds nine tenths of its memory": (
        pod("process_resident_memory_bytes", f"{1.8 * GIB:.0f}x60"),
        {"MemoryHigh", "MemoryNearLimit"},
    ),
    "/tmp fills": (pod("monopod_tmp_bytes", "85x60"), {"TmpNearlyFull"}),
    "a pod is evicted": (
        {'kube_pod_status_phase{namespace="like",pod="ages-offline-7d9f8b6c5-x2k4q",uid="3",phase="Failed"}': "0x50 1x10"},
        {"PodsLost"},
    ),
    "an online pod is evicted": (
        {'kube_pod_status_phase{namespace="like",pod="ages-7d9f8b6c5-x2k4q",uid="3",phase="Failed"}': "0x50 1x10"},
        set(),
    ),
    "a pod restarts three times": (restarts("0x40 1 2 3x17"), {"Restarts"}),
    "an online pod restarts three times": (
        {'kube_pod_container_status_restarts_total{namespace="like",pod="x",uid="2",container="ages"}': "0x40 1 2 3x17"},
        set(),
    ),
    "a changed file cannot be loaded": ({f'monopod_reload_failed{{{POD},file="labels.txt"}}': "0x50 1x10"}, {"ReloadFailing"}),
    "a new pod does not come up": (deployment("0x40 1x20", "2x40 1x20", "2x60"), {"ReleaseStuck"}),
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ages")
    (folder / "value.py").write_text(SERVICE)
    return written(rule_groups(folder, ("prod",), REGION), folder / "rules.yaml")


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_on_its_trouble_and_no_other_does(case: str, rules: Path, tmp_path: Path) -> None:
    histories, names = CASES[case]
    assert firing(rules, {**WELL, **histories}, "1h", tmp_path) == names


def test_every_alert_has_a_history_for_it_and_the_histories_name_no_other(rules: Path) -> None:
    known = {rule["alert"] for group in rule_groups(rules.parent, ("prod",), REGION) for rule in group["rules"]}
    assert set().union(*(names for _, names in CASES.values())) == known


def test_slow_records_and_a_low_rate_make_the_pause_longer_that_counts_as_standing_still(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE + "offline_timeout_second = 1200\n")
    rules = written(rule_groups(tmp_path, ("prod",), REGION), tmp_path / "rules.yaml")
    assert firing(rules, {**WELL, **records("answered", "0+600x40 24000x20")}, "1h", tmp_path) == set()


def test_a_release_that_is_tried_in_grey_wakes_nobody(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE)
    rules = [rule for group in rule_groups(tmp_path, ("grey",)) for rule in group["rules"]]
    assert {rule["labels"]["severity"] for rule in rules} == {"warning"}
    assert {rule["labels"]["service"] for rule in rules} == {"ages-offline"}
