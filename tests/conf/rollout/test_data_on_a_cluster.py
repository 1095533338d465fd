"""A file on a volume is replaced while pods serve, without a release, a restart or a lost request. On a real node."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster, Item
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import image
from tests.conf.rollout.load import DIGIT, loaded
from tests.conf.rollout.service_state import pods, until, url
from tests.image.pods import Pod
from tests.running import post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
CLAIM = "words"
SIZE = {"storage": "1Mi"}
FOLDER = "/tmp/monopod-test-data"  # of the node
RATE = 20.0


@contextmanager
def volume(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Create a volume from a folder of the node, and a claim to it."""
    name = f"{namespace}-{CLAIM}"
    where = {"path": FOLDER, "type": "DirectoryOrCreate"}
    reading = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    kept: Item = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    kept["spec"] = {**reading, "capacity": SIZE, "hostPath": where, "claimRef": {"namespace": namespace, "name": CLAIM}}
    claim: Item = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}}
    claim["spec"] = {**reading, "volumeName": name, "resources": {"requests": SIZE}}
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    with cluster.having("/api/v1/persistentvolumes", kept), cluster.having(claims, claim):
        yield


@contextmanager
def writer(cluster: Cluster, namespace: str) -> Iterator[Pod]:
    """Run a pod that may write to the volume."""
    container: Item = {"name": "main", "image": image("1"), "command": ["sleep", "600"], "securityContext": {"runAsUser": 0}}
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    data = {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}
    spec = {"containers": [container], "volumes": [data], "terminationGracePeriodSeconds": 0}
    item: Item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"}, "spec": spec}
    with cluster.having(path("Pod", namespace), item):
        pod = Pod.of(cluster.context, namespace, "writer")
        pod.wait(lambda status: status["phase"] == "Running", 180)
        yield pod


def write(pod: Pod, word: str) -> None:
    assert pod.run("sh", "-c", f"echo -n {word} > /data/new && mv /data/new /data/word") == (0, "")


def words(checkout: Checkout) -> set[str]:
    """Return what pods answer beside a digit, asked a few times."""
    found = set()
    for _ in range(10):
        status, answer = post_json(url(checkout), json.loads(DIGIT))
        assert status == 200, answer
        found.add(answer["results"]["word"])
    return found


def test_a_file_on_a_volume_is_exchanged_while_pods_serve(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk")
    mine.write_value(data_claim=CLAIM, replicas=2)
    done = mine.run("deploy", tag="reads", status=19)
    assert f"namespace {mine.user} has no PersistentVolumeClaim {CLAIM}, without which no pod starts" in done.err
    with volume(hk, mine.user), writer(hk, mine.user) as pod:
        write(pod, "one")
        mine.run("deploy", tag="reads")
        before = pods(hk, mine)
        assert words(mine) == {"one"}
        with loaded(url(mine), RATE) as load:
            write(pod, "two")
            until(lambda: words(mine) == {"two"})
        assert load.lost() == []
        assert pods(hk, mine) == before
        mine.run("stop", "--yes")
        assert pod.run("rm", "/data/word") == (0, "")
