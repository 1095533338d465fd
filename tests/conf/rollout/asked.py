"""What is asked of a service from outside, and of its pods: for tests that deploy."""

import json
from collections.abc import Callable
from typing import Any

from conf.base.object_references import APPLIED, path
from tests import waiting
from tests.conf.cluster import Cluster
from tests.conf.rollout.desk import Desk
from tests.running import get


def url(desk: Desk, track: str = "") -> str:
    """Return where a service answers through the gateway. track: the namespace of another track than prod."""
    return f"{desk.gateway.url}/api/{track or desk.user}/{desk.name}"


def version(where: str) -> str:
    """Return the version that answers at a URL."""
    status, body = get(f"{where}/v2")
    return str(json.loads(body)["version"]) if status == 200 else f"status {status}"


def pods(cluster: Cluster, desk: Desk) -> dict[str, int]:
    """Return the pods of a service that stay: the restarts of each by its uid."""
    found = cluster.ask("get", path("Pod", desk.user), labelSelector=f"app.kubernetes.io/name={desk.name}")["items"]
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["uid"]: restarts(pod) for pod in staying}


def restarts(pod: dict[str, Any]) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"].get("containerStatuses", []))


def standing(desk: Desk, track: str = "prod", region: str = "", status: int = 0) -> dict[str, Any]:
    """Return what `monopod status --json` says of a track, in the first region or in one."""
    rows = json.loads(desk.run("status", "--json", "--track", track, status=status).out)
    found: dict[str, Any] = next(row for row in rows if region in ("", row["region"]))
    return found


def kinds(cluster: Cluster, namespace: str, name: str) -> set[str]:
    """Return the kinds of which a service has an object."""
    return {kind for kind in APPLIED if cluster.find(path(kind, namespace, name))}


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true of a cluster, which is not asked without a pause."""
    waiting.until(true, seconds, pause=0.1)
