"""The image in a real cluster, in the pod that `monopod render` writes."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.base.yaml_nodes import documents
from tests.image.building import about, buildah, context, forgotten, made
from tests.image.pods import Pod, running_pod
from tests.prerequisites import kubeconfig
from tests.running import PYTHONPATH, ROOT, get

pytestmark = pytest.mark.cluster

REGISTRY = "localhost:5000"  # the cluster's registry, set up as kind's documentation says
COFFEE = (ROOT / "examples/images/coffee.jpg").read_bytes()


def push(image: str) -> list[str]:
    """Push an image and return the digests of its layers in the registry, the base's first."""
    buildah("push", "--quiet", "--tls-verify=false", image)
    name, tag = image.removeprefix(f"{REGISTRY}/").split(":")
    kind = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    status, body = get(f"http://{REGISTRY}/v2/{name}/manifests/{tag}", headers=kind)
    assert status == 200, body
    return [layer["digest"] for layer in json.loads(body)["layers"]]


@pytest.fixture(scope="module")
def folder(needs: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context whose service needs few resources, so that it fits beside other tests."""
    needs("buildah", "buildah")
    kubeconfig()
    folder = context(tmp_path_factory.mktemp("pod") / "context")
    value = (folder / "value.py").read_text().replace("cpu = 2 ", "cpu = 0.1 ")
    (folder / "value.py").write_text(f"{value}\ndrain_delay_second = 1\n")
    return folder


@pytest.fixture(scope="module")
def image(folder: Path) -> Iterator[str]:
    with forgotten(f"{REGISTRY}/monopod-test/demo:{secrets.token_hex(4)}") as image:
        made(folder, image)
        push(image)
        yield image


def pod_spec(folder: Path, image: str) -> dict[str, Any]:
    """Return the pod of the rendered Deployment."""
    command = [sys.executable, "-m", "monopod", "render", "--service", str(folder), "--region", "hk", "--image", image]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    (deployment,) = [item for item in documents(text) if item["kind"] == "Deployment"]
    return dict(deployment["spec"]["template"]["spec"])


@pytest.fixture(scope="module")
def pod(folder: Path, image: str) -> Iterator[Pod]:
    """The rendered pod, ready. It is never restarted, so that its exit code can be read."""
    spec = {**pod_spec(folder, image), "serviceAccountName": "default", "restartPolicy": "Never"}
    with running_pod(f"monopod-test-{secrets.token_hex(4)}", "demo", spec) as pod:
        pod.wait(lambda status: {"type": "Ready", "status": "True"}.items() <= ready(status).items(), 300)
        yield pod


def ready(status: dict[str, Any]) -> dict[str, Any]:
    return next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})


def test_the_pod_becomes_ready_and_answers_a_picture(pod: Pod) -> None:
    results = pod.post(8080, "/api/demo", COFFEE, "image/jpeg")["results"]
    assert results[0]["label"] == "espresso"


def test_the_pod_runs_as_a_user_without_a_name_writes_only_to_tmp_and_reports_its_health(pod: Pod, image: str) -> None:
    assert pod.run("id", "-u") == (0, "65532\n")
    for place in ("/", "/app", "/venv", "/etc", "/var"):
        status, words = pod.run("touch", f"{place}/x")
        assert status != 0
        assert "Read-only file system" in words or "Permission denied" in words
    assert pod.run("touch", "/tmp/x") == (0, "")
    check = about(image)["Docker"]["config"]["Healthcheck"]["Test"]
    assert pod.run(*check[1:]) == (0, "")


def test_the_health_check_fails_where_nothing_listens(pod: Pod, image: str) -> None:
    check = about(image)["Docker"]["config"]["Healthcheck"]["Test"]
    status, words = pod.run(*(part.replace(":8081", ":8089") for part in check[1:]))
    assert status == 1
    assert "Connection refused" in words


def test_after_a_change_of_server_py_its_layer_alone_is_new_to_the_registry(folder: Path, image: str) -> None:
    before = push(image)
    with (folder / "src/server.py").open("a") as file:
        file.write(f"\n# {secrets.token_hex(4)}\n")
    with forgotten(f"{REGISTRY}/monopod-test/demo:{secrets.token_hex(4)}") as changed:
        made(folder, changed)
        after = push(changed)
    assert len(after) == len(before) >= 10
    assert [layer for layer in after if layer not in before] == after[-1:]


def test_sigterm_ends_process_1_with_a_drain_and_exit_code_0(pod: Pod) -> None:
    assert pod.run("python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")[0] == 0
    status = pod.wait(lambda status: status["phase"] in ("Succeeded", "Failed"), 180)
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    lines = [json.loads(line) for line in pod.log().splitlines()]
    ends = ["signal 15: draining for 1 s", "drained", "the process ends with exit code 0"]
    assert [line["message"] for line in lines[-3:]] == ends
