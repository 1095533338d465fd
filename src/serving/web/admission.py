"""Admission: which requests are let in, decided before any work is done.

Concurrency. Only the loop's thread calls what changes something. Other threads read the state and the counts, each of which is
replaced whole. One thread alone replaces the veto of an application.
"""

from collections.abc import Callable

from serving.base.errors import NotReady, QueueFull, ServingError

STARTING, READY, DRAINING, CLOSED = "starting", "ready", "draining", "closed"
LIGHT_LIMIT = 16  # requests at once that call no model: the page, metadata, a service's own GET routes


class Gate:
    """Counts the requests that are let in and not answered yet. Work is a request that calls a model or own code.

    At most `limit` requests of work are in, and at most `light_limit` others besides. queue_full: returns whether the
    model's queue is full.
    """

    def __init__(self, limit: int, queue_full: Callable[[], bool], light_limit: int = LIGHT_LIMIT):
        self.limit, self.light_limit, self._queue_full = limit, light_limit, queue_full
        self.state = STARTING
        self.veto = ""  # what the application's own ping objects to
        self.crowded = False  # the port has as many connections as it may have, and each one is in use
        self._admitted = {True: 0, False: 0}  # work: yes or no

    def open(self) -> None:
        """Let work in, unless the pod is shutting down already."""
        self.state = READY if self.state == STARTING else self.state

    def drain(self) -> bool:
        """Begin to drain and return True. Where the pod was never ready, close and return False."""
        ready = self.state == READY
        self.state = DRAINING if ready else CLOSED
        return ready

    def unready(self) -> NotReady | None:
        """Return why this pod should be sent no requests, or None. A ping answers with it."""
        if self.state == READY and self.veto:
            return NotReady(f"the application's own /api/ping {self.veto}")
        if self.state == READY:
            return NotReady("all connections of this pod are in use; another pod will answer") if self.crowded else None
        if self.state == STARTING:
            return NotReady("the model is still loading; try again when /api/ping answers 200")
        return NotReady("this pod is shutting down; try again, another pod will answer")

    def refusal(self, work: bool) -> ServingError | None:
        """Return why a request whose headers were just read is not accepted, or None."""
        if self.state == CLOSED or (work and self.state == STARTING):
            return self.unready()
        return self._too_many(work) if self._is_full(work) else None

    def admit(self, work: bool) -> ServingError | None:
        """Let a request in that came in one piece, head and body, and return None, or return why not."""
        if self.state == CLOSED or (work and self.state == STARTING):
            return self.unready()
        return self.enter(work)

    def enter(self, work: bool) -> ServingError | None:
        """Let an accepted request in and return None, or return why not. Each request that was let in must leave.

        The state is not asked again, since an accepted request is finished in any state.
        """
        if self._is_full(work):
            return self._too_many(work)
        self._admitted[work] += 1
        return None

    def leave(self, work: bool, count: int = 1) -> None:
        self._admitted[work] -= count

    def working(self) -> int:
        """Return how many requests of work are in flight."""
        return self._admitted[True]

    def light(self) -> int:
        """Return how many other requests are in flight."""
        return self._admitted[False]

    def empty(self) -> bool:
        """Return whether no request is in flight."""
        return self._admitted[True] + self._admitted[False] == 0

    def _is_full(self, work: bool) -> bool:
        return self._admitted[work] >= (self.limit if work else self.light_limit) or (work and self._queue_full())

    def _too_many(self, work: bool) -> QueueFull:
        return QueueFull(
            f"{self._admitted[work]} requests are being answered and the queue is full; try again in a second, "
            "or raise queue_limit or replicas"
        )
