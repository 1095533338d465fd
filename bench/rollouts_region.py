"""A simulated region and many services that are to be rolled out to it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.served import BenchError
from bench.work import ROOT
from tests.conf import accounts
from tests.conf.cluster import Cluster
from tests.conf.kubeconfigs import written
from tests.conf.rollout.checkout import REGION_FIELDS

REGION = "eu"
USERS = 20
MARK = {"monopod-bench": "rollouts"}  # the label of namespaces that this benchmark made and may delete
JOB = "deployer"  # the service account that deploys everything, in the first namespace
GONE_SECONDS = 120
MODEL = ROOT / "bench" / "digits" / "model" / "digits.onnx"
NODE = {"name": "any", "cpu": 32, "memory": "256Gi", "cards": 6, "card_memory": 16, "price": 1}
RULES = "rbac.authorization.k8s.io"

VALUE = """service_name = "service-{number}"
username = "{user}"
cpu = {cpu}
memory = "1Gi"
gpu_memory = {gpu_memory}
replicas = {replicas}
init_delay_second = 30
model_path = "model/digits.onnx"
"""


def namespaces(count: int) -> list[str]:
    """Return the users of `count` services, whose names are their namespaces."""
    return [f"rollouts-{number + 1}" for number in range(min(USERS, count))]


def replicas(number: int) -> int:
    return 1 + number % 3


def pods(count: int) -> int:
    """Return the number of pods of `count` services."""
    return sum(map(replicas, range(count)))


def make(folder: Path, count: int) -> list[Path]:
    """Write `count` services of one to three pods. Every third has a share of a GPU."""
    users, services = namespaces(count), []
    for number in range(count):
        service = folder / f"service-{number}"
        (service / "model").mkdir(parents=True)
        (service / "model" / MODEL.name).symlink_to(MODEL)
        settings = {"cpu": (0.1, 0.5, 1)[number % 3], "replicas": replicas(number), "gpu_memory": (0, 0, 2)[number % 3]}
        text = VALUE.format(number=number, user=users[number % len(users)], **settings)
        (service / "value.py").write_text(text, encoding="utf-8")
        services.append(service)
    return services


def regions(context: str) -> str:
    """Return a regions.yaml of one region, as JSON, which is YAML."""
    region = {**REGION_FIELDS, "context": context, "nodes": [NODE]}
    found = {"currency": "USD", "registry": "localhost:5000", "grey": REGION, "ab": REGION, "regions": {REGION: region}}
    return json.dumps(found)


def simulated_nodes(cluster: Cluster) -> int:
    """Return the number of nodes. Raises BenchError where one is real, since it would pull the images."""
    nodes = cluster.ask("get", "/api/v1/nodes")["items"]
    real = [node["metadata"]["name"] for node in nodes if node["metadata"]["labels"].get("type") != "kwok"]
    if real or not nodes:
        raise BenchError(f"context {cluster.context} is no simulated region: {real[0] if real else 'it has no node'}")
    return len(nodes)


@contextmanager
def job(cluster: Cluster, count: int, file: Path) -> Iterator[None]:
    """Make the users' namespaces, and write a kubeconfig file for a job with all rights in them and no others.

    The job's requests can then be counted apart from other clients' requests. Raises BenchError for a foreign namespace.
    """
    names = namespaces(count)
    _remove(cluster, names)
    try:
        for name in names:
            _namespace(cluster, name, names[0])
        written(file, cluster.context, token=accounts.token(cluster, names[0], JOB))
        yield
    finally:
        _remove(cluster, names)


def _namespace(cluster: Cluster, name: str, home: str) -> None:
    """Make a namespace in which the job of the namespace `home` has all rights."""
    cluster.ask(
        "post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": MARK}}
    )
    if name == home:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": JOB}}
        cluster.ask("post", f"/api/v1/namespaces/{home}/serviceaccounts", account)
    rights: dict[str, Any] = {
        "apiVersion": f"{RULES}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": JOB},
        "roleRef": {"apiGroup": RULES, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": home, "name": JOB}],
    }
    cluster.ask("post", f"/apis/{RULES}/v1/namespaces/{name}/rolebindings", rights)


def _remove(cluster: Cluster, names: Sequence[str]) -> None:
    """Delete our namespaces and wait until they are gone."""
    end = time.monotonic() + GONE_SECONDS
    for name in names:
        found = cluster.find(f"/api/v1/namespaces/{name}")
        if found and not MARK.items() <= found["metadata"].get("labels", {}).items():
            raise BenchError(f"context {cluster.context} has a namespace {name} that is not of this bench; it is left alone")
        if found and "deletionTimestamp" not in found["metadata"]:
            cluster.ask("delete", f"/api/v1/namespaces/{name}")
    while left := [name for name in names if cluster.find(f"/api/v1/namespaces/{name}")]:
        if time.monotonic() > end:
            raise BenchError(f"context {cluster.context}: namespace {left[0]} is still there after {GONE_SECONDS} s")
        time.sleep(1)
