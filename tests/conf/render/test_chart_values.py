"""The values of the charts: namespaces, accounts, rights, quotas and the gateway, and how alerts reach people."""

import json
from dataclasses import replace
from typing import Any

import pytest

from conf.base.object_references import Item
from conf.clusters.regions import Alerting, Gpu, Quota, Region, Regions
from conf.plan.routes import gateway_plan
from conf.render.chart_values import cluster_values, monitoring_values
from tests.conf import golden

REGIONS = golden.regions()


def values(region: str, regions: Regions = REGIONS) -> dict[str, Any]:
    return cluster_values(regions, regions.regions[region])


def with_region(region: str, **changes: Any) -> dict[str, Any]:
    changed: Region = replace(REGIONS.regions[region], **changes)
    return cluster_values(REGIONS, changed)


def test_each_region_gets_its_users_and_the_tracks_that_run_there() -> None:
    found = {name: [(each["name"], each["account"]) for each in values(name)["namespaces"]] for name in ("hk", "eu", "na")}
    users = [("like", "deploy"), ("test-team", "deploy")]
    assert found == {"hk": [("ab-test", "ab"), *users], "eu": users, "na": [("grey", "grey"), *users]}
    assert [values(name)["accounts"]["names"] for name in ("hk", "eu", "na")] == [
        ["ab", "deploy", "people"],
        ["deploy", "people"],
        ["grey", "deploy", "people"],
    ]


def test_a_user_who_opens_ports_of_the_nodes_is_outside_the_restricted_standard() -> None:
    assert {each["name"]: each["podSecurity"] for each in values("eu")["namespaces"]} == {
        "like": "restricted",
        "test-team": "privileged",
    }


def test_where_pods_have_sidecars_their_namespaces_are_injected() -> None:
    assert all(each["labels"] == {"istio-injection": "enabled"} for each in values("hk")["namespaces"])
    assert all(each["labels"] == {} for each in values("eu")["namespaces"])


def test_a_quota_has_the_names_of_kubernetes_and_of_the_regions_cards() -> None:
    assert values("hk")["quota"] == {
        "pods": "100",
        "requests.cpu": "200",
        "requests.memory": "800Gi",
        "requests.aliyun.com/gpu-mem": "320",
    }
    assert values("eu")["quota"] == {}


@pytest.mark.parametrize(
    ("gpu", "amount"),
    [
        (Gpu("nvidia.com/gpumem", "MiB"), {"requests.nvidia.com/gpumem": "40960"}),
        (Gpu("nvidia.com/gpu", "card"), {"requests.nvidia.com/gpu": "3"}),  # 40 GiB in cards of 15
        (None, {}),
    ],
)
def test_gpu_memory_is_counted_in_the_regions_own_unit(gpu: Gpu | None, amount: dict[str, str]) -> None:
    assert with_region("hk", quota=Quota(gpu_memory=40.0), gpu=gpu)["quota"] == amount


def test_the_gateways_buffer_has_the_figure_of_the_plan() -> None:
    for name in ("hk", "eu"):
        planned, (item,) = gateway_plan(REGIONS.regions[name]), values(name)["gateway"]["buffers"]
        assert planned is not None
        assert (item["kind"], item["metadata"]["namespace"]) == (planned.kind, planned.namespace)
        assert str(planned.limit) in json.dumps(item["spec"])
    without = replace(REGIONS.regions["na"].gateway, buffer_limit="")
    assert with_region("na", gateway=without)["gateway"]["buffers"] == []


def test_only_a_gateway_of_its_own_namespace_brings_the_namespace() -> None:
    assert [values(name)["gateway"]["createNamespace"] for name in ("hk", "eu", "na")] == [False, True, False]


def test_people_may_ask_the_service_that_the_url_of_prometheus_names() -> None:
    found = values("hk")["prometheus"]
    (rule,) = found["rules"]
    assert (found["namespace"], rule["resources"], rule["verbs"]) == ("monitoring", ["services/proxy"], ["get"])
    assert "http:prometheus:9090" in rule["resourceNames"]
    other = replace(REGIONS.regions["hk"].prometheus, url="https://metrics.other.svc")
    assert with_region("hk", prometheus=other)["prometheus"]["namespace"] == "other"
    assert "https:metrics:443" in with_region("hk", prometheus=other)["prometheus"]["rules"][0]["resourceNames"]


def test_a_prometheus_outside_the_cluster_needs_no_right() -> None:
    outside = replace(REGIONS.regions["hk"].prometheus, url="https://prometheus.example.com")
    assert with_region("hk", prometheus=outside)["prometheus"] == {"namespace": "monitoring", "rules": [], "accounts": []}


def monitoring(alerting: Alerting | None) -> Item:
    return monitoring_values(REGIONS, replace(REGIONS.regions["hk"], alerting=alerting))


def test_a_region_with_alerting_turns_the_relay_and_the_routes_on() -> None:
    found = monitoring(Alerting(webhook=True))
    assert found["relay"] == {
        "create": True,
        "image": "registry.example.com/monopod/relay:0.2.0",
        "secret": "monopod-relay",
        "receivers": ["robot", "webhook", "watchdog"],
        "proxy": "",
    }
    assert found["alertmanager"] == {"namespace": "monitoring", "create": True, "secret": "alertmanager-alertmanager"}


def test_a_dead_mans_switch_is_one_more_receiver_and_a_proxy_is_the_relays() -> None:
    relay = monitoring(Alerting(proxy="http://proxy.lan:3128"))["relay"]
    assert (relay["receivers"], relay["proxy"]) == (["robot", "watchdog"], "http://proxy.lan:3128")
    assert monitoring(Alerting(watchdog=False))["relay"]["receivers"] == ["robot"]


def test_alertmanagers_owner_may_keep_the_routes() -> None:
    found = monitoring(Alerting(routes=False, relay_image="registry.lan/relay:7"))
    assert (found["alertmanager"]["create"], found["relay"]["create"]) == (False, True)
    assert found["relay"]["image"] == "registry.lan/relay:7"


def test_a_region_without_alerting_leaves_both_to_the_charts_own_values() -> None:
    found = monitoring(None)
    assert "relay" not in found
    assert found["alertmanager"] == {"namespace": "monitoring"}
