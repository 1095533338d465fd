"""The admin port: probes and metrics.

/livez fails when a batch thread is dead or stuck. It does not fail while the thread is busy: a restart would lose the queue.
/readyz fails while the models load, while the data port can take in no connection, and from SIGTERM on. The loop of the data
port answers all of them, so that a loop that hangs fails its own liveness. Only the metrics' page takes a thread: it grows with
a service's own metrics.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from serving.base.errors import QueueFull, ServiceFailed
from serving.core.messages import Reply
from serving.core.stages import WorkerThreads
from serving.models.registry import ModelRegistry
from serving.telemetry import metrics
from serving.web.admission import READY, Gate
from serving.web.data_port import refusal_counter
from serving.web.front.held_bytes import Bodies
from serving.web.front.port import CONNECTION_LIMIT, Port
from serving.web.front.request_cycle import Deadlines, RequestCycle, Rules
from serving.web.process import ServiceContext

METRICS_LIMIT = 4  # requests for /metrics at once: all others are answered as they come
BODY_LIMIT = 0  # bytes of a body on this port
TEXT = "text/plain; charset=utf-8"


class Admin(NamedTuple):
    """The admin port's pages.

    A batch counts as hung when it has run for stuck_after seconds. A job of the service's own code has timeout seconds more.
    The function hook_seconds says for how long the longest such job has run, and page returns the metrics' text. The function
    also_stuck says which further part of the process hangs, "" where none does.
    """

    gate: Gate
    models: ModelRegistry
    hook_seconds: Callable[[], float]
    page: Callable[[], bytes]
    stuck_after: float
    timeout: float
    threads: WorkerThreads
    also_stuck: Callable[[], str] = lambda: ""

    def run(self, cycle: RequestCycle) -> None:
        """Answer a request."""
        path, method = cycle.head.path, cycle.head.method
        if method not in ("GET", "HEAD"):
            cycle.finish(_text(405, "GET and HEAD alone"))
        elif path == "/livez":
            stuck = self.stuck()
            cycle.finish(_text(503, stuck) if stuck else _text(200, "ok"))
        elif path == "/readyz":
            busy = f"the application's own /api/ping {self.gate.veto}" if self.gate.veto else "all connections are in use"
            why = busy if self.gate.state == READY else self.gate.state
            cycle.finish(_text(200, "ok") if self.gate.unready() is None else _text(503, why))
        elif path == "/metrics" and cycle.rules.gate.light() > METRICS_LIMIT:
            cycle.finish(QueueFull(f"{METRICS_LIMIT} requests for this page are being answered; try again in a second"))
        elif path == "/metrics":
            self.threads.run(self._metrics, cycle)
        else:
            cycle.finish(_text(404, "pages here: /livez, /readyz, /metrics, /api/ping"))

    def stuck(self) -> str:
        """Return which part of the process hangs, "" where none does."""
        return stuck_part(self.models, self.hook_seconds(), self.stuck_after, self.timeout) or self.also_stuck()

    def _metrics(self, cycle: RequestCycle) -> None:
        try:
            cycle.finish_later(Reply(self.page(), metrics.CONTENT_TYPE))
        except Exception:
            cycle.finish_later(ServiceFailed("the page could not be made; the log tells why"))
            raise


def _text(status: int, line: str) -> Reply:
    return Reply(f"{line}\n".encode(), TEXT, status)


def stuck_part(models: ModelRegistry, hook_seconds: float, stuck_after: float, timeout: float) -> str:
    """Return which part of the process hangs, "" where none does."""
    for model in models.loaded():
        seconds = model.batcher.stuck_seconds()
        if seconds > stuck_after:
            return f"model {model.spec.name}: a batch has been running for {seconds:.0f} s, over stuck_after_second"
    if hook_seconds > stuck_after + timeout:
        limit = "stuck_after_second + timeout_second"
        return f"the service's own code has been at one request for {hook_seconds:.0f} s, over {limit}"
    return ""


def admin_port(
    context: ServiceContext,
    shared: tuple[Bodies, Deadlines],
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    stuck: Callable[[], str] = lambda: "",
) -> Port:
    """Return the admin port, bound. shared: with another port, if there is one. Raises OSError where the port is taken.

    stuck: says which further part of the process hangs, "" where none does.
    """
    settings, gate, metrics = context.settings, Gate(CONNECTION_LIMIT, lambda: False, CONNECTION_LIMIT), context.metrics
    gate.open()  # a probe is never refused
    times = settings.stuck_after_second, settings.timeout_second
    threads = WorkerThreads(1, "metrics")
    pages = Admin(context.gate, context.models, context.core.stuck_seconds, metrics.page, *times, threads, stuck)
    timeouts = settings.timeout_second, settings.upload_timeout_second
    refused = refusal_counter(metrics)
    rules = Rules(loop, gate, context.gate, *shared, *timeouts, BODY_LIMIT, pages.run, lambda *told: None, refused)
    return Port(rules, host, port)
