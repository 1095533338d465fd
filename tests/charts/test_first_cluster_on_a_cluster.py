"""docs/first-cluster.md from its first command to its last: a model becomes a service that a real cluster serves."""

import json
from pathlib import Path

import pytest

from tests import clones, waiting
from tests.charts.manual import Desk, commands
from tests.conf.cluster import Cluster
from tests.conf.rollout.gateways import ENVOY_GATEWAY
from tests.conf.rollout.images import REGISTRY
from tests.prerequisites import program
from tests.running import DIGITS, ROOT, get, post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

PAGE, USER = ROOT / "docs/first-cluster.md", "first-cluster"
IMAGE = ("Dockerfile", ".dockerignore", "image")


def test_the_pages_commands_lead_from_a_model_to_a_service_that_answers_and_back(tmp_path: Path, hk: Cluster) -> None:
    program("kubectl", "kubernetes-client")
    folder = clones.clone(tmp_path / "clone", *IMAGE)
    words = {
        "~/cats.onnx": str(DIGITS),
        "new cats": f"new cats --username {USER}",
        "namespace like": f"namespace {USER}",
        "/like/": f"/{USER}/",
        "localhost:5000": REGISTRY,
        "http://127.0.0.1:30080": ENVOY_GATEWAY.url,
        "-context one": f"-context {hk.context}",
        "$IMAGE": f"{REGISTRY}/{USER}/cats",
    }
    desk = Desk(folder, words)
    (folder / "bin").mkdir()
    for name in ("monopod", "python"):
        (folder / "bin" / name).symlink_to(folder / ".venv/bin" / name)
    service = [line for line in commands("## 2.", PAGE) if line.split()[0] not in ("make", ".venv/bin/pip")]
    for command in service:
        desk.type(command)
    value = (folder / "value.py").read_text().replace("cpu = 2 ", "cpu = 0.1 ").replace('"2Gi"', '"512Mi"')
    (folder / "value.py").write_text(value + "drain_delay_second = 1\n")
    copied, *cluster = commands("## 3.", PAGE)
    desk.type(copied)
    text = (folder / "one.yaml").read_text()
    for old, new in (("localhost:5000", REGISTRY), ("context: one", f"context: {hk.context}"), ("like: {}", f"{USER}: {{}}")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "one.yaml").write_text(text.replace("http://127.0.0.1:30080", ENVOY_GATEWAY.url))
    waiting.until(lambda: not hk.find(f"/api/v1/namespaces/{USER}"), 120, pause=0.2)
    try:
        for command in cluster:
            desk.type(command)
        told = "".join(desk.type(command) for command in commands("## 4.", PAGE))
        assert "one, prod: deployed 1" in told
        assert '"name":"cats"' in told
        url = f"{ENVOY_GATEWAY.url}/api/{USER}/cats"
        status, answer = post_json(url, {"data": [[[[0.0] * 8] * 8]]})
        assert (status, len(answer["results"]["logits"][0])) == (200, 10)
        second, (stop,) = (commands(heading, PAGE) for heading in ("## 5.", "## 7."))
        (folder / "value.py").write_text(value + "drain_delay_second = 1.5\n")
        for command in second:
            desk.type(command)
        assert json.loads(get(f"{url}/v2")[1])["version"] == "1"
        desk.type(stop)
        waiting.until(lambda: get(url)[0] == 404, 30)
    finally:
        desk.type(f"kubectl --context {hk.context} delete namespace {USER} --wait=false")
