"""An API server of this machine that lists pods."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conf.local_servers import LocalServer, QuietHandler


def pod(number: int, *, is_ready: bool = True, runs: bool = True, age: float = 1e6) -> dict[str, Any]:
    """Return a pod as the API server lists it. age: the seconds for which it has been ready, or not."""
    since = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"small-{number:02}"
    state: dict[str, Any] = {"running": {}} if runs else {"waiting": {}}
    return {
        "metadata": {"name": name, "uid": name, "namespace": "like", "creationTimestamp": since, "labels": {"version": "7"}},
        "status": {
            "conditions": [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": since}],
            "containerStatuses": [{"state": state, "restartCount": 0}],
        },
    }


class ApiServer(LocalServer):
    """Lists the pods of the Deployment `name` in the namespace like."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.name = "small"
        self.pods: list[dict[str, Any]] = []


class Handler(QuietHandler):
    """Answers as an API server does."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, ApiServer)
        is_theirs = "/namespaces/like/" in self.path and self.path.endswith(f"name%3D{server.name}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"items": server.pods if is_theirs else []}).encode())
