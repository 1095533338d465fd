"""One submitted call of a model, and how it ends.

Knows futures and errors. Does not know queues or threads: any thread may call every function here, without a lock.
"""

import contextlib
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from serving.base.errors import ModelFailed, ServingError
from serving.base.lifetime import Lifetime
from serving.models.rows import Key
from serving.models.tensors import Arrays


@dataclass(eq=False, slots=True)
class Call:
    """One submitted call."""

    arrays: Arrays
    rows: int
    key: Key
    life: Lifetime
    queued: float  # When it came, in seconds of time.monotonic().
    future: Future[Arrays]
    taken: int = 0  # Rows that are in a batch already.
    done: int = 0  # Rows whose outputs came back.
    parts: dict[int, Arrays] = field(default_factory=dict)  # First row -> outputs.


@dataclass(slots=True)
class Slice:
    """Rows of one call that run in one batch."""

    call: Call
    start: int
    stop: int


def fail(call: Call, error: Exception) -> None:
    """Give a call its error, unless it has ended."""
    with contextlib.suppress(InvalidStateError):  # the thread of another part may have ended it first
        call.future.set_exception(error)


def fail_all(model: str, slices: list[Slice], error: BaseException) -> None:
    """Fail every call of a batch with ModelFailed."""
    for s in slices:
        fail(s.call, failure(model, error))


def discard(expired: list[Call]) -> None:
    """Fail the calls that were removed from the queue, each with its cause. Call it without a lock: a callback may submit."""
    for call in expired:
        try:
            call.life.check()
        except ServingError as error:
            fail(call, error)


def failure(model: str, error: BaseException) -> ModelFailed:
    """Return a new error for one call. A shared error would collect every caller's traceback, and with it the batch."""
    if isinstance(error, ModelFailed):
        return ModelFailed(str(error))
    return ModelFailed(f"model {model} failed on this batch; the log tells why")
