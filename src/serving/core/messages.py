"""A request before it is decoded, which the front gives to the core, and an answer's bytes, which it gets back.

Knows bytes and times. Does not know HTTP, models or threads.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime
from serving.core.streams import Stream
from serving.telemetry.stage_seconds import END, NUMBERS

JSON = "application/json"
UPLOAD, QUEUE, BATCH, INFER, ENCODE = (NUMBERS[stage] for stage in ("upload", "queue", "batch", "infer", "encode"))


class StageTimes:
    """When each stage of one request began. The stages follow each other without a gap, so their seconds add up.

    A request begins in the stage "upload". clock: returns seconds, as time.monotonic does. begins: of a request that has ended,
    as in serving.telemetry.stage_seconds, and empty before.

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
        """Count what is done meanwhile as a stage of its own, and go on with the stage under way."""
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
