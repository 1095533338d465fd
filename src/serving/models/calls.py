"""One submitted call of a model, and how it ends.

Knows futures and errors. Does not know queues or threads: every function here may be called by any thread, without a lock.
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
    """One submitted call. taken: rows that are in a batch already; parts: start row -> outputs that came back."""

    arrays: Arrays
    rows: int
    key: Key
    life: Lifetime
    queued: float
    future: Future[Arrays]
    taken: int = 0
    done: int = 0
    parts: dict[int, Arrays] = field(default_factory=dict)


@dataclass(slots=True)
class Slice:
    """Rows of one call that run in one batch."""

    call: Call
    start: int
    stop: int


def fail(call: Call, error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):  # another part's thread may have been first
        call.future.set_exception(error)


def fail_all(model: str, slices: list[Slice], error: BaseException) -> None:
    for s in slices:
        fail(s.call, failure(model, error))


def discard(expired: list[Call]) -> None:
    """Tell calls why they were taken out of the queue. The lock is not held: a future's callbacks may submit again."""
    for call in expired:
        try:
            call.life.check()
        except ServingError as error:
            fail(call, error)


def failure(model: str, error: BaseException) -> ModelFailed:
    """Return an error of its own for each call: a shared one would gather every caller's traceback, and the batch with it."""
    if isinstance(error, ModelFailed):
        return ModelFailed(str(error))
    return ModelFailed(f"model {model} failed on this batch; the log tells why")
