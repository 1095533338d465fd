"""The deadlines of all requests under way, watched by one timer of the loop.

Knows deadlines. Does not know requests beyond their lifetimes. Only the loop's thread calls it.

A timer for each request would cost as much as parsing it. Most requests end long before their deadline, so the timer is set to
the earliest deadline that was seen, and looks at all requests only then.
"""

import asyncio
import logging
import time
from typing import Protocol

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime

log = logging.getLogger("monopod.front")


class Watched(Protocol):
    """A request."""

    life: Lifetime

    def finish(self, result: ServingError) -> None: ...


class Deadlines:
    """The watched requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._watched: dict[Watched, None] = {}
        self._due = float("inf")  # the earliest deadline, in seconds of time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, request: Watched) -> None:
        """Finish a request with its error when its deadline passes. Called again when the deadline has moved."""
        self._watched[request] = None
        if request.life.deadline < self._due:
            self._set(request.life.deadline)

    def forget(self, request: Watched) -> None:
        """Watch a request no longer."""
        self._watched.pop(request, None)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        # The loop counts whole milliseconds, so a timer may come one too early; then it is set again.
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._look)

    def _look(self) -> None:
        self._due, self._timer = float("inf"), None
        now = time.monotonic()
        for request in [each for each in self._watched if each.life.deadline <= now]:
            try:
                request.finish(request.life.too_late())
            except Exception:  # the others are due too
                log.exception("a request could not be answered at its deadline")
                self._watched.pop(request, None)
        if self._watched:
            self._set(min(each.life.deadline for each in self._watched))
