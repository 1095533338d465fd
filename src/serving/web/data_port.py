"""The data port's requests: which of them are hot and which are Flask's, and how each is counted and logged.

Knows routes, metrics and log lines. Does not know sockets, nor how anything is computed. Only the loop's thread calls it.
"""

import logging
import re
import time
from collections.abc import Callable

from serving.base.errors import SHED, ClientGone, ServingError
from serving.models.registry import ModelRegistry
from serving.telemetry.access_log import AccessLog
from serving.telemetry.logs import RateLimit
from serving.telemetry.metrics import Metrics
from serving.web.app import STATUS_ROUTE
from serving.web.front.request_cycle import RequestCycle
from serving.web.front.wsgi_threads import WsgiThreads
from serving.web.hot_routes import HotRoutes

log = logging.getLogger("monopod.start")

TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
REFUSALS_LOGGED_A_SECOND = 10  # all others are counted in the metrics alone, so that overload does not flood the log


class DataPort:
    """Runs requests and notes their ends. label_of: returns the route's name of a request that Flask has not told yet."""

    def __init__(
        self,
        hot: HotRoutes,
        other: WsgiThreads,
        label_of: Callable[[str, str], str],
        models: ModelRegistry,
        metrics: Metrics,
        access: AccessLog,
        queue: str,
    ):
        self._hot, self._other, self._label_of, self._models = hot, other, label_of, models
        self._metrics, self._access, self._queue = metrics, access, queue

    def run(self, cycle: RequestCycle) -> None:
        """Begin the work on a request. Raises ServingError."""
        head = cycle.head
        route = self._hot.find(head.path) if head.method == "POST" else None
        if route is not None:
            cycle.route = route.label
            route.start(cycle)
            return
        if cycle.work:
            self._models.expect(self._queue, cycle.life)
        self._other.run(cycle)

    def ended(self, cycle: RequestCycle, status: int, reason: str, ended: float) -> None:
        """Count and log a request that was run. ended: seconds of time.monotonic()."""
        life, head = cycle.life, cycle.head
        if life.expected is not None:
            self._models.forget(life)
        route = cycle.route or self._label_of(head.method, head.path)
        seconds = ended - life.begin
        if route != STATUS_ROUTE:
            upload = life.received - life.begin
            self._metrics.request(route, status, reason, seconds, upload, cycle.length, cycle.sent)
        if cycle.work:
            self._metrics.stages(cycle.times.begins)
        trace = head.headers.get(b"traceparent")
        found = TRACE_PARENT.match(trace) if trace else None
        self._access.note(
            time.time(), head.method, head.path.encode("latin-1"), cycle.id, route, status, seconds * 1000, reason,
            found[1].decode() if found else "",
        )  # fmt: skip


def refusal_counter(metrics: Metrics) -> Callable[[ServingError, float], None]:
    """Return what counts and logs a request that no route saw, from its error and the time of its first byte."""
    metrics.expect_shed(kind.reason for kind in SHED)
    metrics.expect("refused", [*((kind.status, kind.reason) for kind in SHED), (ClientGone.status, ClientGone.reason)], False)
    rate_limit = RateLimit(REFUSALS_LOGGED_A_SECOND)

    def refused(error: ServingError, begin: float) -> None:
        metrics.shed(error.reason)
        metrics.request("refused", error.status, error.reason, time.monotonic() - begin)
        if rate_limit.allows():
            log.info("refused: %s", error, extra={"route": "refused", "code": error.status, "reason": error.reason})

    return refused
