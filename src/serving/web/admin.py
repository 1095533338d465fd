"""The admin port: probes and metrics, as plain WSGI.

Knows what Kubernetes and Prometheus ask. Does not know requests of the data port.

/livez fails when a batch thread is dead or stuck. It does not fail while the thread is busy: a restart would lose the queue.
/readyz fails while the models load, and from SIGTERM on.
"""

from collections.abc import Callable, Iterable
from typing import Any

from serving.models.registry import ModelRegistry
from serving.telemetry import metrics
from serving.web.admission import READY, Gate

TEXT = "text/plain; charset=utf-8"
Answer = tuple[str, str, bytes]  # status, content type, body


def make_admin(
    gate: Gate,
    models: ModelRegistry,
    hook_seconds: Callable[[], float],
    page: Callable[[], bytes],
    stuck_after: float,
    timeout: float,
) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application.

    A batch counts as hung when it has run for stuck_after seconds. A job of the service's own code has timeout seconds more.
    The function hook_seconds says for how long the longest such job has run, and page returns the metrics' text.
    """
    pages: dict[str, Callable[[], Answer]] = {
        "/livez": lambda: _alive(_stuck(models, hook_seconds(), stuck_after, timeout)),
        "/readyz": lambda: _ready(gate),
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


def _stuck(models: ModelRegistry, hook_seconds: float, stuck_after: float, timeout: float) -> str:
    """Return which part of the process hangs, "" where none does."""
    for model in models.loaded():
        seconds = model.batcher.stuck_seconds()
        if seconds > stuck_after:
            return f"model {model.spec.name}: a batch has been running for {seconds:.0f} s, over stuck_after_second"
    if hook_seconds > stuck_after + timeout:
        limit = "stuck_after_second + timeout_second"
        return f"the service's own code has been at one request for {hook_seconds:.0f} s, over {limit}"
    return ""


def _alive(stuck: str) -> Answer:
    return ("503 Service Unavailable", TEXT, f"{stuck}\n".encode()) if stuck else ("200 OK", TEXT, b"ok\n")


def _ready(gate: Gate) -> Answer:
    if gate.state == READY:
        return "200 OK", TEXT, b"ok\n"
    return "503 Service Unavailable", TEXT, f"{gate.state}\n".encode()
