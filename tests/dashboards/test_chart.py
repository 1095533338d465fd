"""The objects that charts/monitoring makes of the dashboards and of the gateways' series, rendered by helm.

The rules of the PodMonitor are followed here as Prometheus follows them: one after the other, each on the whole text.
"""

import re
from typing import Any

import pytest

from conf.render.chart_values import chart_values
from serving.settings.declarations import RESERVED_USERS
from tests.charts import helm
from tests.conf import golden
from tests.dashboards.written import FOLDER, NAMES
from tests.running import ROOT

pytestmark = pytest.mark.cluster  # helm comes with the cluster's tools
Labels = dict[str, str]


def rendered(routing: str, **more: Any) -> list[helm.Item]:
    regions = golden.regions(routing)
    values = chart_values(regions, regions.regions["hk"], ("monitoring",))["monitoring"]
    return helm.rendered(ROOT / "charts" / "monitoring", {**values, **more})


def kept(labels: Labels, routing: str) -> Labels | None:
    """Return a series of the gateway as Prometheus keeps it, None where it drops it."""
    (monitor,) = [item for item in rendered(routing) if item["kind"] == "PodMonitor"]
    found = dict(labels)
    for rule in monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]:
        text = rule.get("separator", ";").join(found.get(label, "") for label in rule["sourceLabels"])
        match = re.fullmatch(rule["regex"], text)
        if rule.get("action", "replace") == "replace" and match:
            found[rule["targetLabel"]] = match.expand(rule["replacement"].replace("$", "\\"))
        if rule.get("action") == "keep" and not match or rule.get("action") == "drop" and match:
            return None
    return found


def test_each_dashboard_is_a_configmap_that_grafanas_sidecar_finds_with_the_committed_text() -> None:
    found = {item["metadata"]["name"]: item for item in rendered("istio") if item["kind"] == "ConfigMap"}
    for name in NAMES:
        item = found[f"monopod-dashboard-{name}"]
        assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert item["metadata"]["annotations"]["grafana_folder"] == "Monopod"
        assert item["data"] == {f"monopod-{name}.json": (FOLDER / f"{name}.json").read_text(encoding="utf-8").strip()}


def test_a_value_leaves_the_dashboards_the_records_and_the_monitors_out() -> None:
    off = {"create": False}
    made = {item["metadata"]["name"] for item in rendered("istio")}
    left = {
        item["metadata"]["name"] for item in rendered("istio", dashboards=off, recording=off, monitors={**off, "sizes": False})
    }
    gone = {f"monopod-dashboard-{name}" for name in NAMES} | {"monopod-fleet-records", "monopod-gateway", "monitoring-sizes"}
    assert made - left == gone


@pytest.mark.parametrize(
    ("routing", "cluster"),
    [
        ("istio", {"cluster_name": "outbound|80||demo.like.svc.cluster.local"}),
        ("gateway-api", {"envoy_cluster_name": "httproute/like/demo/rule/1"}),
    ],
)
def test_both_gateways_series_have_the_services_name_and_namespace(routing: str, cluster: Labels) -> None:
    found = kept({"__name__": "envoy_cluster_upstream_rq_total", **cluster}, routing)
    assert found is not None
    assert (found["destination_service"], found["destination_namespace"]) == ("demo", "like")
    assert kept({"__name__": "envoy_cluster_upstream_cx_http2_total", **cluster}, routing) is None
    assert kept({"__name__": "envoy_cluster_upstream_rq_total", "envoy_cluster_name": "xds_cluster"}, routing) is None


def test_istios_classes_of_answers_have_the_name_that_envoy_gives_them_elsewhere() -> None:
    cluster = {"cluster_name": "outbound|80||demo.like.svc.cluster.local"}
    found = kept({"__name__": "envoy_cluster_upstream_rq", "response_code_class": "5xx", **cluster}, "istio")
    assert found is not None
    assert (found["__name__"], found["envoy_response_code_class"]) == ("envoy_cluster_upstream_rq_xx", "5")
    assert kept({"__name__": "envoy_cluster_upstream_rq", "response_code": "503", **cluster}, "istio") is None


def test_the_clusters_own_services_are_left_out_and_no_users_are() -> None:
    def is_kept(namespace: str) -> bool:
        name = f"outbound|80||demo.{namespace}.svc.cluster.local"
        return kept({"__name__": "envoy_cluster_upstream_rq_total", "cluster_name": name}, "istio") is not None

    tracks = ("grey", "ab-test")
    assert [user for user in RESERVED_USERS if user not in tracks and is_kept(f"{user}x" if user.endswith("-") else user)] == []
    assert all(map(is_kept, ("like", "defaults", "monitor", *tracks)))
