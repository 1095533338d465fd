"""An answer that is sent part by part, as an iterator of the service's own code gives them.

Knows iterators and the form of a part: bytes, a line of JSON, a server-sent event. Does not know HTTP, sockets or the loop.

Concurrency. One thread calls `send`, and it alone touches the iterator and `_put_bytes`. The loop alone calls `take` and writes
`_taken_bytes`. Parts pass through a deque, whose steps are atomic. While MOST_WAITING bytes or more wait, the thread waits for
`_room`, which `take` and a client that goes set, and for the deadline at most. The loop sets `wake` before its first `take`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from serving.base import jsons
from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime

LINES = "application/x-ndjson"
FRAMES = {LINES: (b"", b"\n"), "application/jsonl": (b"", b"\n"), "text/event-stream": (b"data: ", b"\n\n")}  # around JSON
MOST_WAITING = 64 * 2**10  # bytes, beside the last part and what the socket's buffer holds


class Stream:
    """The parts of one answer. content_type: "" where the first item settles it. wake: called when there is a part to take."""

    def __init__(self, items: Iterator[Any], content_type: str, life: Lifetime):
        self.content_type, self._items, self._life = content_type, items, life
        self.wake: Callable[[], object] = lambda: None
        self._waiting: deque[bytes | ServingError | None] = deque()  # parts, and None or an error behind the last
        self._put_bytes = self._taken_bytes = 0
        self._room = threading.Event()
        life.on_abandon(self._room.set)

    def send(self, begin: Callable[[str], None], error_of: Callable[[BaseException], ServingError]) -> None:
        """Pull every item, as fast as the parts are taken, and close the iterator. Called on a thread.

        begin: gets the content type, once the first part waits or there is none. error_of: returns the client's error for an
        exception after that. Raises what the iterator raises before that.
        """
        begun = False
        try:
            for part in chain(map(self._part, self._items), (None,)):
                self._put(part)
                if not begun:
                    begun = True
                    begin(self.content_type or LINES)
                self._wait_for_room()
        except BaseException as error:
            if not begun:
                raise
            self._put(error_of(error))
        finally:
            getattr(self._items, "close", bool)()  # of a generator, which runs its `finally`, or of a file

    def take(self) -> tuple[bytes, bool, ServingError | None]:
        """Return the parts that wait, whether they are the last, and the error that ended them. Called on the loop."""
        found = [self._waiting.popleft() for _ in range(len(self._waiting))]
        parts = b"".join([each for each in found if isinstance(each, bytes)])
        self._taken_bytes += len(parts)
        self._room.set()
        end = found[-1] if found else b""
        return (parts, False, None) if isinstance(end, bytes) else (parts, True, end)

    def framed(self, document: bytes) -> bytes | None:
        """Return JSON as a part, None where the content type has no place for it."""
        begin, end = FRAMES.get(self.content_type.partition(";")[0].strip().lower(), (None, b""))
        return None if begin is None else begin + document + end

    def _part(self, item: Any) -> bytes:
        if isinstance(item, bytes | bytearray | memoryview):
            self.content_type = self.content_type or "application/octet-stream"
            return bytes(item)
        self.content_type = self.content_type or LINES
        part = self.framed(jsons.dumps(item))
        if part is not None:
            return part
        found = f"an iterator gives an item of type {type(item).__name__}, and the content type is {self.content_type}"
        raise TypeError(f"{found}; it must give bytes. These take what JSON can hold: {', '.join(FRAMES)}")

    def _put(self, part: bytes | ServingError | None) -> None:
        self._put_bytes += len(part) if isinstance(part, bytes) else 0
        self._waiting.append(part)
        self.wake()

    def _wait_for_room(self) -> None:
        """Raise ClientGone or DeadlinePassed where nobody waits for further parts."""
        self._room.clear()  # before the look, so that nothing that happens after it is missed
        if self._put_bytes - self._taken_bytes >= MOST_WAITING and not self._life.over():
            self._room.wait(self._life.left())
        self._life.check()
