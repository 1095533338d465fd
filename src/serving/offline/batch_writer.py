"""The queue of one sink, and the task that writes it in batches, again and again while the sink is away.

Concurrency. All of it runs on the loop. `put` never waits: what waits is bounded by the windows of the partitions. One task
calls `run`, which ends when it is cancelled. Nobody writes the rest of the queue then: its records are read again.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from serving.offline.records import Refusal, Unreachable
from serving.offline.retry_policy import RetryTimes
from serving.telemetry.logs import LogThrottle

log = logging.getLogger("monopod.offline")

MAX_THINGS, MAX_BYTES = 500, 4 * 2**20  # of one batch; one thing is always written, however large it is
Thing = TypeVar("Thing")


class Waiting(NamedTuple, Generic[Thing]):
    """A thing that waits."""

    thing: Thing
    size: int  # bytes
    done: Callable[[Refusal | None], None]  # gets None once it is acknowledged
    wanted: Callable[[], bool]  # whether it must still be written


class BatchWriter(Generic[Thing]):
    """Writes things to one sink. write: as Sink.write. observe: gets the seconds of each write that succeeded."""

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[Thing]], Awaitable[Sequence[Refusal | None]]],
        times: RetryTimes,
        observe: Callable[[float], None],
    ):
        self.name, self._write, self._times, self._observe = name, write, times, observe
        self._waiting: deque[Waiting[Thing]] = deque()
        self._batch: list[Waiting[Thing]] = []
        self._come = asyncio.Event()
        self._away_since, self._throttle = 0.0, LogThrottle()  # seconds of time.monotonic()

    def put(self, waiting: Waiting[Thing]) -> None:
        self._waiting.append(waiting)
        self._come.set()

    def drop_unwanted(self) -> None:
        """Forget the things that nobody wants any more. A sink that stays away would else keep them all."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.wanted())

    def waiting(self) -> int:
        """Return how many things are not acknowledged. Any thread may ask."""
        return len(self._waiting) + len(self._batch)

    def away_seconds(self) -> float:
        """Return for how long the sink has been away, 0 where it is not. Any thread may ask."""
        since = self._away_since
        return time.monotonic() - since if since else 0.0

    async def run(self) -> None:
        """Write what comes, for ever. Raises BrokenPipeError where nobody reads standard output any more."""
        while True:
            await self._come.wait()
            self._batch = self._gather()
            if self._batch:
                await self._write_batch()
            if not self._waiting:
                self._come.clear()

    def _gather(self) -> list[Waiting[Thing]]:
        found: list[Waiting[Thing]] = []
        size = 0
        while self._waiting and len(found) < MAX_THINGS:
            if found and size + self._waiting[0].size > MAX_BYTES:
                break
            first = self._waiting.popleft()
            if first.wanted():
                found.append(first)
                size += first.size
        return found

    async def _write_batch(self) -> None:
        """Write a batch until it is acknowledged. A further try leaves out the things that nobody wants any more."""
        tries = 0
        while self._batch:
            began = time.monotonic()
            try:
                refusals = await self._write([waiting.thing for waiting in self._batch])
            except Unreachable as error:
                self._is_away(began, str(error))
            except BrokenPipeError:  # nobody reads standard output any more, and nobody will
                raise
            except Exception as error:  # a mistake in a sink's code must lose nothing either
                log.exception("%s: a write failed unexpectedly; please report it", self.name)
                self._is_away(began, f"{type(error).__name__}: {error}")
            else:
                self._acknowledged(refusals, time.monotonic() - began)
                return
            tries += 1
            await asyncio.sleep(self._times.pause(tries, random.random()))
            self._batch = [waiting for waiting in self._batch if waiting.wanted()]

    def _acknowledged(self, refusals: Sequence[Refusal | None], seconds: float) -> None:
        if self._away_since:
            log.info("%s is back after %.0f s", self.name, self.away_seconds())
            self._away_since, self._throttle = 0.0, LogThrottle()
        self._observe(seconds)
        batch, self._batch = self._batch, []
        for waiting, refusal in zip(batch, refusals, strict=True):
            waiting.done(refusal)

    def _is_away(self, since: float, why: str) -> None:
        self._away_since = self._away_since or since
        if self._throttle.allows():
            log.error("%s is away: %s; what waits for it: %d; reading stops at the window", self.name, why, self.waiting())
