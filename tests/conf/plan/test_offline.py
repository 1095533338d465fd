"""Offline pods have a Deployment of their own: what it holds in each track, and that nothing of the online pods finds it."""

from dataclasses import replace
from typing import Any

import pytest

from conf.base.image_names import image
from conf.base.yaml_nodes import documents
from conf.clusters.regions import Kafka, Regions
from conf.plan.alerts import AlertingRule
from conf.plan.plan import OfflineWorkload, Own, Plan, offline_grace_period, plan
from conf.render.templates import render
from serving.settings import read
from tests.conf.golden import regions

BASE = 'service_name = "ages"\nusername = "like"\noffline_source = "kafka:videos"\n'
SINKS = 'offline_sinks = ["kafka:ages", "postgresql:public.ages", "stdout"]\noffline_secret = "ages"\n'


def plans(lines: str = "", track: str = "prod", of: Regions | None = None) -> dict[str, Plan]:
    value = read(BASE + SINKS + lines, "value.py", tuple(regions().regions))
    return {each.region: each for each in plan(value, of or regions(), track, image("r.example.com/like/ages:1.2"))}


def offline(each: Plan) -> OfflineWorkload:
    assert each.offline is not None
    return each.offline


def objects(each: Plan) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["kind"], item["metadata"]["name"]): item for item in documents(render(each))}


def with_kafka(kafka: Kafka) -> Regions:
    return replace(regions(), regions={name: replace(each, kafka=kafka) for name, each in regions().regions.items()})


def test_a_source_adds_a_deployment_without_a_service_and_a_route() -> None:
    found = objects(plans()["hk"])
    names = [kind for kind, name in found if name == "ages-offline"]
    assert names == ["ServiceAccount", "NetworkPolicy", "Deployment", "PodMonitor", "PrometheusRule"]
    assert ("Deployment", "ages") in found


def test_without_a_source_there_is_none() -> None:
    assert plans('hk_offline_source = ""\n')["hk"].offline is None
    assert plans("hk_offline_replicas = 0\n")["hk"].offline is None


def test_online_and_offline_pods_differ_in_command_ports_and_environment_alone() -> None:
    found = objects(plans('env_secret = "tokens"\n')["hk"])
    online, own = (found["Deployment", name]["spec"]["template"]["spec"] for name in ("ages", "ages-offline"))
    serves, reads = online["containers"][0], own["containers"][0]
    assert reads["command"] == ["python", "-m", "monopod", "offline"]
    assert [port["name"] for port in reads["ports"]] == ["admin"]
    assert reads["env"][: len(serves["env"]) - 1] == serves["env"][:-1]
    assert {each["name"]: each.get("value") for each in reads["env"] if each not in serves["env"]} == {
        "KAFKA_BROKERS": "kafka-1.hk.lan:9093,kafka-2.hk.lan:9093",
        "KAFKA_SECURITY": "sasl_ssl",
        "KAFKA_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_CA": "/etc/kafka/ca.crt",
    }
    assert [each["secretRef"]["name"] for each in reads["envFrom"]] == ["tokens", "ages"]
    assert [each["secretRef"]["name"] for each in serves["envFrom"]] == ["tokens"]
    for field in ("image", "resources", "securityContext", "readinessProbe", "livenessProbe"):
        assert reads[field] == serves[field], field
    for field in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert own[field] == online[field], field
    assert {"name": "kafka-ca", "mountPath": "/etc/kafka", "readOnly": True} in reads["volumeMounts"]
    assert "lifecycle" not in reads


def test_a_secret_that_holds_both_is_named_once() -> None:
    assert offline(plans('env_secret = "ages"\n')["eu"]).pod.env_secrets == ("ages",)


def test_no_selector_finds_the_pods_of_the_other_half() -> None:
    found = objects(plans("replicas = 2\n")["hk"])
    labels = {
        name: item["spec"]["template"]["metadata"]["labels"] for (kind, name), item in found.items() if kind == "Deployment"
    }
    for (kind, name), item in found.items():
        spec = item.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        wanted = selector.get("matchLabels", selector)
        finds = [pods for pods, own in labels.items() if wanted and kind != "ServiceMonitor" and wanted.items() <= own.items()]
        assert finds in ([], [name]), (kind, name)


def test_series_of_offline_pods_have_a_service_of_their_own() -> None:
    monitor = objects(plans()["hk"])["PodMonitor", "ages-offline"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"action": "replace", "targetLabel": "service", "replacement": "ages-offline"}]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_only_prometheus_may_call_an_offline_pod_and_only_its_admin_port() -> None:
    policy = objects(plans()["hk"])["NetworkPolicy", "ages-offline"]["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": 8081, "protocol": "TCP"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


@pytest.mark.parametrize(
    ("track", "region", "group", "sinks", "dead"),
    [
        ("prod", "hk", "g", ("kafka:ages", "postgresql:public.ages", "stdout"), "videos-g-dead"),
        ("grey", "na", "g-grey", ("kafka:ages-grey", "postgresql:public.ages_grey", "stdout"), "videos-g-grey-dead"),
        ("ab", "hk", "g-ab", ("kafka:ages-ab", "postgresql:public.ages_ab", "stdout"), "videos-g-ab-dead"),
    ],
)
def test_each_track_has_a_group_sinks_and_dead_letters_of_its_own(
    track: str, region: str, group: str, sinks: tuple[str, ...], dead: str
) -> None:
    found = offline(plans('offline_group = "g"\n', track)[region])
    assert (found.group, found.sinks, found.dead_letters, found.source) == (group, sinks, dead, "kafka:videos")


def test_grey_and_ab_have_one_pod_and_never_scale() -> None:
    lines = "offline_replicas = 3\noffline_max_replicas = 9\n"
    for track in ("grey", "ab"):
        for each in plans(lines, track).values():
            assert (offline(each).replicas, offline(each).sets_replicas) == (1, True)
            assert "scaledobject" not in offline(each).objects
    prod = offline(plans(lines)["hk"])
    assert (prod.replicas, prod.scaling.max_replicas, prod.sets_replicas) == (3, 9, False)


def test_a_service_without_replicas_reads_alone_in_every_track() -> None:
    for track in ("prod", "grey", "ab"):
        for each in plans("replicas = 0\n", track).values():
            assert (each.online, offline(each).replicas) == (None, 1)
            assert {name for _, name in objects(each)} == {"ages-offline"}


def test_a_region_without_replicas_reads_alone_and_grey_serves_as_prod_does_elsewhere() -> None:
    found = plans("na_replicas = 0\n")
    assert [(each.region, bool(each.online), bool(each.offline)) for each in found.values()] == [
        ("hk", True, True),
        ("eu", True, True),
        ("na", False, True),
    ]
    (grey,) = plans("na_replicas = 0\n", "grey").values()
    assert grey.region == "na"
    assert grey.online
    assert grey.offline


def test_own_alerts_stay_where_no_online_pods_have_them() -> None:
    value = read(BASE + SINKS + "na_replicas = 0\n", "value.py", tuple(regions().regions))
    own = (AlertingRule("Mine", "up == 0"),)
    found = {each.region: each for each in plan(value, regions(), "prod", image("r.example.com/x:1"), Own(own))}
    names = {name: [group.name for group in offline(each).rule_groups] for name, each in found.items()}
    assert names == {"hk": ["ages-offline"], "eu": ["ages-offline"], "na": ["ages-offline", "ages-offline-own"]}


def test_a_pod_has_the_time_to_finish_to_write_and_to_leave_the_group() -> None:
    found = plans("offline_revoke_second = 100\n")["hk"]
    settings = read(BASE + SINKS + "offline_revoke_second = 100\n", "value.py", tuple(regions().regions)).settings
    assert offline(found).pod.grace_period == offline_grace_period(settings) == 140
    (startup, *_) = offline(found).pod.probes
    assert startup.period * startup.failures == 30 + 10 + 100


def test_keda_scales_on_the_lag_of_the_tracks_group() -> None:
    found = objects(plans('offline_replicas = 2\noffline_max_replicas = 5\noffline_start = "earliest"\n')["eu"])
    spec = found["ScaledObject", "ages-offline"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["scaleTargetRef"]["name"]) == (2, 5, "ages-offline")
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}
    assert spec["triggers"] == [
        {
            "type": "kafka",
            "metricType": "AverageValue",
            "metadata": {
                "bootstrapServers": "kafka.eu.lan:9092",
                "consumerGroup": "like-ages",
                "topic": "videos",
                "lagThreshold": "1000",
                "offsetResetPolicy": "earliest",
                "allowIdleConsumers": "false",
                "limitToPartitionsWithLag": "false",
                "version": "2.8.0",
            },
        }
    ]
    assert "replicas" not in found["Deployment", "ages-offline"]["spec"]
    assert ("TriggerAuthentication", "ages-offline") not in found


@pytest.mark.parametrize(
    ("kafka", "metadata", "parameters"),
    [
        (Kafka(("k:1",), "ssl"), {"tls": "enable"}, []),
        (Kafka(("k:1",), "ssl", ca_secret="ca"), {"tls": "enable"}, ["ca ca ca.crt"]),
        (
            Kafka(("k:1",), "sasl_plaintext", "PLAIN"),
            {"sasl": "plaintext"},
            ["username ages KAFKA_USERNAME", "password ages KAFKA_PASSWORD"],
        ),
        (
            Kafka(("k:1",), "sasl_ssl", "SCRAM-SHA-256", "ca"),
            {"sasl": "scram_sha256", "tls": "enable"},
            ["username ages KAFKA_USERNAME", "password ages KAFKA_PASSWORD", "ca ca ca.crt"],
        ),
    ],
)
def test_keda_shows_the_brokers_what_they_ask_for(kafka: Kafka, metadata: dict[str, str], parameters: list[str]) -> None:
    found = objects(plans("offline_max_replicas = 5\n", of=with_kafka(kafka))["hk"])
    (trigger,) = found["ScaledObject", "ages-offline"]["spec"]["triggers"]
    assert {key: trigger["metadata"].get(key) for key in ("sasl", "tls") if key in trigger["metadata"]} == metadata
    shown = found.get(("TriggerAuthentication", "ages-offline"), {}).get("spec", {}).get("secretTargetRef", [])
    assert [f"{each['parameter']} {each['name']} {each['key']}" for each in shown] == parameters
    assert trigger.get("authenticationRef") == ({"name": "ages-offline"} if parameters else None)


def test_the_trigger_authentication_is_there_before_the_scaled_object_that_names_it() -> None:
    kinds = [kind for kind, _ in objects(plans("offline_max_replicas = 5\n")["hk"])]
    assert kinds.index("TriggerAuthentication") < kinds.index("ScaledObject")
