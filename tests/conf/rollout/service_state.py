"""Reads the state of a deployed service, through the gateway and from the cluster."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from conf.base.object_references import APPLIED, path
from tests import waiting
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.repeating import repeating
from tests.running import get

BLANK_DIGIT = {"data": [[[[0.0] * 8] * 8]]}  # a request


def url(checkout: Checkout, track: str = "") -> str:
    """Return the URL of a service at the gateway. track: the namespace of a track other than prod, "" for prod."""
    return f"{checkout.gateway.url}/api/{track or checkout.user}/{checkout.name}"


def version(where: str) -> str:
    """Return the version that answers at a URL."""
    status, body = get(f"{where}/v2")
    return str(json.loads(body)["version"]) if status == 200 else f"status {status}"


def pods(cluster: Cluster, checkout: Checkout) -> dict[str, int]:
    """Return the restarts of each pod of a service by its uid, without pods that are being deleted."""
    found = cluster.ask("get", path("Pod", checkout.user), labelSelector=f"app.kubernetes.io/name={checkout.name}")["items"]
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["uid"]: restarts(pod) for pod in staying}


def restarts(pod: dict[str, Any]) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"].get("containerStatuses", []))


def status_row(checkout: Checkout, track: str = "prod", region: str = "", status: int | None = 0) -> dict[str, Any]:
    """Return the row of `monopod status --json` for a track. region: "" for the first one.

    status: the exit status, None for any: for tests that wait until a service is well.
    """
    rows = json.loads(checkout.run("status", "--json", "--track", track, status=status).out)
    found: dict[str, Any] = next(row for row in rows if region in ("", row["region"]))
    return found


def kinds(cluster: Cluster, namespace: str, name: str) -> set[str]:
    """Return the resource kinds of which a service has an object."""
    return {kind for kind in APPLIED if cluster.find(path(kind, namespace, name))}


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until a condition of a cluster is true. seconds: the longest wait."""
    waiting.until(true, seconds, pause=0.1)


@contextmanager
def lowest(cluster: Cluster, checkout: Checkout) -> Iterator[list[int]]:
    """Watch how many pods a Deployment is to have and has ready, for the length of a block."""
    own, seen = Cluster(cluster.context), list[int]()  # each thread has a client of its own

    def look() -> None:
        found = own.ask("get", path("Deployment", checkout.user, checkout.name))
        seen.extend((found["spec"]["replicas"], found["status"].get("readyReplicas", 0)))

    with repeating(0.02, look):
        yield seen
    assert len(seen) > 50
