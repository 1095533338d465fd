"""The bytes of answers that their clients have not taken. They lie in the heap until then.

Knows that these bytes count as held, and whom to end where others need their room. Does not know sockets or answers.

An answer counts with all of its bytes until the last one is taken, since the heap keeps it whole. So equal answers count alike,
however much the system has taken of each, and the oldest is ended first. One answer counts as a part of the bound at most, so
that a client alone is never ended for a large answer.
"""

from collections.abc import Callable

from serving.web.held_bodies import LEAST_BODIES, Bodies, Share


class Untaken:
    """The bytes of one connection. end: ends the connection."""

    def __init__(self, bodies: Bodies, end: Callable[[], None]):
        self._bodies, self._end = bodies, end
        self._share: Share | None = None

    def hold(self, size: int) -> None:
        """Count bytes that the client has not taken, until `release`. The caller has room made in a later step of the loop."""
        self.release()
        self._share = self._bodies.begin(lambda error: self._end())
        self._share.add(min(size, self._bodies.limit // LEAST_BODIES))

    def release(self) -> None:
        """Count nothing any more. It may be called more than once."""
        if self._share is not None:
            self._share.release()
            self._share = None
