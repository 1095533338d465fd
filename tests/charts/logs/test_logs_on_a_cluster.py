"""charts/logs installed, upgraded and rolled back on a real node ships a service's lines; monopod logs prints the same pod's.

The receiver of the lines is a pod, so that a cluster of any kind reaches it.
"""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.render.chart_values import logs_values
from tests.charts import helm
from tests.conf import golden
from tests.conf.cluster import Cluster
from tests.conf.rollout.images import REGISTRY
from tests.image.building import STORAGE, buildah, remove
from tests.locks import shared
from tests.prerequisites import program
from tests.running import PYTHONPATH, ROOT
from tests.waiting import until

pytestmark = pytest.mark.cluster

CHART = ROOT / "charts/logs"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "one")
OWN = f"logs-test-{WORKER}"  # the user of the service, and the namespace of the receiver
IMAGE = f"{REGISTRY}/logs-test/shipper:1"
EVENT = {"time": "2026-11-22T15:59:59.999Z", "level": "info", "message": "ready", "service": "cats"}
# The first container dies, and the second one goes on.
SERVICE = f"""
import itertools, json, os, sys, time
begun = os.path.exists("/tmp/begun")
print(json.dumps({{**{EVENT!r}, "message": "again" if begun else "first"}}), flush=True)
os.write(2, b"\\x1b[2Jrubbish \\xff\\x00\\n")
if not begun:
    open("/tmp/begun", "w").close()
    sys.exit(1)
for number in itertools.count():
    time.sleep(1)
    print(json.dumps({{**{EVENT!r}, "message": f"tick {{time.time()}}", "number": number}}), flush=True)
"""
RECEIVER = """
import json, sys, time
sys.path.insert(0, "/receiver")
import bulk_receiver
receiver = bulk_receiver.BulkReceiver(9200, "0.0.0.0", login="shipper:secret")
seen = 0
while True:
    time.sleep(0.2)
    for each in receiver.documents[seen:]:
        print(json.dumps(each), flush=True)
        seen += 1
"""


def pod(name: str, script: str, labels: dict[str, str], files: dict[str, str]) -> dict[str, Any]:
    """Return a pod that runs a Python script. files: written to /receiver first."""
    writes = "".join(f"open('/receiver/{at}', 'w').write({text!r})\n" for at, text in files.items())
    code = base64.b64encode((writes + script).encode()).decode()
    command = ["python", "-c", f"import base64; exec(base64.b64decode('{code}'))"]
    mounts = [{"name": "files", "mountPath": "/receiver"}, {"name": "files", "mountPath": "/tmp"}]
    container = {"name": name.partition("-")[0], "image": IMAGE, "command": command, "volumeMounts": mounts}
    resources = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": OWN, "labels": labels},
        "spec": {
            "containers": [{**container, "resources": resources}],
            "volumes": [{"name": "files", "emptyDir": {"sizeLimit": "1Mi"}}],
            "terminationGracePeriodSeconds": 0,
        },
    }


@pytest.fixture(scope="module")
def installed(hk: Cluster) -> Iterator[Cluster]:
    """The chart, a pod that receives and a pod of a service."""
    program("buildah", "buildah")
    with shared(STORAGE):
        buildah("bud", "--format", "docker", "--tag", IMAGE, "--file", str(CHART / "image/Dockerfile"), str(CHART / "image"))
    buildah("push", *(["--tls-verify=false"] if REGISTRY.startswith(("localhost", "127.")) else []), IMAGE)
    regions = golden.regions()
    with hk.own_namespaces(OWN):
        pods = f"/api/v1/namespaces/{OWN}/pods"
        source = (Path(__file__).parent / "bulk_receiver.py").read_text()
        hk.by_hand(pods, pod("receiver", RECEIVER, {}, {"bulk_receiver.py": source}))
        until(lambda: bool(hk.ask("get", f"{pods}/receiver")["status"].get("podIP")), seconds=180, pause=0.2)
        address = hk.ask("get", f"{pods}/receiver")["status"]["podIP"]
        values = logs_values(regions, regions.regions["hk"])
        values |= {"namespaces": [OWN], "image": IMAGE, "pullSecrets": [], "statsSeconds": 5}
        values["sink"] = {"url": f"http://{address}:9200", "secret": "log-sink"}
        secret = {"user": "shipper", "password": "secret", "ca.crt": "for https alone"}
        try:
            helm.done("install", "logs", CHART, "--namespace", OWN, values=values, context=hk.context)
            item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "log-sink", "namespace": "logs"}}
            hk.by_hand("/api/v1/namespaces/logs/secrets", {**item, "stringData": secret})
            hk.by_hand(pods, pod("cats-5d9f-x7k2p", SERVICE, {"app.kubernetes.io/name": "cats"}, {}))
            yield hk
        finally:
            helm.run("uninstall", "logs", "--namespace", OWN, "--wait", context=hk.context)
            hk.ask("delete", "/api/v1/namespaces/logs")  # the chart keeps it
            until(lambda: hk.find("/api/v1/namespaces/logs") is None, seconds=300, pause=0.5)
            remove(IMAGE)


def documents(cluster: Cluster) -> list[list[Any]]:
    """Return what the receiver has: for each document its index, id and fields."""
    text = cluster.text(f"/api/v1/namespaces/{OWN}/pods/receiver/log")
    return [json.loads(line) for line in text.splitlines() if line.startswith("[")]


def test_the_shipper_runs_without_rights_and_sends_events_and_text_to_their_index(installed: Cluster) -> None:
    def found(message: str) -> list[Any]:
        return next((each for each in documents(installed) if message in each[2]["message"]), [])

    until(lambda: bool(found("again") and found("rubbish")), seconds=300, pause=1)
    index, name, fields = found("first")
    assert index == f"macl_{OWN}_cats_2026.11.22"
    names = {"namespace": OWN, "pod": "cats-5d9f-x7k2p", "service": "cats", "region": "hk", "stream": "stdout"}
    assert names.items() <= fields.items()
    assert fields["node"]
    assert fields["time"] == EVENT["time"]
    _, _, text = found("rubbish")
    assert (text["level"], text["stream"]) == ("text", "stderr")
    (shipper,) = installed.ask("get", "/api/v1/namespaces/logs/pods")["items"]
    (status,) = shipper["status"]["containerStatuses"]
    assert (status["ready"], status["restartCount"]) == (True, 0)


def shipper(cluster: Cluster) -> tuple[str, str]:
    """Return the name of the pod that ships, once it is the only one and is ready, and the seconds between its counters."""

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = cluster.ask("get", "/api/v1/namespaces/logs/pods")["items"]
        return found

    def ready() -> bool:
        return [each["ready"] for item in pods() for each in item["status"].get("containerStatuses", [{"ready": False}])] == [
            True
        ]

    until(ready, seconds=180, pause=0.5)
    (item,) = pods()
    environment = {each["name"]: each.get("value", "") for each in item["spec"]["containers"][0]["env"]}
    return item["metadata"]["name"], environment["STATS_SECONDS"]


def numbers(cluster: Cluster) -> list[int]:
    """Return the numbers of the service's ticks that came."""
    return [fields["number"] for _, _, fields in documents(cluster) if "number" in fields]


def test_an_upgrade_and_a_rollback_replace_the_shipper_and_lose_no_line(installed: Cluster) -> None:
    context = installed.context
    first = shipper(installed)
    values = json.loads(helm.done("get", "values", "logs", "--namespace", OWN, "--output", "json", context=context))
    helm.done("upgrade", "logs", CHART, "--namespace", OWN, "--wait", values={**values, "statsSeconds": 4}, context=context)
    second = shipper(installed)
    helm.done("rollback", "logs", "1", "--namespace", OWN, "--wait", context=context)
    third = shipper(installed)
    assert [each[1] for each in (first, second, third)] == ["5", "4", "5"]
    assert len({each[0] for each in (first, second, third)}) == 3
    seen = max(numbers(installed), default=0)
    until(lambda: max(numbers(installed), default=0) > seen + 3, seconds=180, pause=1)
    assert sorted(set(numbers(installed))) == list(range(max(numbers(installed)) + 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "value.py").write_text(f'service_name = "cats"\nusername = "{OWN}"\nhk_replicas = 1\neu_replicas = 1\n')
    text = (ROOT / "conf/regions.yaml").read_text().replace("context: eu\n", "context: none-such\n")
    (tmp_path / "regions.yaml").write_text(text)
    return tmp_path


def command(folder: Path, *flags: str) -> list[str]:
    regions = ["--regions", str(folder / "regions.yaml"), "--service", str(folder)]
    return [sys.executable, "-m", "monopod", "logs", *regions, "--track", "prod", *flags]


def printed(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run(command(folder, *flags), env=environment, capture_output=True, text=True, timeout=180)


def test_lines_are_printed_without_a_terminals_commands_and_a_region_that_is_away_is_named(
    installed: Cluster, folder: Path
) -> None:
    until(lambda: "again" in printed(folder, "--region", "hk").stdout, seconds=180, pause=1)
    found = printed(folder)
    assert found.returncode == 1
    assert found.stderr.startswith("eu, prod: context 'none-such' ")
    assert "2026-11-22T15:59:59.999Z hk cats-5d9f-x7k2p info     again\n" in found.stdout
    assert "text     \\x1b[2Jrubbish" in found.stdout
    assert all(each.isprintable() for each in found.stdout.splitlines())
    before = printed(folder, "--region", "hk", "--previous", "--json")
    messages = [json.loads(line)["message"] for line in before.stdout.splitlines()]
    assert (before.returncode, "first" in messages, "again" in messages) == (0, True, False)


def test_following_prints_lines_as_they_come_and_ends_by_ctrl_c_without_a_word(installed: Cluster, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    line = command(folder, "--follow", "--region", "hk", "--since", "1s")
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        ticks = [process.stdout.readline() for _ in range(3)]
        process.send_signal(2)
        assert (process.wait(60), process.stderr.read()) == (0, "")
    assert all("tick" in each for each in ticks)
    assert ticks == sorted(ticks, key=lambda each: float(each.rsplit(" ", 1)[1]))
    assert float(ticks[-1].rsplit(" ", 1)[1]) > time.time() - 30
