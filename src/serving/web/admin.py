"""The admin port: probes and metrics, as plain WSGI.

Knows what Kubernetes and Prometheus ask. Does not know requests of the data port.

/livez fails when a batch thread is dead or stuck, not when it is busy: a restart would lose what is queued and help nobody.
/readyz fails while the models load and from SIGTERM on.
"""

from collections.abc import Callable, Iterable
from typing import Any

from serving.models.registry import ModelRegistry
from serving.telemetry import metrics
from serving.web.admission import READY, Gate

TEXT = "text/plain; charset=utf-8"


def make_admin(
    gate: Gate,
    models: ModelRegistry,
    hook_seconds: Callable[[], float],
    page: Callable[[], bytes],
    stuck_after: float,
    timeout: float,
) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application.

    hook_seconds: how long the longest job of the service's own code has been running. stuck_after: seconds after which a
    running batch counts as hung; own code may also run for a request's whole timeout.
    """

    def livez() -> tuple[str, str, bytes]:
        for model in models.loaded():
            stuck = model.batcher.stuck_seconds()
            if stuck > stuck_after:
                words = f"model {model.spec.name}: a batch has been running for {stuck:.0f} s, over stuck_after_second\n"
                return "503 Service Unavailable", TEXT, words.encode()
        hook = hook_seconds()
        if hook > stuck_after + timeout:
            words = (
                f"the service's own code has been at one request for {hook:.0f} s, over stuck_after_second + timeout_second\n"
            )
            return "503 Service Unavailable", TEXT, words.encode()
        return "200 OK", TEXT, b"ok\n"

    def readyz() -> tuple[str, str, bytes]:
        if gate.state == READY:
            return "200 OK", TEXT, b"ok\n"
        return "503 Service Unavailable", TEXT, f"{gate.state}\n".encode()

    pages: dict[str, Callable[[], tuple[str, str, bytes]]] = {
        "/livez": livez,
        "/readyz": readyz,
        "/metrics": lambda: ("200 OK", metrics.CONTENT_TYPE, page()),
    }

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found, method = pages.get(environ["PATH_INFO"]), environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", TEXT, b"GET and HEAD alone\n"
        elif found is None:
            status, kind, body = "404 Not Found", TEXT, f"pages here: {', '.join(pages)}, /api/ping\n".encode()
        else:
            status, kind, body = found()
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [] if method == "HEAD" else [body]

    return application
