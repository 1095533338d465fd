"""A Gateway that charts/cluster makes stays with its buffers, whatever becomes of the release."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from conf.render.chart_values import cluster_values
from tests.charts import helm
from tests.conf import golden
from tests.conf.cluster import Cluster
from tests.running import ROOT

pytestmark = pytest.mark.cluster

CHART = ROOT / "charts/cluster"
RELEASE, PROXIES = "charts-gateway-release", "charts-gateway-proxies"
KINDS = {
    "istio": ("networking.istio.io/v1/namespaces/{}/gateways", "networking.istio.io/v1alpha3/namespaces/{}/envoyfilters"),
    "gateway-api": (
        "gateway.networking.k8s.io/v1/namespaces/{}/gateways",
        "gateway.envoyproxy.io/v1alpha1/namespaces/{}/clienttrafficpolicies",
    ),
}


@pytest.fixture(scope="module")
def cluster(eu: Cluster) -> Iterator[Cluster]:
    """The simulated region, whose API server knows all kinds. No controller takes the Gateways there."""
    with eu.own_namespaces(RELEASE, PROXIES):
        yield eu


def values(routing: str) -> dict[str, Any]:
    """Return the values of a region that makes a Gateway, all in namespaces of this test."""
    regions = golden.regions(routing)
    found = copy.deepcopy(cluster_values(regions, regions.regions["eu"]))
    found |= {"namespaces": [], "prometheus": {"namespace": RELEASE, "rules": [], "accounts": []}}
    found["accounts"] = {"namespace": RELEASE, "names": ["people"]}
    own = {"create": True, "createNamespace": False, "namespace": RELEASE, "selector": {"istio": "none"}, "class": "none"}
    found["gateway"] |= own
    for buffer in found["gateway"]["buffers"]:
        buffer["metadata"]["namespace"] = PROXIES if routing == "istio" else RELEASE
    return found


@pytest.mark.parametrize("routing", KINDS)
def test_a_gateway_and_its_buffers_survive_the_release(cluster: Cluster, routing: str) -> None:
    gateways, buffers = (f"/apis/{kind}" for kind in KINDS[routing])
    beside = f"{buffers.format(PROXIES if routing == 'istio' else RELEASE)}/monopod-buffer-limit"

    def uids() -> list[str]:
        return [cluster.ask("get", each)["metadata"]["uid"] for each in (f"{gateways.format(RELEASE)}/gateway", beside)]

    def run(verb: str, *words: str, given: dict[str, Any] | None = None) -> None:
        helm.done(verb, "cluster", *words, "--namespace", RELEASE, values=given, context=cluster.context)

    mine, other, without = values(routing), values(routing), values(routing)
    other["gateway"] |= {"host": "other.example.com"}
    without["gateway"] |= {"create": False, "buffers": []}
    run("install", str(CHART), given=mine)
    before = uids()
    run("upgrade", str(CHART), given=other)
    run("rollback")
    assert "other.example.com" not in str(cluster.ask("get", f"{gateways.format(RELEASE)}/gateway")["spec"])
    for verb, given in (("upgrade", without), ("upgrade", mine), ("uninstall", None), ("install", mine), ("uninstall", None)):
        run(verb, *([str(CHART)] if given else []), given=given)
        assert uids() == before, (verb, given)
