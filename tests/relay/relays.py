"""Runs the relay as its image does, on a port of this machine, and writes notifications as Alertmanager does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import ROOT, free_port, get
from tests.waiting import until

ALERT = {
    "status": "firing",
    "labels": {"alertname": "NoPodAnswers", "namespace": "like", "service": "cats", "track": "prod", "severity": "critical"},
    "annotations": {"summary": "like/cats: no pod is ready", "runbook_url": "https://docs.example.com/runbook.html#no-pod"},
    "startsAt": "2026-11-22T14:03:21.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://127.0.0.1:30090/graph",
    "fingerprint": "c6eadffa33fcdf37",
}
GROUP = {"namespace": "like", "service": "cats", "track": "prod"}


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    return {**ALERT, "status": status, "labels": {**GROUP, **labels}}


def notification(sent: Sequence[dict[str, Any]] = (ALERT,), **fields: Any) -> bytes:
    """Return a body that Alertmanager sends. fields: replace others of the body."""
    firing = any(each["status"] == "firing" for each in sent)
    body = {
        "receiver": "relay",
        "status": "firing" if firing else "resolved",
        "alerts": list(sent),
        "groupLabels": GROUP,
        "commonLabels": GROUP,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{namespace="like", service="cats", track="prod"}',
        "truncatedAlerts": 0,
    }
    return json.dumps({**body, **fields}).encode()


@dataclass
class Relay:
    """A relay that runs. secrets: the folder with the addresses."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    secrets: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, to: str = "robot") -> tuple[int, str]:
        """Return status and text of the answer to a notification."""
        status, answer = get(f"{self.url}/{to}", body, {"Content-Type": "application/json"})
        return status, answer.decode()

    def lines(self) -> list[dict[str, Any]]:
        """Return the log. Each of its lines must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running_relay(folder: Path, addresses: dict[str, str], **environment: str) -> Iterator[Relay]:
    """Run a relay for the length of a block. addresses: file -> text, as in the Secret. environment: beside what is usual."""
    secrets, log, port = folder / "secrets", folder / "relay.log", free_port()
    secrets.mkdir()
    for name, text in addresses.items():
        (secrets / name).write_text(text)
    names = {"RELAY_PORT": str(port), "RELAY_SECRETS": str(secrets), "RELAY_RECEIVERS": ",".join(addresses) or "robot"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "relay"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **names, **environment},
        )  # fmt: skip
    made = Relay(process, port, log, secrets)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            return get(f"{made.url}/healthz")[0] == 200
        return False

    try:
        until(answers)
        yield made
    finally:
        process.terminate()
        assert process.wait(60) == 0
