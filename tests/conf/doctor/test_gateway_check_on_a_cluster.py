"""The doctor's checks of gateways: whether Istio's selector finds pods, and how much of a request the proxies buffer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conf.base.object_references import path
from conf.base.yaml_nodes import documents
from conf.clusters.regions import load
from conf.plan.routes import gateway_plan
from conf.render.templates import render_gateway
from tests.conf.cluster import Cluster, Item, clusters
from tests.conf.doctor.test_cluster_check import doctor

pytestmark = pytest.mark.cluster

NAMESPACE = "gateway-check-test"
GATEWAY = f"{{namespace: {NAMESPACE}, name: public, pods: {NAMESPACE}, buffer_limit: 1Mi}}"
ISTIO = {"routing": "istio", "gateway": GATEWAY}
ENVOY_GATEWAY = {"routing": "gateway-api", "gateway": GATEWAY}
SELECTED = {"monopod-test": "proxy"}
FILTERS = f"/apis/networking.istio.io/v1alpha3/namespaces/{NAMESPACE}/envoyfilters"
POLICIES = f"/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{NAMESPACE}/clienttrafficpolicies"


@pytest.fixture(scope="module", autouse=True)
def hk() -> Iterator[Cluster]:
    server = clusters(["hk"])["hk"]
    with server.namespaces([NAMESPACE]):
        yield server


@pytest.fixture
def istio(hk: Cluster) -> Iterator[None]:
    """A Gateway of Istio's that selects pods by a label."""
    spec = {"selector": SELECTED, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}
    item: Item = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "public"}, "spec": spec}
    with hk.having(f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/gateways", item):
        yield


def printed(folder: Path) -> Any:
    """Return the object that `monopod gateway` prints for the doctor's last regions.yaml."""
    wanted = gateway_plan(load(folder / "regions.yaml").regions["hk"])
    assert wanted is not None
    (item,) = documents(render_gateway(wanted))
    return item


def seen(folder: Path, subject: str, region: Mapping[str, str]) -> dict[str, Any]:
    """Return the doctor's finding about one subject in a region."""
    return doctor(folder, "", NAMESPACE, {}, **region)[1][subject]


def buffer(folder: Path, region: Mapping[str, str]) -> dict[str, Any]:
    return seen(folder, "gateway buffer", region)


@pytest.mark.usefixtures("istio")
def test_a_gateway_whose_selector_finds_no_pod_is_told(tmp_path: Path, hk: Cluster) -> None:
    found = seen(tmp_path, "gateway", ISTIO)
    assert found["words"] == (
        f"Gateway {NAMESPACE}/public leads nowhere: no pod in {NAMESPACE} has the labels that it selects, monopod-test=proxy"
    )
    assert "the Gateway's selector, or gateway.pods" in found["cure"]
    spec = {"containers": [{"name": "proxy", "image": "none"}], "nodeSelector": {"monopod-test": "nowhere"}}
    pod: Item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "proxy", "labels": SELECTED}, "spec": spec}
    with hk.having(path("Pod", NAMESPACE), pod):
        found = seen(tmp_path, "gateway", ISTIO)
        assert found["words"].endswith(f"none of its 1 pods in {NAMESPACE} is ready")
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        hk.ask("patch", f"{path('Pod', NAMESPACE, 'proxy')}/status", ready, "application/merge-patch+json")
        found = seen(tmp_path, "gateway", ISTIO)
        assert (found["words"], found["cure"]) == (f"{NAMESPACE}/public is there", "")


def test_istios_proxies_buffer_what_regions_yaml_says_once_the_printed_filter_is_applied(tmp_path: Path, hk: Cluster) -> None:
    found = buffer(tmp_path, ISTIO)
    assert found["words"].startswith(f"no EnvoyFilter in {NAMESPACE} has the proxies buffer 1Mi: ")
    assert found["cure"] == "monopod gateway --region hk | kubectl --context hk apply -f -"
    with hk.having(FILTERS, printed(tmp_path)):
        assert buffer(tmp_path, ISTIO)["words"] == "requests of up to 1Mi are sent again"
        more = {**ISTIO, "gateway": GATEWAY.replace("1Mi", "2Mi")}
        assert "buffer 2Mi; one has them buffer 1Mi" in buffer(tmp_path, more)["words"]


def test_a_policy_of_envoy_gateway_counts_for_both_versions_of_http_unless_refused(tmp_path: Path, hk: Cluster) -> None:
    assert buffer(tmp_path, ENVOY_GATEWAY)["words"].startswith(
        f"no ClientTrafficPolicy in {NAMESPACE} has the proxies buffer 1Mi: "
    )
    with hk.having(POLICIES, printed(tmp_path)) as policy:
        assert buffer(tmp_path, ENVOY_GATEWAY)["cure"] == ""
        where = f"{POLICIES}/{policy['metadata']['name']}"
        hk.by_hand(where, {"spec": {"http2": None}})
        assert "has the proxies buffer 1Mi: " in buffer(tmp_path, ENVOY_GATEWAY)["words"]
        hk.by_hand(where, {"spec": {"http2": {"initialStreamWindowSize": "1024Ki"}}})
        assert buffer(tmp_path, ENVOY_GATEWAY)["cure"] == ""
        refused = {
            "type": "Accepted", "status": "False", "reason": "Conflicted", "message": "another policy has the Gateway",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        ancestor = {"ancestorRef": {"name": "public"}, "controllerName": "example.com/test", "conditions": [refused]}
        hk.ask("patch", f"{where}/status", {"status": {"ancestors": [ancestor]}}, "application/merge-patch+json")
        assert buffer(tmp_path, ENVOY_GATEWAY)["words"].endswith("has no effect: another policy has the Gateway")


def test_without_a_limit_the_proxies_own_is_named(tmp_path: Path) -> None:
    assert buffer(tmp_path, {})["words"] == "regions.yaml sets no buffer_limit: the proxies send requests of up to 32Ki again"
