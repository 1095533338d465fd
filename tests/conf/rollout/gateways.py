"""The gateways through which tests send requests: Envoy Gateway and Istio. Both lead to the same real node."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from conf.base.object_references import path
from conf.base.yaml_nodes import documents
from conf.clusters.regions import Region
from conf.doctor.cluster_check import BUFFER_OBJECTS
from conf.plan.routes import GatewayPlan, gateway_plan
from conf.render.templates import render_gateway
from tests.conf.cluster import Cluster
from tests.prerequisites import istio_gateway

NAMES = ("gateway-api", "istio")
# A run with `--dist loadgroup` gives each gateway's tests to one worker.
through_both = pytest.mark.parametrize(
    "gateway", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES], indirect=True, scope="module"
)


@dataclass(frozen=True)
class Gateway:
    """A gateway at a URL.

    The attributes routing and fields are a region's in regions.yaml. Its proxies are the pods with a label, and they show their
    counters at stats_port.
    """

    routing: str
    url: str
    fields: Mapping[str, str]
    proxies: str
    stats_port: int

    @property
    def region(self) -> dict[str, Any]:
        """Return the fields of a region that describe it."""
        return {"routing": self.routing, "gateway": dict(self.fields)}


LIMIT = {"buffer_limit": "4Mi"}
ENVOY_GATEWAY = Gateway(
    "gateway-api",
    os.environ.get("MONOPOD_TEST_GATEWAY", "http://127.0.0.1:30080"),
    {"namespace": "gateway", "name": "gateway", "pods": "envoy-gateway-system", **LIMIT},
    "gateway.envoyproxy.io/owning-gateway-name=gateway",
    19001,
)
ISTIO = {"namespace": "istio-system", "name": "public", "pods": "istio-ingress", **LIMIT}


def named(routing: str) -> Gateway:
    """Return a gateway. The test ends where it needs Istio's gateway and no variable names its address."""
    return ENVOY_GATEWAY if routing == "gateway-api" else Gateway("istio", istio_gateway(), ISTIO, "istio=ingress", 15090)


@contextmanager
def limited(cluster: Cluster, region: Region) -> Iterator[None]:
    """Create the objects that `monopod gateway` prints in a cluster for the length of a block."""
    unlimited(cluster, region)
    (item,) = documents(render_gateway(_wanted(region)))
    with cluster.having(_kind(region), item):
        yield


def unlimited(cluster: Cluster, region: Region) -> None:
    """Delete the objects that a killed run left."""
    where = f"{_kind(region)}/{_wanted(region).name}"
    if cluster.find(where):
        cluster.ask("delete", where)


def _wanted(region: Region) -> GatewayPlan:
    found = gateway_plan(region)
    assert found is not None
    return found


def _kind(region: Region) -> str:
    wanted = _wanted(region)
    return f"/apis/{BUFFER_OBJECTS[wanted.kind].format(wanted.namespace)}"


def counted(cluster: Cluster, gateway: Gateway, counter: str, service: str) -> float:
    """Return a service's counter, summed over the proxies since they started. counter: the name that Envoy gives it."""
    namespace = gateway.fields["pods"]
    pods = cluster.ask("get", path("Pod", namespace), labelSelector=gateway.proxies)["items"]
    line = re.compile(rf"^envoy_cluster_{counter}{{[^}}]*\b{re.escape(service)}\b[^}}]*}} (\S+)$", re.MULTILINE)
    pages = (
        cluster.text(f"{path('Pod', namespace, pod['metadata']['name'])}:{gateway.stats_port}/proxy/stats/prometheus")
        for pod in pods
    )
    return sum(float(value) for page in pages for value in line.findall(page))
