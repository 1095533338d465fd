"""How long a request is worth working on: until its deadline, and while somebody waits.

Knows clocks. Does not know what the request asks for.
"""

import time
from collections.abc import Callable
from typing import Protocol

from serving.base.errors import ClientGone, DeadlinePassed, ServingError, ShortDeadline


class Lifetime:
    """One request's deadline and its client's presence.

    begin and deadline are seconds of time.monotonic(): the request's first byte, and the last moment for its answer.
    received is when its last byte came: the age of what waits in a queue counts from there.

    Written by the I/O thread (received, abandon) and read by every other. Each attribute is replaced whole and never
    taken back, so readers need no lock; at worst they learn of an abandoned request one step later.
    """

    __slots__ = ("_on_abandon", "_timeout", "abandoned", "begin", "deadline", "received")

    def __init__(self, begin: float, timeout_second: float):
        self.begin = self.received = begin
        self.deadline, self._timeout = begin + timeout_second, timeout_second
        self.abandoned = False
        self._on_abandon: list[Callable[[], None]] = []

    def left(self) -> float:
        """Return the seconds until the deadline, 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def over(self) -> bool:
        """Return whether nobody gains from further work."""
        return self.abandoned or time.monotonic() >= self.deadline

    def shorten(self, seconds: float) -> None:
        """Allow no more than so many seconds from the first byte."""
        self.deadline = min(self.deadline, self.begin + seconds)

    def check(self) -> None:
        """Raise ClientGone or DeadlinePassed when nobody gains from further work."""
        if self.abandoned:
            raise ClientGone("the client went away before its answer")
        if time.monotonic() >= self.deadline:
            raise self.too_late()

    def too_late(self) -> DeadlinePassed:
        """Return the error of a request whose deadline has passed."""
        allowed = round(self.deadline - self.begin, 6)  # in microseconds: the clock has fewer digits the longer a machine is up
        return self._passed(
            f"no answer within {allowed:g} s of the request's first byte; try again later, or allow more with timeout_second "
            "in value.py or the header X-Request-Timeout-Ms"
        )

    def classified(self, error: ServingError) -> ServingError:
        """Return an error, as ShortDeadline where it is a passed deadline and the client left the service too little time."""
        return self._passed(str(error)) if type(error) is DeadlinePassed else error

    def _passed(self, words: str) -> DeadlinePassed:
        """Return the error of a passed deadline. A client can bring about any number by a header, or by a slow upload."""
        short = self.deadline - self.received < self._timeout / 2
        return (ShortDeadline if short else DeadlinePassed)(words)

    def abandon(self) -> None:
        """Say that the client went away."""
        self.abandoned = True
        for wake in list(self._on_abandon):
            wake()

    def on_abandon(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, by any thread, when the client goes away; at once when it has gone already. Perhaps twice."""
        self._on_abandon.append(wake)
        if self.abandoned:
            wake()


class HasLifetime(Protocol):
    """A request, as far as a model wants to know it."""

    @property
    def life(self) -> Lifetime: ...
