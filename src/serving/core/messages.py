"""What passes between the front and the core: requests before they are decoded, their times, answers, and streams part by part.

A streamed answer is sent part by part, as an iterator of the service's own code gives them. A part is bytes, a line of JSON or
a server-sent event.

Concurrency of a stream. One thread calls `begin` and `pull`, and it alone touches the iterator and `_put_bytes`. The loop alone
calls `take` and writes `_taken_bytes`. Parts pass through a deque, whose steps are atomic. While MAX_WAITING bytes or more
wait, the thread waits for `_room`, which `take` and a client that goes set, and for the deadline at most. The loop sets `wake`
before its first `take`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple, Protocol

from serving.base import json_codec
from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime
from serving.telemetry.request_metrics import END, NUMBERS

LINES = "application/x-ndjson"
FRAMES = {LINES: (b"", b"\n"), "application/jsonl": (b"", b"\n"), "text/event-stream": (b"data: ", b"\n\n")}  # around JSON
MAX_WAITING = 64 * 2**10  # bytes, beside the last part and what the socket's buffer holds


class Stream:
    """The parts of one answer. content_type: "" where the first item settles it. wake: called when there is a part to take."""

    def __init__(self, items: Iterator[Any], content_type: str, life: Lifetime):
        self.content_type, self._life = content_type, life
        self._parts = chain(map(self._part, items), (None,))
        self._close: Callable[[], object] = getattr(items, "close", bool)  # a generator runs its `finally`
        self.wake: Callable[[], object] = lambda: None
        self._waiting: deque[bytes | ServingError | None] = deque()  # parts, and None or an error behind the last
        self._put_bytes = self._taken_bytes = 0
        self._room = threading.Event()
        life.on_abandon(self._room.set)

    def begin(self) -> str:
        """Pull the first item, and return the content type. Called on a thread. Raises what the iterator raises."""
        try:
            self._put(next(self._parts))
        except BaseException:
            self._close()
            raise
        return self.content_type or LINES

    def pull(self, error_of: Callable[[BaseException], ServingError]) -> None:
        """Pull every further item, as fast as the parts are taken, and close the iterator. Called on the thread of `begin`.

        error_of: returns the client's error for an exception.
        """
        try:
            self._wait_for_room()
            for part in self._parts:
                self._put(part)
                self._wait_for_room()
        except BaseException as error:
            self._put(error_of(error))
        finally:
            self._close()

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
        part = self.framed(json_codec.dumps(item))
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
        if self._put_bytes - self._taken_bytes >= MAX_WAITING and not self._life.over():
            self._room.wait(self._life.left())
        self._life.check()


JSON = "application/json"
UPLOAD, QUEUE, BATCH, INFER, ENCODE = (NUMBERS[stage] for stage in ("upload", "queue", "batch", "infer", "encode"))


class StageTimes:
    """When each stage of one request began. The stages follow each other without a gap, so their seconds add up.

    A request begins in the stage "upload". clock: returns seconds, as time.monotonic does. begins: of a request that has ended,
    as in serving.telemetry.request_metrics, and empty before.

    Concurrency. The thread that has the request calls `begin`. The loop alone calls `end`, perhaps at the deadline, while a
    thread is still at work. `end` takes a copy, so later reports of that thread are left out.
    """

    __slots__ = ("_begun", "_clock", "begins")

    def __init__(self, begin: float, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._begun: list[float] = [UPLOAD, begin]
        self.begins: tuple[float, ...] = ()

    def begin(self, stage: str, at: float | None = None) -> None:
        """End the stage under way, and begin another. at: when that was, None for now."""
        self._begun += (NUMBERS[stage], self._clock() if at is None else at)

    def batch_ended(self, taken: float, joined: float, ended: float) -> None:
        """Begin the stages of a batch one after the other: "batch" when it took the rows, "infer", and "encode" at its end."""
        self._begun += (BATCH, taken, INFER, joined, ENCODE, ended)

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        """Count the block as a stage of its own. Then the stage under way continues."""
        outer = self._begun[-2]
        self.begin(stage)
        try:
            yield
        finally:
            self._begun += (outer, self._clock())

    def end(self, taken: float = 0.0) -> float:
        """End the last stage, and return when that was.

        taken: when a batch took the request's rows. From then on a request waits no more, though its batch has not ended.
        """
        begun, now = self._begun, self._clock()
        if begun[-2] == QUEUE and taken > begun[-1]:
            begun += (INFER, taken)
        self.begins = (*begun, END, now)
        return now


class RawRequest(Protocol):
    """A request before it is decoded.

    id: as in the logs and in the answer. kind: the content type without its parameters, in lower case. length: bytes of its
    body.
    """

    id: str
    life: Lifetime
    times: StageTimes
    content_type: str
    kind: str
    length: int

    def read(self) -> bytes:
        """Return the body. A large one comes from /tmp, so that a thread calls this."""

    def parameters(self) -> Mapping[str, str]:
        """Return the parameters of the URL by their names. Raises BadInput."""


class Reply(NamedTuple):
    """An answer's bytes. stream: gives them instead of the body, part by part."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    stream: Stream | None = None


Result = Reply | ServingError
Done = Callable[[Result], None]  # called once, with the answer or the error
