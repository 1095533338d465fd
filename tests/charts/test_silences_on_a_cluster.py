"""The commands of docs/alerting.md that silence alerts, typed at a real Alertmanager."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.prerequisites import missing, program
from tests.running import ROOT, free_port, get
from tests.waiting import until

pytestmark = pytest.mark.cluster

SECTION = (ROOT / "docs/alerting.md").read_text(encoding="utf-8").partition("\n## Silences\n")[2].partition("\n## ")[0]
BLOCKS = ["\n".join(line[4:] for line in part.splitlines() if line[:4] == "    ") for part in SECTION.split("\n\n")]
FORWARD, SILENCE, LIST_AND_END = [block for block in BLOCKS if block]
LABELS = {"namespace": "silences-test", "service": "cats"}  # which the page calls like/cats


@pytest.fixture
def alertmanager(hk: Cluster) -> Iterator[str]:
    """The address to which the page's first command opens a way."""
    if hk.find(path("Service", "monitoring", "alertmanager")) is None:
        missing("Alertmanager is not on this cluster: have the Prometheus operator run one, at alertmanager.monitoring:9093")
    port = free_port()
    command = FORWARD.replace("kubectl", program("kubectl", "kubernetes-client")).replace("hk", hk.context)
    process = subprocess.Popen([*command.split()[:-1], f"{port}:9093"], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None
        with suppress(OSError):
            return get(f"http://127.0.0.1:{port}/-/ready")[0] == 200
        return False

    try:
        until(answers, pause=0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def typed(command: str, alertmanager: str) -> str:
    here = command.replace("http://127.0.0.1:9093", alertmanager).replace('"like"', f'"{LABELS["namespace"]}"')
    return subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_pages_commands_silence_the_alerts_of_a_service_list_silences_and_end_one(alertmanager: str) -> None:
    sent = json.dumps(
        [{"labels": {**LABELS, "alertname": "Test"}}, {"labels": {**LABELS, "service": "dogs", "alertname": "Test"}}]
    )
    assert get(f"{alertmanager}/api/v2/alerts", sent.encode(), {"Content-Type": "application/json"})[0] == 200

    def states() -> dict[str, str]:
        found = json.loads(get(f"{alertmanager}/api/v2/alerts?filter=namespace={LABELS['namespace']}")[1])
        return {each["labels"]["service"]: each["status"]["state"] for each in found}

    silence = json.loads(typed(SILENCE, alertmanager))["silenceID"]
    until(lambda: states().get("cats") == "suppressed", pause=0.1)
    assert states()["dogs"] != "suppressed"
    listed, ended = LIST_AND_END.splitlines()
    assert silence in {each["id"] for each in json.loads(typed(listed, alertmanager))}
    typed(ended.replace("/ID", f"/{silence}"), alertmanager)
    until(lambda: states()["cats"] != "suppressed", pause=0.1)
