"""The doctor on a real cluster: each check that passes is reported, and each fault comes with its cure."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conf.base.object_references import path
from tests.conf import accounts, kubeconfigs
from tests.conf.cluster import clusters
from tests.running import PYTHONPATH

pytestmark = pytest.mark.cluster

NAMESPACE = "doctor-test"
NOTHING: Mapping[str, str] = {}
GATEWAY = "{namespace: gateway, name: gateway, pods: envoy-gateway-system}"
REGIONS = """
currency: USD
registry: localhost:5000
grey: hk
ab: hk
regions:
  hk:
    context: {context}
    host: "*"
    routing: {routing}
    gateway: {gateway}
    sidecars: {sidecars}
    mesh: {mesh}
    prometheus: {{namespace: monitoring, url: "http://prometheus:9090", labels: {{}}}}
    gpu: {{resource: {gpu}, unit: GiB}}
    reserved: {{cpu: 0, memory: 0Mi}}
    nodes:
      - {{name: any, cpu: 32, memory: 64Gi, price: 1, cards: 1, card_memory: 16}}
"""
GOOD = {
    "context": "hk",
    "mesh": "{}",
    "routing": "gateway-api",
    "gateway": GATEWAY,
    "sidecars": "false",
    "gpu": "aliyun.com/gpu-mem",
}


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[Any]:
    server = clusters(["hk"])["hk"]
    with server.namespaces([NAMESPACE]):
        yield server


def doctor(
    folder: Path, value: str = "", namespace: str = NAMESPACE, more: Mapping[str, str] = NOTHING, **regions: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the command over a service and return its exit status, and its findings by subject. more: environment variables."""
    (folder / "value.py").write_text(f'service_name = "checked"\nusername = "{namespace}"\nmemory = "300Mi"\n{value}\n')
    (folder / "regions.yaml").write_text(REGIONS.format(**{**GOOD, **regions}))
    command = [sys.executable, "-m", "monopod", "doctor", "--service", str(folder), "--regions", str(folder / "regions.yaml")]
    env = {**os.environ, "PYTHONPATH": PYTHONPATH, **more}
    done = subprocess.run([*command, "--track", "prod", "--json"], capture_output=True, text=True, timeout=180, env=env)
    assert done.stderr == ""
    assert "mistakes" not in done.stdout, done.stdout
    return done.returncode, {each["subject"]: each for each in json.loads(done.stdout)}


def test_a_cluster_without_a_fault_passes_each_check(tmp_path: Path) -> None:
    status, found = doctor(tmp_path, "gpu_memory = 4")
    assert {subject: each["words"] for subject, each in found.items() if each["cure"]} == {}
    assert status == 0
    assert set(found) == {
        "registry", "API server", "namespace", "resource types", "rights", "clocks", "gateway", "gateway buffer", "metrics",
        "GPU", "quotas", "named objects",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "regions", "subject", "words", "cure"),
    [
        ("", {"context": "nowhere"}, "API server", "context 'nowhere'", "fix that first"),
        (
            "",
            {"gateway": GATEWAY.replace("name: gateway", "name: none")},
            "gateway",
            "there is no Gateway gateway/none",
            "correct gateway in regions.yaml",
        ),
        (
            "",
            {"sidecars": "true", "mesh": "{a: b}", "routing": "istio"},
            "namespace",
            "gets no sidecars",
            "kubectl --context hk label namespace doctor-test istio-injection=enabled",
        ),
        ("gpu_memory = 4", {"gpu": "example.com/none"}, "GPU", "no node offers example.com/none", "device plugin"),
    ],
)
def test_what_is_wrong_comes_with_its_cure(
    tmp_path: Path, value: str, regions: dict[str, str], subject: str, words: str, cure: str
) -> None:
    status, found = doctor(tmp_path, value, NAMESPACE, {}, **regions)
    assert status == 1
    assert words in found[subject]["words"]
    assert cure in found[subject]["cure"]


def test_a_missing_namespace_is_told_once_with_the_command_that_makes_it(tmp_path: Path) -> None:
    status, found = doctor(tmp_path, namespace="doctor-none")
    assert status == 1
    assert [subject for subject, each in found.items() if each["cure"]] == ["namespace"]
    assert "install charts/cluster" in found["namespace"]["cure"]
    assert found["namespace"]["cure"].endswith("kubectl --context hk create namespace doctor-none")


@contextlib.contextmanager
def quota(server: Any) -> Iterator[None]:
    resource = server._client.resources.get(api_version="v1", kind="ResourceQuota")
    spec = {"hard": {"requests.cpu": "500m", "limits.memory": "1Gi"}}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": NAMESPACE}, "spec": spec}
    resource.create(body=body)
    try:
        yield
    finally:
        resource.delete(name="small", namespace=NAMESPACE)


def test_a_quota_that_is_too_small_is_told_in_figures(tmp_path: Path, namespace: Any) -> None:
    with quota(namespace):
        status, found = doctor(tmp_path, "cpu = 1")
    assert status == 1
    assert "others use 0 of it; the pods take 2" in found["quotas"]["words"]


def test_a_quota_that_has_room_for_the_pods_and_none_for_a_canary_is_told(tmp_path: Path, namespace: Any) -> None:
    with quota(namespace):
        alone = doctor(tmp_path, "cpu = 0.2")[1]["quotas"]
        status, found = doctor(tmp_path, "cpu = 0.2\ncanary = [50]")
    assert "room for 1 pods and one more" in alone["words"]
    assert status == 1
    assert found["quotas"]["words"].startswith("no room for a canary to take over: small allows 500m requests.cpu")
    assert "set canary = []" in found["quotas"]["cure"]


def test_a_secret_that_is_missing_is_told_with_the_line_that_makes_it(tmp_path: Path, namespace: Any) -> None:
    status, found = doctor(tmp_path, 'env_secret = "redis"')
    assert status == 1
    assert found["named objects"]["words"] == f"namespace {NAMESPACE} has no Secret redis, and its pods cannot start"
    assert f"create secret generic redis --namespace {NAMESPACE} --from-literal=KEY=VALUE" in found["named objects"]["cure"]


def test_with_exactly_the_rights_that_the_manual_names_nothing_is_wrong(tmp_path: Path) -> None:
    eu, namespace = clusters(["eu"])["eu"], f"doctor-test-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
    rules = accounts.of_the_manual()
    with eu.own_namespaces(namespace), eu.having(path("ServiceAccount", namespace), account):
        config = kubeconfigs.written(tmp_path / "config", eu.context, token=accounts.token(eu, namespace, "deployer"))
        as_them = {"KUBECONFIG": config}
        with accounts.allowed(eu, namespace, "deployer", rules):
            status, found = doctor(tmp_path, "gpu_memory = 4", namespace, as_them, context=eu.context)
            assert {subject: each["words"] for subject, each in found.items() if each["cure"]} == {}
            assert status == 0
            skipped = {subject for subject, each in found.items() if not each["seen"]}
            assert skipped == {"namespace", "gateway", "GPU"}
            assert found["namespace"]["words"].startswith(f"{namespace} is there")
            with_secret = doctor(tmp_path, 'env_secret = "redis"', namespace, as_them, context=eu.context)[1]["named objects"]
            assert "a deploy does not need them" in with_secret["words"]
        fewer = [each for each in rules if each["resources"] != ["pods/log"]]
        with accounts.allowed(eu, namespace, "deployer", fewer):
            status, found = doctor(tmp_path, "", namespace, as_them, context=eu.context)
            assert (status, found["rights"]["words"]) == (1, f"not allowed in {namespace}: get Pod log")
