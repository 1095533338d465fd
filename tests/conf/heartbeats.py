"""Heartbeats of simulated nodes, for the length of a test run.

A simulator may not renew the leases that real kubelets renew. Kubernetes then takes such a node for dead every minute or so,
and its pods stay unready.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.conf.cluster import Cluster, Item
from tests.repeating import repeating

SECONDS = 10.0  # between two heartbeats; after 40 without one a node counts as dead
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@contextmanager
def sending_heartbeats(cluster: Cluster) -> Iterator[None]:
    """Renew the lease of each simulated node on a thread of its own. Real nodes are left alone."""
    nodes = [node["metadata"]["name"] for node in cluster.ask("get", "/api/v1/nodes")["items"] if _is_simulated(node)]
    own = Cluster(cluster.context)  # each thread needs a client of its own

    def beat() -> None:
        with suppress(ApiException, HTTPError):  # the next heartbeat comes soon enough
            _beat(own, nodes)

    _beat(cluster, nodes)
    with repeating(SECONDS, beat):
        yield


def _beat(cluster: Cluster, nodes: list[str]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for name in nodes:
        lease: Item = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}}
        lease["spec"] = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        cluster.ask(
            "patch", f"{LEASES}/{name}", lease, "application/apply-patch+yaml", fieldManager="monopod-test", force="true"
        )


def _is_simulated(node: Item) -> bool:
    metadata = node["metadata"]
    return metadata["labels"].get("type") == "kwok" or "kwok.x-k8s.io/node" in metadata.get("annotations", {})
