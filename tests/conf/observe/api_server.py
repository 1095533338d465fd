"""An API server of this machine that lists pods, and passes on to their pages."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conf.local_servers import LocalServer, QuietHandler

MISSING = json.dumps({"kind": "Status", "reason": "NotFound", "code": 404, "message": "pods not found"})


def pod(number: int, *, is_ready: bool = True, runs: bool = True, age: float = 1e6) -> dict[str, Any]:
    """Return a pod as the API server lists it. age: the seconds for which it has been ready, or not."""
    since = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = f"small-{number:02}"
    state: dict[str, Any] = {"running": {}} if runs else {"waiting": {}}
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "namespace": "like",
            "creationTimestamp": since,
            "labels": {"version": "7"},
        },
        "status": {
            "conditions": [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": since}],
            "containerStatuses": [{"state": state, "restartCount": 0}],
        },
    }


class ApiServer(LocalServer):
    """Lists pods, and passes on to their pages. Each reading counts one more request. Pages of `silent` do not answer.

    Its pods are of the Deployment `name`. Pods of `gone` ended after they were listed. Pods of `pageless` answer, and
    have no such page.
    """

    def __init__(self) -> None:
        super().__init__(Handler)
        self.name = "small"
        self.pods: list[dict[str, Any]] = []
        self.silent: set[str] = set()
        self.gone: set[str] = set()
        self.pageless: set[str] = set()
        self.read: list[str] = []
        self.lock = threading.Lock()

    def page(self, name: str) -> str:
        with self.lock:
            self.read.append(name)
            count = self.read.count(name)
        counters = (
            f'monopod_requests_total{{route="service",code="200",reason=""}} {count}\nprocess_cpu_seconds_total {count / 1000}'
        )
        return f"monopod_ready 1\n{counters}\n"


class Handler(QuietHandler):
    """Answers as an API server does."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, ApiServer)
        name = self.path.partition("/pods/")[2].partition(":")[0]
        is_theirs = "/namespaces/like/" in self.path and self.path.endswith(f"name%3D{server.name}")
        self.send_response(404 if name in server.gone | server.pageless else 502 if name in server.silent else 200)
        self.end_headers()
        page = "not found" if name in server.pageless else MISSING if name in server.gone else server.page(name) if name else ""
        self.wfile.write((page or json.dumps({"items": server.pods if is_theirs else []})).encode())
