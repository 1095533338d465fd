"""How long a request is worth any work: until its deadline, and while its client waits.

Knows clocks. Does not know what the request asks for.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol, TypeVar

from serving.base.errors import ClientGone, DeadlinePassed, ServingError, ShortDeadline

T = TypeVar("T")


class Lifetime:
    """One request's deadline, and whether its client still waits. All times are seconds of `clock`.

    The first byte came at `begin`. The last byte came at `received`, from which the time in a queue counts. The answer is due
    at `deadline`. A batch took the request's last call at `taken`, which is 0 before that.

    The loop's thread alone writes `received` and `abandoned`, and threads of batches write `taken`. Every thread reads. Each is
    replaced whole and never set back, so readers need no lock: at worst they learn of an abandoned request one step later.
    """

    __slots__ = ("_clock", "_on_abandon", "_timeout", "abandoned", "begin", "deadline", "received", "taken")

    def __init__(self, begin: float, timeout_second: float, clock: Callable[[], float] = time.monotonic):
        self.begin = self.received = begin
        self.deadline, self._timeout = begin + timeout_second, timeout_second
        self.abandoned, self.taken = False, 0.0
        self._clock = clock
        self._on_abandon: list[Callable[[], None]] = []

    def left(self) -> float:
        """Return the time until the deadline, in seconds, or 0 when it has passed."""
        return max(0.0, self.deadline - self._clock())

    def over(self) -> bool:
        """Return whether further work is useless: the client is gone or the deadline has passed."""
        return self.abandoned or self._clock() >= self.deadline

    def shorten(self, seconds: float) -> None:
        """Bring the deadline forward to `seconds` after the first byte, unless it is earlier already."""
        self.deadline = min(self.deadline, self.begin + seconds)

    def error(self) -> ServingError | None:
        """Return ClientGone or DeadlinePassed where further work is useless, or None."""
        if self.abandoned:
            return ClientGone("the client went away before its answer")
        return self.too_late() if self._clock() >= self.deadline else None

    def check(self) -> None:
        """Raise what `error` returns."""
        error = self.error()
        if error is not None:
            raise error

    def result_of(self, future: Future[T]) -> T:
        """Wait for a future until the deadline, and return its result. Raises DeadlinePassed, and what the future raises."""
        try:
            return future.result(self.left())
        except FutureTimeout:
            raise self.too_late() from None

    def too_late(self) -> DeadlinePassed:
        """Return the error of a request whose deadline has passed."""
        # Rounded to microseconds, since the difference of two clock readings has errors below them.
        allowed = round(self.deadline - self.begin, 6)
        return self._passed(
            f"no answer within {allowed:g} s of the request's first byte; try again later, or allow more with timeout_second "
            "in value.py or the header X-Request-Timeout-Ms"
        )

    def classified(self, error: ServingError) -> ServingError:
        """Return an error by its cause: a passed deadline becomes ShortDeadline where the client left too little time."""
        return self._passed(str(error)) if type(error) is DeadlinePassed else error

    def _passed(self, words: str) -> DeadlinePassed:
        """Return the error of a passed deadline. ShortDeadline stands apart, since a client can cause any number of them.

        A short X-Request-Timeout-Ms does so, and so does a slow upload.
        """
        short = self.deadline - self.received < self._timeout / 2
        return (ShortDeadline if short else DeadlinePassed)(words)

    def abandon(self) -> None:
        """Record that the client went away, and wake the threads that asked for it."""
        self.abandoned = True
        for wake in list(self._on_abandon):
            wake()

    def on_abandon(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when the client goes away, or now if it has gone. It may be called twice, by any thread."""
        self._on_abandon.append(wake)
        if self.abandoned:
            wake()


class HasLifetime(Protocol):
    """A request, of which a model needs its lifetime alone."""

    @property
    def life(self) -> Lifetime: ...
