"""The calls of one model: the queue in which they wait, and how each ends.

Knows rows and lifetimes. Does not know threads or the loop. The batcher's lock guards `CallQueue`, the rows of its calls, and
`Call.finished`: who sets it ends the call, so that a call ends once, though parts of it may fail on several threads.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from serving.base.errors import ClientGone, ModelFailed
from serving.base.lifetime import Lifetime
from serving.models.rows import Key
from serving.models.tensors import Arrays

log = logging.getLogger("monopod.batcher")


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
    parts: dict[int, Arrays] = field(default_factory=dict)  # First row -> outputs.
    finished: bool = False
    cancelled: Callable[[], bool] | None = None  # Says whether the caller gave the call up, where it can.

    def useless(self) -> bool:
        """Return whether nobody waits for the rows that are left, or a part has failed."""
        return self.finished or self.life.over() or (self.cancelled is not None and self.cancelled())

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


class CallQueue:
    """The calls that wait, in the order in which they came. rows: those that no batch has taken."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self.rows = 0

    def __len__(self) -> int:
        return len(self._calls)

    def append(self, call: Call) -> None:
        self._calls.append(call)
        self.rows += call.rows

    def first_queued(self) -> float:
        """Return when the first call came, in seconds."""
        return self._calls[0].queued

    def oldest(self) -> float | None:
        """Return when the last byte of the oldest call's request came, in seconds, or None where none waits."""
        return min((call.life.received for call in self._calls), default=None)

    def useless_rows(self) -> int:
        """Return the rows of the calls that nobody waits for."""
        return sum(call.rows - call.rows_taken for call in self._calls if call.useless())

    def remove_useless(self) -> list[Call]:
        """Remove the calls that nobody waits for, and return those that have to be ended."""
        useless = [call for call in self._calls if call.useless()]
        if useless:
            gone = set(useless)
            self._calls = deque(call for call in self._calls if call not in gone)
            self.rows -= sum(call.rows - call.rows_taken for call in useless)
        return [call for call in useless if call.finish()]

    def take(self, room: int, whole: bool, now: float) -> tuple[list[Slice], list[Call]]:
        """Remove up to `room` rows of one key for a batch, the oldest first.

        whole: remove one call with all its rows, whatever `room` is. Return the rows, and the calls to end that were found on
        the way and that nobody waits for.
        """
        slices: list[Slice] = []
        passed: list[Call] = []
        ended: list[Call] = []
        calls = self._calls
        while calls and room > 0:
            call = calls.popleft()
            left = call.rows - call.rows_taken
            if call.useless():
                self.rows -= left
                if call.finish():
                    ended.append(call)
                continue
            if slices and call.key != slices[0].call.key:
                passed.append(call)
                continue
            size = left if whole or left <= room else room
            if not call.rows_taken:
                call.taken = now
            slices.append(Slice(call, call.rows_taken, call.rows_taken + size))
            call.rows_taken += size
            self.rows -= size
            room = 0 if whole else room - size
            if size < left:
                passed.append(call)
        calls.extendleft(reversed(passed))
        return slices, ended


def add_part(piece: Slice, outputs: Arrays) -> bool:
    """Keep the outputs of some rows. Return whether the call is whole now and the caller has to end it."""
    call = piece.call
    call.parts[piece.start] = outputs
    call.rows_done += piece.stop - piece.start
    return call.rows_done == call.rows and call.finish()


def tell(calls: Iterable[Call]) -> None:
    """Call `done` of each. What it raises is logged and concerns no other call."""
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


def why_useless(call: Call) -> Exception:
    """Return the error of a call that nobody waits for."""
    return call.life.error() or ClientGone("the caller cancelled the call")


def failure(model: str, error: BaseException) -> ModelFailed:
    """Return a new error for one call. A shared error would collect every caller's traceback, and with it the batch."""
    if isinstance(error, ModelFailed):
        return ModelFailed(str(error))
    return ModelFailed(f"model {model} failed on this batch; the log tells why")
