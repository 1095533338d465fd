"""The stop of reading while the model fails for most records, and the single record that is tried meanwhile.

Concurrency. All of it runs on the loop. While the circuit is open, a timer has one record tried at a time. The first success
closes it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection

from serving.offline.work import State, Work

KEPT = 100  # records
MIN_OUTCOMES = 20  # records. Where fewer are known, over half of this must have failed: else one failure would count as all
log = logging.getLogger("monopod.offline")


def mostly_failed(outcomes: Collection[bool]) -> bool:
    """Return whether over half of the last records failed. outcomes: whether each failed by the model or the service."""
    return 2 * sum(outcomes) > max(len(outcomes), MIN_OUTCOMES)


class CircuitBreaker:
    """Is open while the model fails for most records. every: seconds between two tries meanwhile.

    next_untried: takes the first record that waits and was never tried, or returns None. begin: tries a record.
    hold_source: stops reading, or lets it go on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        every: float,
        next_untried: Callable[[], Work | None],
        begin: Callable[[Work], None],
        hold_source: Callable[[bool], None],
    ):
        self._loop, self._every, self._next, self._begin, self._hold_source = loop, every, next_untried, begin, hold_source
        self._outcomes: deque[bool] = deque(maxlen=KEPT)
        self._held: deque[Work] = deque()
        self._tried: Work | None = None
        self._turn = False
        self.is_open = False

    def succeeded(self, work: Work) -> list[Work]:
        """Note that the model answered. Return the records that were held where that ends it: they begin anew."""
        self._outcomes.append(False)
        if work is not self._tried:
            return []
        log.warning("the model answers again: reading goes on")
        released = [each for each in self._held if each.state is State.HELD]
        self._held.clear()
        self._end()
        return released

    def failed(self, why: str) -> bool:
        """Note that a record failed for the last time, and return whether reading is stopped."""
        self._outcomes.append(True)
        if not self.is_open and mostly_failed(self._outcomes):
            self.is_open = True
            log.critical(
                "the model failed for over half of the last records, so reading stops and none becomes a dead letter; one "
                "record is tried every %g s; the last failure: %s", self._every, why,
            )  # fmt: skip
            self._loop.call_later(self._every, self._try_one)
            self._hold_source(True)
        return self.is_open

    def hold(self, work: Work) -> None:
        """Keep a record that failed until the model works again."""
        self.ended(work)
        work.state = State.HELD
        self._held.append(work)

    def ended(self, work: Work) -> None:
        """Note that a try ended in another way than by an answer, so that another record is tried next."""
        if work is self._tried:
            self._tried = None
            self._loop.call_later(self._every, self._try_one)

    def _try_one(self) -> None:
        """Try a record: in turn one that failed and one that was never tried, since the former may all be bad ones."""
        self._turn = not self._turn
        work = (self._failed() or self._next()) if self._turn else (self._next() or self._failed())
        if work is None:  # every record was withdrawn: those that come must be read
            self._end()
            return
        self._tried = work
        self._begin(work)

    def _end(self) -> None:
        self.is_open, self._tried = False, None
        self._outcomes.clear()
        self._hold_source(False)

    def _failed(self) -> Work | None:
        while self._held:
            work = self._held.popleft()
            if work.state is State.HELD:
                return work
        return None
