"""The pods of a service under load: which are ready, how many requests each has answered, and the deletion of one."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from conf.base.object_references import path
from tests.conf.cluster import Cluster, Item
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.service_state import until
from tests.image.pods import Pod

ADMIN_PORT = 8081
ANSWERED = r'^monopod_requests_total\{{code="{}",.*route="{}"\}} (\S+)$'


@contextmanager
def keeping_file(pod: Pod, file: str) -> Iterator[None]:
    """Keep a file in a pod for the length of a block. The service tests/services/moody behaves as the file's name says."""
    assert pod.run("python", "-c", f"open('/tmp/{file}', 'x')") == (0, "")
    try:
        yield
    finally:
        assert pod.run("python", "-c", f"import os; os.remove('/tmp/{file}')") == (0, "")


def ready(cluster: Cluster, checkout: Checkout) -> list[Item]:
    """Return the pods that are ready and stay, the oldest first."""
    found = cluster.ask("get", path("Pod", checkout.user), labelSelector=f"app.kubernetes.io/name={checkout.name}")["items"]
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]
    return sorted(staying, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def delete_a_pod(cluster: Cluster, checkout: Checkout) -> None:
    """Delete the oldest pod as `kubectl delete pod` does, and wait until it is gone and as many are ready as before."""
    before = ready(cluster, checkout)
    assert len(before) > 1
    name = before[0]["metadata"]["name"]
    cluster.ask("delete", path("Pod", checkout.user, name))
    until(lambda: cluster.find(path("Pod", checkout.user, name)) is None and len(ready(cluster, checkout)) == len(before))


def answered(cluster: Cluster, checkout: Checkout, code: int = 200, route: str = "service") -> dict[str, float]:
    """Return how many requests each ready pod has answered with a code since its start. A 429 has the route `refused`."""
    return {name: _answered(cluster, checkout, name, ANSWERED.format(code, route)) for name in names(cluster, checkout)}


def names(cluster: Cluster, checkout: Checkout) -> list[str]:
    return [str(pod["metadata"]["name"]) for pod in ready(cluster, checkout)]


def answers_in(cluster: Cluster, checkout: Checkout, seconds: float) -> dict[str, float]:
    """Return how many requests each pod answers in some seconds from now. A pod that becomes ready meanwhile begins at none."""
    before = answered(cluster, checkout)
    time.sleep(seconds)
    return {name: count - before.get(name, 0.0) for name, count in answered(cluster, checkout).items()}


def _answered(cluster: Cluster, checkout: Checkout, name: str, line: str) -> float:
    text = cluster.text(f"{path('Pod', checkout.user, name)}:{ADMIN_PORT}/proxy/metrics")
    return sum(map(float, re.findall(line, text, re.MULTILINE)))


def _is_ready(pod: Item) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
