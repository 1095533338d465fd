"""A request before it is decoded, which the front gives to the core, and an answer's bytes, which it gets back.

Knows bytes and times. Does not know HTTP, models or threads.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime

JSON = "application/json"


class StageTimes:
    """The seconds that one request has spent in each stage. The stages follow each other without a gap, so they add up.

    A request begins in the stage "upload". clock: returns seconds, as time.monotonic does.

    Concurrency. The thread that has the request calls `begin`. The loop alone calls `end`, perhaps at the deadline, while a
    thread is still at work. Later reports of that thread are left out.
    """

    __slots__ = ("_begins", "_clock", "_ended")

    def __init__(self, begin: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._ended = clock, 0.0
        self._begins: list[tuple[str, float]] = [("upload", begin)]

    def begin(self, stage: str, at: float | None = None) -> None:
        """End the stage under way, and begin another. at: when that was, None for now."""
        if not self._ended:
            self._begins.append((stage, self._clock() if at is None else at))

    def note(self, *begins: tuple[str, float]) -> None:
        """Begin several stages one after the other, each with the time at which it began."""
        if not self._ended:
            self._begins += begins

    def end(self, taken: float = 0.0) -> float:
        """End the last stage, and return when that was.

        taken: when a batch took the request's rows. From then on a request waits no more, though its batch has not ended.
        """
        stage, since = self._begins[-1]
        if stage == "queue" and taken > since:
            self._begins.append(("infer", taken))
        self._ended = now = self._clock()
        return now

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage that the request had. Called after `end`."""
        found: dict[str, float] = {}
        until = self._ended
        for stage, since in reversed(self._begins):
            found[stage] = found.get(stage, 0.0) + until - since
            until = since
        return found


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


@dataclass(frozen=True)
class Reply:
    """An answer's bytes."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Result = Reply | ServingError
Done = Callable[[Result], None]  # called once, with the answer or the error
