"""The bytes that are held of requests and answers: one limit for the process, and the choice of what to end when it is reached.

Every byte of a request that is kept counts from when it was read: headers, bodies in memory, bodies in /tmp. A request's share
is unfinished until its last byte came, and whole from then on. It counts until it is released.

Over the limit, unfinished shares are ended until the rest fits. Each time the oldest share is ended of those that hold at least
the average of the unfinished ones; there is always one. Slow senders that fill the limit cannot drive out a new picture, which
is below that average, or a new large body, which is younger than theirs. To drive out either, an attacker must fill the whole
limit anew before the last byte of that body has come. Whole requests were accepted and are answered. Where they alone fill the
limit, no further body is begun.

An answer that its client has not taken lies in the heap until then. It counts with all of its bytes until the last one is
taken, since the heap keeps it whole. So equal answers count alike, however much the system has taken of each, and the oldest is
ended first. One answer counts as a part of the limit at most, so that a client alone is never ended for a large answer.

Concurrency. Only the loop's thread calls anything here. Any thread may read `released`.
"""

from collections.abc import Callable

from serving.base.errors import BodiesFull, QueueFull

MAX_BYTES = 256 * 2**20
MIN_BODIES = 4  # of max_body bytes; /tmp has room for as many beside its other files


def bound(memory: int, max_body: int) -> int:
    """Return the limit: a quarter of a pod's memory, up to MAX_BYTES, and at least MIN_BODIES bodies."""
    return max(min(MAX_BYTES, memory // 4), MIN_BODIES * max_body)


class Bodies:
    """The bytes that are held of all requests. limit: how many bytes may be held."""

    def __init__(self, limit: int):
        self.limit = limit
        self.released = 0  # how many shares were released so far
        self._unfinished: dict[Share, None] = {}  # the oldest first
        self._growing = self._whole = 0  # bytes

    @property
    def held(self) -> int:
        """How many bytes are held now."""
        return self._growing + self._whole

    def begin(self, end: Callable[[BodiesFull], None]) -> "Share":
        """Return the share of a request whose first byte came. end: refuses that request, called by `make_room`."""
        return Share(self, end)

    def refusal(self, length: int) -> QueueFull | None:
        """Return why a body of length bytes is not begun, or None. Whole requests are never ended to make room for it."""
        if not length or self._whole + length <= self.limit:
            return None
        held = f"requests that wait for their answers hold {self._whole} bytes, and all may hold {self.limit}"
        return QueueFull(f"{held}; try again in a second, or raise memory or replicas")

    def add_whole(self, count: int) -> None:
        """Count the bytes of a request that came in one piece. `release_whole` ends that."""
        self._whole += count

    def release_whole(self, count: int) -> None:
        """Count these bytes no longer."""
        self._whole -= count

    def make_room(self) -> None:
        """End shares until the rest fits."""
        while self._growing + self._whole > self.limit:
            share = self._next()
            if share is None:  # all are whole: `refusal` holds back further ones
                return
            end, error = share.end, self._full()
            share.release()
            end(error)

    def _next(self) -> "Share | None":
        count = len(self._unfinished)
        return next((share for share in self._unfinished if share.bytes * count >= self._growing), None)

    def _full(self) -> BodiesFull:
        held = f"{self.held} bytes of requests are held, {self.limit} at most"
        return BodiesFull(f"{held}: what has been coming for longest is refused; try again in a second, and send faster")


class Share:
    """The bytes that are held of one request."""

    __slots__ = ("_bodies", "bytes", "end", "released", "whole")

    def __init__(self, bodies: Bodies, end: Callable[[BodiesFull], None]):
        self._bodies, self.end = bodies, end
        self.bytes = 0
        self.whole = self.released = False

    def add(self, count: int) -> None:
        """Count bytes that were read and are kept, or are kept no longer. Then the caller asks for `make_room`."""
        if not self.released and not self.whole:
            self._bodies._unfinished[self] = None
            self.bytes += count
            self._bodies._growing += count

    def finish(self) -> None:
        """Say that the last byte came. From now on the request is not ended here."""
        if not self.released and not self.whole:
            self.whole = True
            self._bodies._unfinished.pop(self, None)
            self._bodies._growing -= self.bytes
            self._bodies._whole += self.bytes

    def release(self) -> None:
        """Say that nothing is held any more. It may be called more than once."""
        if self.released:
            return
        self.released = True
        self.end = lambda error: None  # or the share and the request would keep each other until the garbage collector runs
        self._bodies.released += 1
        self._bodies._unfinished.pop(self, None)
        if self.whole:
            self._bodies._whole -= self.bytes
        else:
            self._bodies._growing -= self.bytes


class UnsentBytes:
    """The bytes of one connection. end: ends the connection."""

    def __init__(self, bodies: Bodies, end: Callable[[], None]):
        self._bodies, self._end = bodies, end
        self._share: Share | None = None

    def hold(self, size: int) -> None:
        """Count bytes that the client has not taken, until `release`. The caller has room made in a later step of the loop."""
        self.release()
        self._share = self._bodies.begin(lambda error: self._end())
        self._share.add(min(size, self._bodies.limit // MIN_BODIES))

    def release(self) -> None:
        """Count nothing any more. It may be called more than once."""
        if self._share is not None:
            self._share.release()
            self._share = None
