"""The bytes of a connection that belong to no request yet.

Knows where a head ends, and that these bytes count as held. Does not know sockets, or what a head means.
"""

from collections.abc import Callable

from serving.base.errors import BodiesFull, HeadTooLarge
from serving.web.front.heads import MOST_HEAD_BYTES, Head, empty_lines, end_of_head, parse
from serving.web.held_bodies import Bodies, Share

CARRIAGE_RETURN = 13


class Buffer:
    """The bytes. give_up: refuses what waits here, where others need its room."""

    def __init__(self, bodies: Bodies, give_up: Callable[[BodiesFull], None]):
        self.bytes = bytearray()
        self._bodies, self._give_up = bodies, give_up
        self._share: Share | None = None
        self._searched = 0  # bytes in which no head ends
        self._empty = 0  # bytes of empty lines that came before the next head

    def next_head(self) -> tuple[Head, int] | None:
        """Remove the next head, and return it with its size in bytes. None where it is not whole yet.

        Raises BadInput and HeadTooLarge.
        """
        waiting = self.bytes
        if waiting[0] == CARRIAGE_RETURN:
            empty = empty_lines(waiting, self._empty)
            del waiting[:empty]
            self._empty, self._searched = self._empty + empty, 0
        end = end_of_head(waiting, self._searched)
        if end < 0 and len(waiting) <= MOST_HEAD_BYTES:
            self._searched = len(waiting)
            return None
        if not 0 < end <= MOST_HEAD_BYTES:
            raise HeadTooLarge(f"the request's head is over {MOST_HEAD_BYTES} bytes; send fewer or shorter headers")
        head = parse(self.take(end))
        self._searched = self._empty = 0
        return head, end

    def take(self, count: int) -> bytes:
        """Remove and return the first bytes, at most count."""
        taken = bytes(memoryview(self.bytes)[:count])
        del self.bytes[:count]
        return taken

    def clear(self) -> None:
        """Remove all bytes."""
        self.bytes.clear()
        self._searched = self._empty = 0
        self.account()

    def account(self) -> None:
        """Count the bytes that are here now as held."""
        size = len(self.bytes)
        if size:
            if self._share is None:
                self._share = self._bodies.begin(self._give_up)
            self._share.add(size - self._share.bytes)
        elif self._share is not None:
            self._share.release()
            self._share = None
