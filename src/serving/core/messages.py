"""What the front gives to the core and gets back: a request before it is decoded, and an answer's bytes.

Knows bytes and times. Does not know HTTP, models or threads.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime

JSON = "application/json"


class StageTimes:
    """The seconds that one request has spent in each stage. The stages follow each other without a gap, so they add up.

    A request begins in the stage "upload". clock: returns seconds, as time.monotonic does.

    Concurrency. The thread that has the request calls `begin`. The loop alone calls `end`, perhaps at the deadline, while a
    thread is still at work. What that thread reports later is left out, since `stage` is "" by then.
    """

    __slots__ = ("_clock", "_since", "seconds", "stage")

    def __init__(self, begin: float, clock: Callable[[], float] = time.monotonic):
        self._since, self._clock = begin, clock
        self.stage = "upload"
        self.seconds: dict[str, float] = {}

    def begin(self, stage: str, at: float | None = None) -> None:
        """End the stage under way, and begin another. at: when that was, None for now."""
        ended = self.stage
        if ended:
            at = self._clock() if at is None else at
            self.seconds[ended] = self.seconds.get(ended, 0.0) + at - self._since
            self.stage, self._since = stage, at

    def end(self) -> float:
        """End the last stage, and return when that was."""
        now = self._clock()
        self.begin("", now)
        return now


@dataclass(eq=False)
class RawRequest:
    """A request before it is decoded.

    length: bytes of its body. read: returns the body; a large one comes from /tmp, so that a thread calls it.
    parameters: returns the parameters of the URL by their names.
    """

    id: str
    life: Lifetime
    content_type: str
    length: int
    read: Callable[[], bytes]
    times: StageTimes
    parameters: Callable[[], Mapping[str, str]] = field(default=dict)

    @property
    def kind(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    """An answer's bytes."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Result = Reply | ServingError
Done = Callable[[Result], None]  # called once, with the answer or the error
