"""Each of the platform's alerts fires on a history of its trouble alone, and is silent on one that only looks like it.

First those on online pods, of the service demo, then those on offline pods, of the service ages.
"""

from pathlib import Path

import pytest

from tests.conf.rule_files import rule_groups, written
from tests.promtool import annotations, firing

Histories = dict[str, str]  # series -> values, a minute apart

SERVICE = """
service_name = "demo"
username = "like"
timeout_second = 10
gpu_memory = 4
"""
REGION = "na"  # where a pod has a card to itself
POD = 'namespace="like",service="demo",pod="a"'
OTHER_POD = 'namespace="like",service="demo",pod="b"'
CANARY_POD = 'namespace="like",service="demo",arm="canary",arm_of="demo",pod="demo-canary-c"'
GATEWAY = 'destination_namespace="like",destination_service="demo"'
GIB = 2**30


def requests(values: str, code: int = 200, reason: str = "", pod: str = POD) -> Histories:
    return {f'monopod_requests_total{{{pod},route="service",code="{code}",reason="{reason}"}}': values}


def answers(bound: str, values: str, pod: str = POD) -> Histories:
    return {f'monopod_answer_duration_seconds_bucket{{{pod},route="service",le="{bound}"}}': values}


def restarts(values: str, container: str = "demo") -> Histories:
    labels = f'namespace="like",pod="a",uid="1",container="{container}"'
    return {f"kube_pod_container_status_restarts_total{{{labels}}}": values}


def failed_pod(name: str, values: str) -> Histories:
    return {f'kube_pod_status_phase{{namespace="like",pod="{name}",uid="{name}",phase="Failed"}}': values}


def canary_driven(at: int) -> Histories:
    labels = 'namespace="like",service="demo",track="prod",step="step 2 of 3"'
    return {f"service:monopod_canary_driven:timestamp{{{labels}}}": f"{at}x60"}


def deployment(unavailable: str, updated: str, wanted: str, of: str = "demo") -> Histories:
    figures = {"status_replicas_unavailable": unavailable, "status_replicas_updated": updated, "spec_replicas": wanted}
    labels = f'namespace="like",deployment="{of}"'
    return {f"kube_deployment_{name}{{{labels}}}": values for name, values in figures.items()}


def pod(name: str, values: str, labels: str = POD) -> Histories:
    return {f"{name}{{{labels}}}": values}


def gateway(counter: str, values: str, labels: str = GATEWAY) -> Histories:
    return {f"envoy_cluster_{counter}{{{labels}}}": values}


def card(gib: int) -> Histories:
    return pod("monopod_gpu_device_used_bytes", f"{gib * GIB}x60", f'{POD},card="GPU-a"')


def memory(share: float, labels: str = POD) -> Histories:
    return pod("process_resident_memory_bytes", f"{share * 2 * GIB:.0f}x60", labels)


def cores(share: float) -> Histories:
    return pod("process_cpu_seconds_total", f"0+{share * 60}x60")


def queue_age(values: str) -> Histories:
    return {f'monopod_queue_oldest_age_seconds{{{POD},model="demo"}}': values}


def refused(values: str, reason: str = "queue_full") -> Histories:
    return {f'monopod_shed_total{{{POD},reason="{reason}"}}': values}


def reload_failed(values: str, labels: str = POD) -> Histories:
    return {f'monopod_reload_failed{{{labels},file="labels.txt"}}': values}


WELL: Histories = {
    **pod("up", "1x60"),
    **pod("monopod_ready", "1x60"),
    **requests("0+60x60"),
    **requests("0x60", 500, "internal"),
    **{key: values for le in ("0.1", "5.0", "6.0", "8.0", "10.0", "+Inf") for key, values in answers(le, "0+60x60").items()},
    **queue_age("0x60"),
    **refused("0x60"),
    **memory(0.5),
    **pod("monopod_memory_limit_bytes", f"{2 * GIB}x60"),
    **cores(0.5),
    **pod("monopod_recycles", "0x60"),
    **pod("monopod_recycle_due", "0x60"),
    **pod("monopod_cpu_cores", "1x60"),
    **pod("monopod_tmp_bytes", "1x60"),
    **pod("monopod_tmp_limit_bytes", "100x60"),
    **card(3),
    **pod("monopod_gpu_memory_declared_bytes", f"{4 * GIB}x60"),
    **pod("process_start_time_seconds", "1000x60"),
    **restarts("0x60"),
    **reload_failed("0x60"),
    **failed_pod("demo-7d9f8b6c5-fw9zn", "0x60"),
    **deployment("0x60", "2x60", "2x60"),
    **gateway("retry_or_shadow_abandoned", "0x60"),
    **gateway("upstream_rq_retry_overflow", "0x60"),
    **gateway("upstream_rq_retry_limit_exceeded", "0x60"),
}
NO_STATE = {name: "_x60" for name in WELL if name.startswith("kube_")}
NO_GATEWAY = {name: "_x60" for name in WELL if name.startswith("envoy_")}
SLOW_TAIL = {  # 2 % of the answers take more than 8 seconds for the last twenty minutes
    key: values for le in ("0.1", "5.0", "6.0", "8.0") for key, values in answers(le, "0+60x40 2458.8+58.8x19").items()
}

# A history beside WELL -> the alerts that fire after an hour of it.
CASES: dict[str, tuple[Histories, set[str]]] = {
    "all is well": ({}, set()),
    "nothing reads Kubernetes' state nor the gateway": ({**NO_STATE, **NO_GATEWAY}, set()),
    "the only pod is not ready": (pod("monopod_ready", "1x50 0x10"), {"NoPodAnswers"}),
    "one of two pods is not ready": ({**pod("monopod_ready", "1x50 0x10"), **pod("monopod_ready", "1x60", OTHER_POD)}, set()),
    "the only pod of its own is not ready beside a canary's": (
        {**pod("monopod_ready", "1x50 0x10"), **pod("monopod_ready", "1x60", CANARY_POD)},
        {"NoPodAnswers"},
    ),
    "the only pod of its own is not scraped beside a canary's": (
        {**pod("up", "1x50 0x10"), **pod("up", "1x60", CANARY_POD)},
        {"NothingScraped"},
    ),
    "a canary's pod holds nine tenths of its memory": (
        {**memory(0.9, CANARY_POD), **pod("monopod_memory_limit_bytes", f"{2 * GIB}x60", CANARY_POD)},
        set(),
    ),
    "no pod is scraped": (pod("up", "1x50 0x10"), {"NothingScraped"}),
    "one of two pods is not scraped": ({**pod("up", "1x50 0x10"), **pod("up", "1x60", OTHER_POD)}, set()),
    "requests are refused for half an hour": (refused("0x30 0+2x30"), {"Overloaded"}),
    "requests are refused for five minutes": (refused("0x55 0+2x5"), set()),
    "slow bodies are refused for half an hour": (refused("0x30 0+2x30", "slow_body"), set()),
    "one in fifty answers comes near the deadline": (SLOW_TAIL, {"Slow"}),
    "a request waits for over half of its deadline": (queue_age("0x50 6x10"), {"QueueOld"}),
    "a request waits for less than half of its deadline": (queue_age("0x50 4x10"), set()),
    "a pod holds three quarters of its memory": (memory(0.75), {"MemoryHigh"}),
    "a pod holds nine tenths of its memory": (memory(0.9), {"MemoryHigh", "MemoryNearLimit"}),
    "a pod holds 69 % of its memory": (memory(0.69), set()),
    "the cores are busy": (cores(0.85), {"CoresHigh"}),
    "the cores are all busy": (cores(0.97), {"CoresHigh", "CoresNearLimit"}),
    "the cores are busy for 79 %": (cores(0.79), set()),
    "one of two pods uses all of its cores": (
        {**cores(1.0), **pod("process_cpu_seconds_total", "0+6x60", OTHER_POD), **pod("monopod_cpu_cores", "1x60", OTHER_POD)},
        set(),
    ),
    "/tmp fills": (pod("monopod_tmp_bytes", "85x60"), {"TmpNearlyFull"}),
    "/tmp is three quarters full": (pod("monopod_tmp_bytes", "75x60"), set()),
    "a pod's card holds more than declared": (card(5), {"CardOverDeclared"}),
    "a pod's card holds what is declared": (card(4), set()),
    "a pod restarts three times": (restarts("0x40 1 2 3x17"), {"Restarts"}),
    "a pod restarts twice": (restarts("0x40 1 2x18"), set()),
    "another service's pod restarts three times": (restarts("0x40 1 2 3x17", "demo-x"), set()),
    "a pod ends for its memory twice in half an hour": (
        {**restarts("0x20 1x20 2x19"), **pod("monopod_recycles", "0x20 1x20 2x19")},
        {"Leaking"},
    ),
    "the only pod of a service leaks": (pod("monopod_recycle_due", "0x40 1x20"), {"Leaking"}),
    "a pod ended for its memory two hours ago": (pod("monopod_recycles", "1x60"), set()),
    "a process restarts three times, and nothing reads Kubernetes' state": (
        {**NO_STATE, **pod("process_start_time_seconds", "1000x40 2000 3000 4000x17")},
        {"Restarts"},
    ),
    "a pod is evicted": (failed_pod("demo-7d9f8b6c5-x2k4q", "0x50 1x10"), {"PodsLost"}),
    "a pod of a canary is evicted": (failed_pod("demo-canary-7d9f8b6c5-x2k4q", "0x50 1x10"), {"PodsLost"}),
    "a node is gone with the pod that it lost": (failed_pod("demo-7d9f8b6c5-x2k4q", "_x50 1x10"), {"PodsLost"}),
    "a pod was evicted over an hour ago": (failed_pod("demo-7d9f8b6c5-x2k4q", "1x60"), set()),
    "a pod of another service is evicted": (failed_pod("demo-x-7d9f8b6c5-x2k4q", "0x50 1x10"), set()),
    "nobody drives a canary": (canary_driven(1200), {"CanaryNotDriven"}),
    "a command drives a canary": (canary_driven(3000), set()),
    "a changed file cannot be loaded": (reload_failed("0x50 1x10"), {"ReloadFailing"}),
    "a changed file could not be loaded for a while": (reload_failed("0x40 1x10 0x10"), set()),
    "a new pod does not come up": (deployment("0x40 1x20", "2x40 1x20", "2x60"), {"ReleaseStuck"}),
    "the only new pod does not come up beside the old one": (deployment("0x40 1x20", "1x60", "1x60"), {"ReleaseStuck"}),
    "a rollout takes long and moves on": (deployment("0x20 1x40", "30x20 0 0 0+0.25x38", "30x60"), set()),
    "a rollout has just begun": (deployment("0x57 1x3", "2x57 1x3", "2x60"), set()),
    "a gateway gives retries up for their body's size": (
        gateway("retry_or_shadow_abandoned", "0x50 0+2x10"),
        {"RetriesGivenUp"},
    ),
    "a gateway gives retries up as too many": (gateway("upstream_rq_retry_overflow", "0x50 0+2x10"), {"RetriesGivenUp"}),
    "a gateway sends requests often enough, in vain": (
        gateway("upstream_rq_retry_limit_exceeded", "0x50 0+2x10"),
        {"RetriesGivenUp"},
    ),
    "a gateway gives three retries up": (gateway("retry_or_shadow_abandoned", "0x50 3x10"), set()),
    "a gateway gives another service's retries up": (
        gateway("retry_or_shadow_abandoned", "0x50 0+2x10", 'destination_namespace="like",destination_service="demo-x"'),
        set(),
    ),
    "a client's mistakes are most of the requests": (requests("0+600x60", 400, "bad_input"), set()),
    "clients leave too little time": (requests("0+60x60", 504, "short_deadline"), set()),
}


AGES = """
service_name = "ages"
username = "like"
replicas = 0
offline_source = "kafka:videos"
offline_sinks = ["kafka:ages"]
offline_lag_per_replica = 1000
"""
OFFLINE_POD = 'namespace="like",service="ages-offline",pod="a"'
OTHER_OFFLINE_POD = 'namespace="like",service="ages-offline",pod="b"'


def offline(name: str, values: str, labels: str = OFFLINE_POD) -> Histories:
    return pod(name, values, labels)


def lag(values: str, partition: int = 0, labels: str = OFFLINE_POD) -> Histories:
    return {f'monopod_offline_lag_records{{{labels},topic="videos",partition="{partition}"}}': values}


def records(outcome: str, values: str) -> Histories:
    return {f'monopod_offline_records_total{{{OFFLINE_POD},outcome="{outcome}"}}': values}


def away(values: str, labels: str = OFFLINE_POD) -> Histories:
    return {f'monopod_offline_sink_away_seconds{{{labels},sink="kafka:ages"}}': values}


def lost(values: str) -> Histories:
    return offline("monopod_offline_lost_records_total", values)


READS_WELL: Histories = {
    **offline("up", "1x60"),
    **offline("monopod_ready", "1x60"),
    **lag("50x60"),
    **records("answered", "0+600x60"),
    **records("dead", "0x60"),
    **offline("monopod_offline_held", "0x60"),
    **offline("monopod_offline_brokers_away_seconds", "0x60"),
    **away("0x60"),
    **lost("0x60"),
    **memory(0.5, OFFLINE_POD),
    **offline("monopod_memory_limit_bytes", f"{2 * GIB}x60"),
    **offline("monopod_tmp_bytes", "1x60"),
    **offline("monopod_tmp_limit_bytes", "100x60"),
    **offline("process_start_time_seconds", "1000x60"),
    **restarts("0x60", "ages-offline"),
    **reload_failed("0x60", OFFLINE_POD),
    **deployment("0x60", "2x60", "2x60", "ages-offline"),
}

# A history beside READS_WELL -> the alerts that fire after an hour of it.
OFFLINE_CASES: dict[str, tuple[Histories, set[str]]] = {
    "all is well": ({}, set()),
    "the only pod is not ready": (offline("monopod_ready", "1x50 0x10"), {"OfflineNotReady"}),
    "the only pod is not ready for a moment": (offline("monopod_ready", "1x57 0x3"), set()),
    "one of two pods is not ready": (
        {**offline("monopod_ready", "1x50 0x10"), **offline("monopod_ready", "1x60", OTHER_OFFLINE_POD)},
        set(),
    ),
    "no pod is scraped": (offline("up", "1x50 0x10"), {"NothingScraped"}),
    "nothing is finished though records wait": (records("answered", "0+600x40 24000x20"), {"OfflineStandsStill"}),
    "nothing is finished for ten minutes though records wait": (records("answered", "0+600x50 30000x10"), set()),
    "nothing is finished, and no record waits": ({**records("answered", "0+600x40 24000x20"), **lag("50x40 0x20")}, set()),
    "only dead letters are finished": ({**records("answered", "0x60"), **records("dead", "0+600x60")}, {"OfflineDeadLetters"}),
    "nothing was ever finished": ({**records("answered", "_x60"), **records("dead", "_x60")}, {"OfflineStandsStill"}),
    "the brokers are away for nine minutes, though no record waits": (
        {
            **offline("monopod_offline_brokers_away_seconds", "0x50 0+60x9"),
            **lag("0x60"),
            **records("answered", "0+600x50 30000x10"),
        },
        {"OfflineBrokersAway"},
    ),
    "the brokers are away for four minutes": (offline("monopod_offline_brokers_away_seconds", "0x56 0+60x4"), set()),
    "lag grows for half an hour": (lag("50x30 50+100x30"), {"OfflineLagGrows"}),
    "lag grows for ten minutes": (lag("50x50 50+200x10"), set()),
    "lag grows and stays small": (lag("50x30 50+10x30"), set()),
    "much lag shrinks": (lag("90000-1000x60"), set()),
    "a partition's lag is told by two pods for a while": ({**lag("900x60"), **lag("_x40 900x20", 0, OTHER_OFFLINE_POD)}, set()),
    "two partitions grow at two pods": (
        {**lag("50x30 50+50x30"), **lag("50x30 50+50x30", 1, OTHER_OFFLINE_POD)},
        {"OfflineLagGrows"},
    ),
    "reading is held": (offline("monopod_offline_held", "0x59 1"), {"OfflineHeld"}),
    "reading was held": (offline("monopod_offline_held", "0x30 1x20 0x9"), set()),
    "a sink is away for nine minutes": (away("0x50 0+60x9"), {"OfflineSinkWaits"}),
    "a sink is away for four minutes": (away("0x56 0+60x4"), set()),
    "two of a hundred records are dead": (records("dead", "0x30 0+12x30"), {"OfflineDeadLetters"}),
    "one of two hundred records is dead": (records("dead", "0x30 0+3x30"), set()),
    "three of few records are dead": ({**records("answered", "0+1x60"), **records("dead", "0x57 1 2 3")}, set()),
    "retention takes records": (lost("0x55 7x5"), {"OfflineRecordsLost"}),
    "retention took records an hour ago": (lost("0 7x60"), set()),
    "retention took records before a new pod was read": (
        {f"monopod_offline_lost_records_total{{{OTHER_OFFLINE_POD}}}": "_x55 7x5"},
        {"OfflineRecordsLost"},
    ),
    "a pod holds nine tenths of its memory": (memory(0.9, OFFLINE_POD), {"MemoryHigh", "MemoryNearLimit"}),
    "/tmp fills": (offline("monopod_tmp_bytes", "85x60"), {"TmpNearlyFull"}),
    "a pod is evicted": (failed_pod("ages-offline-7d9f8b6c5-x2k4q", "0x50 1x10"), {"PodsLost"}),
    "an online pod is evicted": (failed_pod("ages-7d9f8b6c5-x2k4q", "0x50 1x10"), set()),
    "a pod restarts three times": (restarts("0x40 1 2 3x17", "ages-offline"), {"Restarts"}),
    "an online pod restarts three times": (restarts("0x40 1 2 3x17", "ages"), set()),
    "a changed file cannot be loaded": (reload_failed("0x50 1x10", OFFLINE_POD), {"ReloadFailing"}),
    "a new pod does not come up": (deployment("0x40 1x20", "2x40 1x20", "2x60", "ages-offline"), {"ReleaseStuck"}),
}

KINDS = {"online": (SERVICE, REGION, WELL, CASES), "offline": (AGES, "eu", READS_WELL, OFFLINE_CASES)}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for kind, (service, region, _, _) in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        (folder / "value.py").write_text(service)
        found[kind] = written(rule_groups(folder, ("prod",), region), folder / "rules.yaml")
    return found


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, (*_, cases) in KINDS.items() for case in cases])
def test_an_alert_fires_on_its_trouble_and_no_other_does(kind: str, case: str, rules: dict[str, Path], tmp_path: Path) -> None:
    _, _, well, cases = KINDS[kind]
    histories, names = cases[case]
    assert firing(rules[kind], {**well, **histories}, "1h", tmp_path) == names


@pytest.mark.parametrize("kind", KINDS)
def test_every_alert_has_a_history_for_it_and_the_histories_name_no_other(kind: str, rules: dict[str, Path]) -> None:
    _, region, _, cases = KINDS[kind]
    groups = rule_groups(rules[kind].parent, ("prod",), region)
    known = {rule["alert"] for group in groups if "objectives" not in group["name"] for rule in group["rules"]}
    assert set().union(*(names for _, names in cases.values())) == known


@pytest.mark.parametrize(
    ("histories", "names"),
    [
        (requests("0x40 0+6x20", 500, "internal"), {"ServerErrors"}),
        (requests("0x58 1x2", 500, "internal"), set()),
        ({**requests("0x60"), **requests("0x40 0+0.2x20", 500, "internal")}, set()),
        ({**requests("0+60x60", 500, "internal"), **pod("monopod_ready", "0x60")}, {"ServerErrors", "NoPodAnswers"}),
    ],
    ids=["a tenth of the requests fails", "one request fails", "a few requests fail", "all fail"],
)
def test_a_release_that_is_tried_in_grey_warns_and_wakes_nobody(histories: Histories, names: set[str], tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE)
    groups = rule_groups(tmp_path, ("grey",))
    assert {rule["labels"]["severity"] for group in groups for rule in group["rules"]} == {"warning"}
    grey = {
        name.replace('namespace="like",service', 'namespace="grey",service'): values
        for name, values in {**WELL, **histories}.items()
        if not name.startswith(("kube_", "envoy_"))
    }
    assert firing(written(groups, tmp_path / "rules.yaml"), grey, "1h", tmp_path) == names


def test_lost_pods_are_named(rules: dict[str, Path], tmp_path: Path) -> None:
    lost = {**failed_pod("demo-7d9f8b6c5-x2k4q", "0x50 1x10"), **failed_pod("demo-7d9f8b6c5-fw9zn", "0x40 1x20")}
    (told,) = annotations(rules["online"], "PodsLost", {**WELL, **lost}, "1h", tmp_path)
    words = "like/demo: 2 pods were evicted or failed in the last hour: "
    assert told["summary"].startswith(words)
    assert set(told["summary"].removeprefix(words).split(", ")) == {"demo-7d9f8b6c5-x2k4q", "demo-7d9f8b6c5-fw9zn"}


def test_levels_that_a_service_sets_are_those_of_its_alerts(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE + "memory_levels = [40, 60]\ncpu_levels = [30, 60]\n")
    path = written(rule_groups(tmp_path, ("prod",), REGION), tmp_path / "rules.yaml")
    assert firing(path, WELL, "1h", tmp_path) == {"MemoryHigh", "CoresHigh"}


def test_slow_records_and_a_low_rate_make_the_pause_longer_that_counts_as_standing_still(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(AGES + "offline_timeout_second = 1200\n")
    rules = written(rule_groups(tmp_path, ("prod",), "eu"), tmp_path / "rules.yaml")
    assert firing(rules, {**READS_WELL, **records("answered", "0+600x40 24000x20")}, "1h", tmp_path) == set()


def test_offline_pods_of_grey_wake_nobody(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(AGES)
    rules = [rule for group in rule_groups(tmp_path, ("grey",)) for rule in group["rules"]]
    assert {rule["labels"]["severity"] for rule in rules} == {"warning"}
    assert {rule["labels"]["service"] for rule in rules} == {"ages-offline"}
