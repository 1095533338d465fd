"""A service with an init container and a sidecar is deployed, answers, and drains; the sidecar ends after the model."""

from pathlib import Path

import pytest

from conf.base.object_references import container_statuses, path
from tests.conf.cluster import KEPT, Cluster, Item
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import image, tagged
from tests.conf.rollout.load import loaded
from tests.conf.rollout.ready_pods import ready
from tests.conf.rollout.service_state import until, url, version

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
RATE = 20.0
LINGERS = 3  # Seconds that the sidecar takes to end.
POD = """spec:
  containers:
    - name: model
      volumeMounts: [{name: shared, mountPath: /mnt/shared}]
  volumes:
    - {name: shared, emptyDir: {sizeLimit: 16Mi}}
  initContainers:
    - name: writes
      image: IMAGE
      command: [python, -c, "open('/shared/written', 'x')"]
      volumeMounts: [{name: shared, mountPath: /shared}]
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 1, memory: 64Mi}}
    - name: stays
      image: IMAGE
      restartPolicy: Always
      command: [sh, -c, "trap 'sleep LINGERS; exit 0' TERM; sleep 600 & wait"]
      volumeMounts: [{name: shared, mountPath: /shared, readOnly: true}]
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 1, memory: 64Mi}}
      startupProbe: {exec: {command: [test, -f, /shared/written]}, periodSeconds: 1}
"""


def write_pod(folder: Path, text: str = POD) -> None:
    by_digest = f"{image('1').rpartition(':')[0]}@{tagged('1', '1')}"
    (folder / "pod.yaml").write_text(text.replace("IMAGE", by_digest).replace("LINGERS", str(LINGERS)))


def statuses(pod: Item) -> dict[str, Item]:
    return {each["name"]: each["state"] for each in container_statuses(pod)}


def ends_of_deleted_pod(cluster: Cluster, mine: Checkout) -> dict[str, str]:
    """Delete a pod, and return when each container ended. A finalizer keeps the pod until that is known."""
    where = path("Pod", mine.user, ready(cluster, mine)[0]["metadata"]["name"])
    cluster.by_hand(where, {"metadata": {"finalizers": [KEPT]}})
    try:
        cluster.ask("delete", where)
        until(lambda: all("terminated" in each for each in statuses(cluster.ask("get", where)).values()))
        return {name: each["terminated"]["finishedAt"] for name, each in statuses(cluster.ask("get", where)).items()}
    finally:
        cluster.by_hand(where, {"metadata": {"finalizers": None}})


def test_a_sidecar_starts_before_the_model_and_ends_after_it_and_no_request_is_lost(
    make_checkout: MakeCheckout, hk: Cluster
) -> None:
    mine = make_checkout("hk")
    mine.write_value(replicas=2)
    write_pod(mine.folder)
    mine.run("deploy", tag="1")
    assert version(url(mine)) == "1"
    for pod in ready(hk, mine):
        found = statuses(pod)
        assert found["writes"]["terminated"]["reason"] == "Completed"
        assert found["stays"]["running"]["startedAt"] <= found[mine.name]["running"]["startedAt"]
    with loaded(url(mine), RATE) as load:
        ends = ends_of_deleted_pod(hk, mine)
        until(lambda: len(ready(hk, mine)) == 2)
        mine.run("deploy", tag="2")
    assert load.lost() == []
    assert version(url(mine)) == "2"
    assert ends["stays"] > ends[mine.name]  # RFC 3339 in UTC, so texts are in the order of time


def test_a_sidecar_that_ends_with_an_error_is_named_and_the_release_is_undone(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk")
    write_pod(mine.folder, POD.replace("sleep 600 & wait", "echo no such index; exit 3"))
    done = mine.run("deploy", tag="1", status=21)
    assert "sidecar stays: it ended with exit code 3" in done.text
    assert "no such index" in done.text
