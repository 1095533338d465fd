"""Signs of life of simulated nodes, for the length of a test run. Knows nodes' leases.

A simulator may leave out the leases that real kubelets renew. Kubernetes then believes such a node dead every minute or so, and
its pods, once not ready, stay so.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.conf.cluster import Cluster, Item
from tests.repeating import repeating

SECONDS = 10.0  # between two signs; a node is believed dead after 40
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@contextmanager
def beating(cluster: Cluster) -> Iterator[None]:
    """Give a sign of life of each simulated node from time to time, on a thread of its own. Real nodes are left alone."""
    nodes = [node["metadata"]["name"] for node in cluster.ask("get", "/api/v1/nodes")["items"] if _is_simulated(node)]
    own = Cluster(cluster.context)  # a client is one thread's

    def beat() -> None:
        with suppress(ApiException, HTTPError):  # the next one is soon enough
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
