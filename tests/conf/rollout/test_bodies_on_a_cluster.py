"""A gateway that has to send a body again loses some while its buffer is smaller than the body, and none otherwise.

A second endpoint of the service refuses every connection: it is the node's address, at a port that nobody listens on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf.base.object_references import path
from conf.clusters.regions import load
from tests.conf.cluster import Cluster, Item
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.gateways import counted, limited, through_both, unlimited
from tests.conf.rollout.load import curl, padded
from tests.conf.rollout.ready_pods import ready
from tests.conf.rollout.service_state import until, url
from tests.running import get

pytestmark = [pytest.mark.cluster, pytest.mark.by_gateway, pytest.mark.usefixtures("images"), through_both]
HTTP1, HTTP2 = "--http1.1", "--http2-prior-knowledge"
# Bytes: above what the proxies keep where nothing is set. Of a body by HTTP/2 Istio keeps 16 MiB, more than is sent here.
SIZES = {"gateway-api": {HTTP1: 60_000, HTTP2: 200_000}, "istio": {HTTP1: 2_000_000}}
REQUESTS = 30
NOBODY_LISTENS = 9


def leaves_none_out(cluster: Cluster, checkout: Checkout) -> None:
    """Let the gateway try a refusing endpoint again at once, so that half of all requests meet it."""
    if checkout.gateway.routing == "istio":
        spec: Item = {"trafficPolicy": {"outlierDetection": None}}
        cluster.by_hand(path("DestinationRule", checkout.user, checkout.name), {"spec": spec})
    else:
        cluster.by_hand(path("BackendTrafficPolicy", checkout.user, checkout.name), {"spec": {"healthCheck": None}})


@contextmanager
def one_that_refuses(cluster: Cluster, checkout: Checkout) -> Iterator[None]:
    """Create a second endpoint of the service that refuses every connection."""
    (pod,) = ready(cluster, checkout)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{checkout.user}/endpointslices"
    item: Item = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    item["metadata"] = {"name": f"{checkout.name}-refuses", "labels": {"kubernetes.io/service-name": checkout.name}}
    item["endpoints"] = [{"addresses": [pod["status"]["hostIP"]], "conditions": {"ready": True}}]
    service = cluster.ask("get", path("Service", checkout.user, checkout.name))
    names = [port["name"] for port in service["spec"]["ports"] if port["port"] == 80]
    item["ports"] = [{"name": name, "port": NOBODY_LISTENS, "protocol": "TCP"} for name in names]
    with cluster.having(slices, item):
        yield


def lost(checkout: Checkout, files: Mapping[str, Path]) -> dict[str, list[str]]:
    """Send a body many times by each version of HTTP, and return the answers other than 200."""
    found = {}
    for version, file in files.items():
        # Each body has a process of its own, since curl 7.88 cannot send a second one over an HTTP/2 connection.
        codes = [curl(url(checkout), file, 1, version).communicate()[0].strip() for _ in range(REQUESTS)]
        found[version] = [code for code in codes if code != "200"]
    return found


def test_a_body_that_the_gateway_does_not_keep_is_lost_and_one_that_it_keeps_is_not(
    make_checkout: MakeCheckout, hk: Cluster, tmp_path: Path
) -> None:
    mine = make_checkout("hk")
    mine.run("deploy", tag="1")
    leaves_none_out(hk, mine)
    region = load(mine.regions_file).regions["hk"]
    files = {version: padded(tmp_path, size) for version, size in SIZES[mine.gateway.routing].items()}
    large = files[HTTP1].read_bytes()

    def told(counter: str) -> float:
        return counted(hk, mine.gateway, counter, mine.user)

    def kept() -> bool:
        """Return whether every worker of the proxy has the limit. Each applies it by itself, and any may have a connection."""
        before = told("retry_or_shadow_abandoned")
        for _ in range(REQUESTS):
            get(url(mine), large, {"Content-Type": "application/json"})
        return told("retry_or_shadow_abandoned") == before

    unlimited(hk, region)
    alone = told("membership_total")
    with one_that_refuses(hk, mine):
        until(lambda: told("membership_total") > alone)
        before = told("retry_or_shadow_abandoned")
        gone = lost(mine, files)
        assert all(gone.values()), gone
        assert told("retry_or_shadow_abandoned") == before + REQUESTS * len(files)
        with limited(hk, region):
            until(kept)
            before, saved = told("retry_or_shadow_abandoned"), told("upstream_rq_retry_success")
            assert not any(lost(mine, files).values())
            assert told("retry_or_shadow_abandoned") == before
            assert told("upstream_rq_retry_success") > saved
    mine.run("stop", "--yes")
