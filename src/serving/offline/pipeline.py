"""Records on their way: from the source through the core to every sink, or to the dead letters.

Concurrency. All of it runs on the loop. At most `limit` records are in the core, so the model's queue has a place for each, and
batches fill across partitions. A try has a deadline of its own: where a model hangs, it ends there, and what comes later is
ignored. A record that waits, is held or pauses before its next try is dropped when its partition is withdrawn. A record in the
core, or one that a sink is to write, has revoke_second more. Then nothing of it is begun or written any more.
"""

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from serving.base.errors import ServiceFailed, ServingError
from serving.core.messages import JSON, Done, RawRequest, Reply, Result
from serving.offline.batch_writer import BatchWriter, Waiting
from serving.offline.circuit_breaker import CircuitBreaker
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.records import Answer, DeadLetter, Origin, Record, Refusal, Source
from serving.offline.retry_policy import RetryTimes, Verdict, verdict_of
from serving.offline.work import NOT_BEGUN, RawRecord, State, Work
from serving.telemetry.logs import LogThrottle
from serving.web.front.request_cycle import Deadlines

log = logging.getLogger("monopod.offline")

DEAD_LOGGED_A_SECOND = 10
MAX_ERROR = 1000  # characters of a dead letter's error


class Bounds(NamedTuple):
    """The numbers by which records are run."""

    limit: int  # records in the core at once
    timeout: float  # seconds of one try
    max_record: int  # bytes of one value
    retries: int  # further tries of a record
    times: RetryTimes  # between tries
    revoke_second: float  # for the records of a withdrawn partition that were begun
    version: str  # of the model's release


class Pipeline:
    """The way of all records of a process. answer: as Core.answer. The source bounds how many records are on their way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[RawRequest, Done], None],
        source: Source,
        sinks: Sequence[BatchWriter[Answer]],
        dead: BatchWriter[DeadLetter],
        bounds: Bounds,
        metrics: OfflineMetrics,
    ):
        self._loop, self._answer, self._source, self._sinks, self._dead = loop, answer, source, sinks, dead
        self._bounds, self._metrics = bounds, metrics
        self._deadlines = Deadlines(loop)
        self.unfinished: dict[Work, None] = {}
        self.outcomes: Counter[str] = Counter()
        self._waiting: deque[Work] = deque()
        self.breaker = CircuitBreaker(loop, bounds.times.cap, self._next_waiting, self._begin, source.hold)
        self._running = 0
        self._no_room = self._filling = False
        self._dead_logged = LogThrottle(DEAD_LOGGED_A_SECOND, 1.0)

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            self._enter(Work(record))
        self._fill()

    def withdraw(self, topic: str, partition: int) -> Sequence[Origin]:
        """Drop what was not begun of a partition, and return its origins. Each other record has revoke_second."""
        works = [work for work in self.unfinished if work.record.origin[:2] == (topic, partition)]
        dropped = [work for work in works if work.state in NOT_BEGUN]
        for work in works:
            work.withdrawn = True
        for work in dropped:
            self._leave(work)
        self._waiting = deque(work for work in self._waiting if work.state is State.WAITING)
        begun = [work for work in works if work.state is not State.DONE]
        if begun:
            self._loop.call_later(self._bounds.revoke_second, self._forget, begun)
        return [work.record.origin for work in dropped]

    def oldest_age(self) -> float:
        """Return the age of the oldest unfinished record by its own time, in seconds, 0 without one. Any thread may ask."""
        first = min((work.record.time for work in list(self.unfinished)), default=None)
        return 0.0 if first is None else max(0.0, time.time() - first / 1000)

    def _enter(self, work: Work) -> None:
        record, most = work.record, self._bounds.max_record
        self.unfinished[work] = None
        if record.refusal is not None:
            self._give_up(work, record.refusal)
        elif record.value is None:
            self._finish(work, "tombstone")
        elif len(record.value) > most:
            words = f"the value has {len(record.value)} bytes, and offline_max_record is {most}"
            self._give_up(work, Refusal("too_large", words))
        else:
            self._waiting.append(work)

    # In the core.

    def _fill(self) -> None:
        """Begin records while the core has places. An answer that comes at once must not begin the next one inside it."""
        if self._filling:
            return
        self._filling = True
        try:
            while self._waiting and self._running < self._bounds.limit and not self._no_room and not self.breaker.is_open:
                self._begin(self._waiting.popleft())
        finally:
            self._filling = False

    def _next_waiting(self) -> Work | None:
        return self._waiting.popleft() if self._waiting else None

    def _begin(self, work: Work) -> None:
        work.state = State.RUNNING
        work.tries += 1
        self._running += 1
        attempt = RawRecord(work.record, work.id, self._bounds.timeout, partial(self._tried, work))
        self._deadlines.watch(attempt)
        self._answer(attempt, attempt.finish)

    def _tried(self, work: Work, attempt: RawRecord, result: Result) -> None:
        self._deadlines.forget(attempt)
        self._running -= 1
        self._no_room = False
        if work.state is not State.RUNNING:  # it was dropped meanwhile
            self.breaker.ended(work)
        elif isinstance(result, ServingError):
            self._failed(work, result)
        elif result.status >= 500:
            self._failed(work, ServiceFailed(f"the service's own code answered with status {result.status}"))
        else:
            self._answered(work, result)
        self._fill()

    def _answered(self, work: Work, reply: Reply) -> None:
        for released in self.breaker.succeeded(work):
            released.state, released.tries = State.WAITING, 0
            self._waiting.append(released)  # behind those that may be good ones
        if reply.status >= 400:
            self._give_up(work, Refusal("refused_by_service", f"the service's own code answered with status {reply.status}"))
        elif reply.content_type.partition(";")[0].strip() != JSON:
            words = f"the service answers with {reply.content_type}; sinks take JSON alone"
            self._give_up(work, Refusal("not_json", words))
        else:
            self._write(work, reply.body)

    def _failed(self, work: Work, error: ServingError) -> None:
        verdict = verdict_of(error)
        model_held = self.breaker.is_open and verdict is Verdict.MODEL
        tries_left = work.tries <= self._bounds.retries
        if not model_held:
            self.breaker.ended(work)
        if verdict is Verdict.FOR_GOOD:
            self._give_up(work, Refusal(error.reason, str(error)))
        elif work.withdrawn:
            self.breaker.ended(work)
            self._drop(work)
        elif verdict is Verdict.NO_ROOM and self._running:
            self._wait_for_room(work)
        elif model_held:
            self.breaker.hold(work)
        elif tries_left:
            self._pause(work)
        elif verdict is Verdict.MODEL and self.breaker.failed(str(error)):
            self.breaker.hold(work)
        else:
            self._give_up(work, Refusal(error.reason, f"{error} (after {work.tries} tries)"))

    def _wait_for_room(self, work: Work) -> None:
        """Put a record first in line again. No further one begins before another has left the core."""
        work.tries -= 1
        work.state, self._no_room = State.WAITING, True
        self._waiting.appendleft(work)

    def _pause(self, work: Work) -> None:
        work.state = State.PAUSED
        self._metrics.retries.inc()
        work.timer = self._loop.call_later(self._bounds.times.pause(work.tries, random.random()), self._again, work)

    def _again(self, work: Work) -> None:
        if self.breaker.is_open:
            self.breaker.hold(work)
            return
        work.state = State.WAITING
        self._waiting.appendleft(work)
        self._fill()

    # At the sinks.

    def _write(self, work: Work, body: bytes) -> None:
        work.state, work.unacknowledged = State.WRITING, len(self._sinks)
        answer = Answer(work.record, body, self._bounds.version)
        for sink in self._sinks:
            sink.put(Waiting(answer, len(body), partial(self._written, work), lambda: work.state is State.WRITING))

    def _written(self, work: Work, refusal: Refusal | None) -> None:
        work.unacknowledged -= 1
        work.refusal = work.refusal or refusal
        if work.unacknowledged or work.state is not State.WRITING:
            return
        if work.refusal is None:
            self._finish(work, "answered")
        else:
            self._give_up(work, work.refusal)

    def _give_up(self, work: Work, refusal: Refusal) -> None:
        work.state = State.WRITING
        if self._dead_logged.allows():
            place = "{}, partition {}, offset {}".format(*work.record.origin)
            log.warning("dead: %s: %s", place, refusal.text, extra={"request_id": work.id, "reason": refusal.reason})
        refusal = Refusal(refusal.reason, refusal.text[:MAX_ERROR])
        letter = DeadLetter(work.record, refusal, work.id, self._bounds.version)
        buried = partial(self._buried, work, refusal.reason)
        self._dead.put(Waiting(letter, work.size(), buried, lambda: work.state is State.WRITING))

    def _buried(self, work: Work, reason: str, _: Refusal | None) -> None:
        if work.state is State.WRITING:
            self._metrics.dead_letters.labels(reason).inc()
            self._finish(work, "dead")

    # The end of a record.

    def _leave(self, work: Work) -> None:
        del self.unfinished[work]
        work.state = State.DONE
        if work.timer is not None:
            work.timer.cancel()

    def _finish(self, work: Work, outcome: str) -> None:
        self._leave(work)
        self.outcomes[outcome] += 1
        self._metrics.records.labels(outcome).inc()
        self._source.finished(work.record.origin)

    def _drop(self, work: Work) -> None:
        self._leave(work)
        self._source.dropped(work.record.origin)

    def _forget(self, works: Sequence[Work]) -> None:
        for work in works:
            if work.state is not State.DONE:
                self._drop(work)
        for sink in self._sinks:
            sink.drop_unwanted()
        self._dead.drop_unwanted()
