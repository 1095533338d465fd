"""The calls of one model: the queue in which they wait, and how each ends.

Concurrency. The batcher's lock guards `CallQueue`, the rows of its calls, and `Call.finished`. The thread that sets `finished`
ends the call, so a call ends once, though parts of it may fail on several threads.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

from serving.base.errors import ClientGone, ModelFailed
from serving.base.lifetime import Lifetime
from serving.models.tensors import Arrays, Key, cut_rows, join_rows

log = logging.getLogger("monopod.batcher")

COUNT_SECONDS = 0.001  # The count of useless rows is kept this long at least,
COUNT_SECONDS_A_CALL = 2e-6  # and for each call in the queue, so that counting takes a small part of the time.


@dataclass(eq=False, slots=True)
class Call:
    """One submitted call. Its times are seconds of the batcher's clock, and 0 for what has not happened."""

    arrays: Arrays
    rows: int
    key: Key
    life: Lifetime
    done: "Callable[[Call], None]"  # Called once, with this call, when `outputs` or `error` is set.
    on_loop: bool  # Whether `done` is called on the loop's thread.
    queued: float
    taken: float = 0.0  # A batch took its first rows.
    joined: float = 0.0  # The inputs of its first batch were joined.
    ended: float = 0.0  # The model's last part came back, or the call failed.
    outputs: Arrays | None = None
    error: Exception | None = None
    rows_taken: int = 0
    rows_done: int = 0
    parts: dict[int, Arrays] | None = None  # First row -> outputs, of a call that is split over batches.
    finished: bool = False
    cancelled: Callable[[], bool] | None = None  # Says whether the caller gave the call up, where it can.

    def useless(self) -> bool:
        """Return whether nobody waits for the rows that are left, or a part has failed."""
        return self.finished or self.life.over() or (self.cancelled is not None and self.cancelled())

    def why_useless(self) -> Exception:
        """Return the error of a call that nobody waits for."""
        return self.life.error() or ClientGone("the caller cancelled the call")

    def join_parts(self, model: str, parts: dict[int, Arrays]) -> None:
        """Set the outputs of a call that is whole, or its error where the model returned parts of different shapes."""
        try:
            self.outputs = join_rows([parts[start] for start in sorted(parts)])
        except Exception as error:
            self.error = failure(model, error)

    def finish(self) -> bool:
        """Claim the end of the call. Return whether the caller is the first."""
        first, self.finished = not self.finished, True
        return first


@dataclass(slots=True)
class Slice:
    """Rows of one call that run in one batch."""

    call: Call
    start: int
    stop: int

    def inputs(self) -> Arrays:
        """Return the inputs of these rows, without copying them. A call that is taken whole has its own."""
        call = self.call
        return call.arrays if self.stop - self.start == call.rows else cut_rows(call.arrays, self.start, self.stop)

    def add(self, outputs: Arrays) -> bool:
        """Keep the outputs of these rows. Return whether the call is whole now and the caller has to end it."""
        call = self.call
        call.rows_done += self.stop - self.start
        if call.rows_done == call.rows and call.parts is None:
            call.outputs = outputs
        else:
            call.parts = call.parts or {}
            call.parts[self.start] = outputs
        return call.rows_done == call.rows and call.finish()


class CallQueue:
    """The calls that wait, in the order in which they came. rows: those that no batch has taken."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self.rows = 0
        self._useless_rows, self._count_again = 0, 0.0  # as counted last, and when to count again

    def __len__(self) -> int:
        return len(self._calls)

    def append(self, call: Call) -> None:
        self._calls.append(call)
        self.rows += call.rows

    def first_queued(self) -> float:
        """Return the time at which the first call came, in seconds."""
        return self._calls[0].queued

    def oldest(self) -> float | None:
        """Return the time of the last byte of the oldest call that is not useless, in seconds, or None."""
        return min((call.life.received for call in self._calls if not call.useless()), default=None)

    def useful_rows(self, now: float) -> int:
        """Return the rows that a caller still wants. They are counted anew every COUNT_SECONDS at most."""
        if now >= self._count_again:
            self._useless_rows = sum(call.rows - call.rows_taken for call in self._calls if call.useless())
            self._count_again = now + max(COUNT_SECONDS, COUNT_SECONDS_A_CALL * len(self._calls))
        return self.rows - self._useless_rows

    def remove_useless(self) -> list[Call]:
        """Remove and return the calls that nobody waits for."""
        useless = {call: None for call in self._calls if call.useless()}
        if useless:
            self._calls = deque(call for call in self._calls if call not in useless)
            self.rows -= sum(call.rows - call.rows_taken for call in useless)
            self._useless_rows = 0
        return list(useless)

    def take(self, room: int, whole: bool, now: float) -> tuple[list[Slice], list[Call]]:
        """Remove up to `room` rows of one key for a batch, the oldest first.

        whole: remove one call with all its rows, whatever `room` is. Return the rows, and the useless calls found on the way.
        """
        slices: list[Slice] = []
        useless: list[Call] = []
        passed: list[Call] = []
        while self._calls and room > 0:
            call = self._calls.popleft()
            if call.useless():
                useless.append(call)
            elif slices and call.key != slices[0].call.key:
                passed.append(call)
            else:
                slices.append(_slice(call, call.rows if whole else room, now))
                room -= room if whole else slices[-1].stop - slices[-1].start
                if call.rows_taken < call.rows:
                    passed.append(call)
        self._calls.extendleft(reversed(passed))
        self.rows -= sum([s.stop - s.start for s in slices]) + sum([call.rows - call.rows_taken for call in useless])
        self._useless_rows = 0
        return slices, useless


def _slice(call: Call, room: int, now: float) -> Slice:
    start = call.rows_taken
    if not start:
        call.taken = call.life.taken = now
    call.rows_taken = min(start + room, call.rows)
    return Slice(call, start, call.rows_taken)


def hand_over(calls: list[Call], loop: asyncio.AbstractEventLoop | None) -> None:
    """Tell everybody who waits for these calls: the loop of all its calls in one step, and others from this thread."""
    of_loop = [call for call in calls if call.on_loop]
    if of_loop and loop is not None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(tell, of_loop)
    if len(of_loop) < len(calls):
        tell(call for call in calls if not call.on_loop)


def tell(calls: Iterable[Call]) -> None:
    """Call `done` of each. An exception that it raises is logged and concerns no other call."""
    for call in calls:
        try:
            call.done(call)
        except BaseException:  # a callback of a service's own code may even call sys.exit
            log.exception("the answer of a call could not be handed over")


def resolve(future: Future[Arrays], call: Call) -> None:
    """Give a future what its call ended with."""
    with contextlib.suppress(InvalidStateError):  # it was cancelled
        if call.outputs is None:
            future.set_exception(call.error)
        else:
            future.set_result(call.outputs)


def failure(model: str, error: BaseException) -> ModelFailed:
    """Return a new error for one call. A shared error would collect every caller's traceback, and with it the batch."""
    if isinstance(error, ModelFailed):
        return ModelFailed(str(error))
    return ModelFailed(f"model {model} failed on this batch; the log tells why")
