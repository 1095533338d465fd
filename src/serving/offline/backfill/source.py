"""A Source of inputs that end: files, queries and dead letters. It reads one after another, and notes how far each is done.

Concurrency. One thread, which `start` starts, owns the inputs, the bar and the checkpoint. It meets the loop in a ThreadBridge,
which wakes it once enough records have ended, and else it looks each LOOK_SECONDS. It ends when all is finished, on `stop`, and
with the process. A death loses what was not noted yet: the records of about a second, which the next run does again.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from serving.base.terminal import timed_progress
from serving.offline.backfill.input_progress import InputProgress, Inputs, Item, Name
from serving.offline.reading_bounds import ReadingBounds
from serving.offline.records import Origin, Record, SourceFailed, Unreachable
from serving.offline.thread_bridge import End, Take, ThreadBridge, ThreadedSource, Withdraw
from serving.telemetry.logs import LogThrottle

BATCH, BATCH_BYTES, BATCH_SECONDS = 64, 2**20, 0.05  # the most that one list of records gathers
LOOK_SECONDS = 0.25

log = logging.getLogger("monopod.refill")


class Backfill(ThreadedSource):
    """A Source. window: the most records that are open at once.

    retry_second: the time before a further try of an input that is unreachable.
    """

    def __init__(self, inputs: Inputs, window: int, bounds: ReadingBounds, retry_second: float):
        super().__init__()
        self.inputs, self.count = inputs, 0
        self._window, self._bounds, self._retry = window, bounds, retry_second
        # Where each open record stands: several times where an input names a file twice.
        self._open: dict[Origin, list[tuple[InputProgress, Name]]] = {}
        self._batch: list[Record] = []
        self._batch_bytes, self._batch_begin = 0, 0.0
        self._throttle = LogThrottle()
        self._show: Callable[[float, str], None] = lambda now, words: None

    def start(self, take: Take, withdraw: Withdraw) -> None:
        self._began = time.monotonic()
        self.begin(ThreadBridge(take, withdraw), self._run, "backfill")

    def ready(self) -> bool:
        return True  # it is known from the start what is read

    def stuck_seconds(self) -> float:
        return 0.0  # a disk or a database that answers slowly is not this process's fault

    async def interrupt(self) -> None:
        for each in self.inputs.unread():
            await asyncio.to_thread(each.input.interrupt)

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            with timed_progress(self.inputs.size, self.inputs.through()) as self._show:
                failures = self._read_all()
                self._settle()
            self.inputs.write()
            if failures:
                failure = SourceFailed("\n".join(failures))
        except Exception as error:
            failure = error
        self.inputs.close()
        self.bridge.end(failure)
        self.bridge.leave()

    def _stops(self) -> bool:
        return self.bridge.stop_by is not None

    def _read_all(self) -> list[str]:
        """Read each input, and return why some could not be read to their end."""
        failures = []
        for each in self.inputs.unread():
            try:
                while not self._bounds.exhausted and not self._stops() and not self._read(each):
                    self._rest(self._retry)
            except SourceFailed as error:
                failures.append(str(error))
        return failures

    def _read(self, progress: InputProgress) -> bool:
        """Give an input's items from where it was read to. Return False where it is unreachable for now."""
        try:
            for item in progress.input.read(progress.read_to):
                if self._bounds.exhausted:
                    return True
                progress.read_to = item.place
                if progress.in_flight.give(item) and not self._give(progress, item):
                    return True
                self._take_news()
            progress.read = True
        except Unreachable as error:
            if self._throttle.allows():
                log.warning("the backfill waits, and tries again: %s", error)
            return False
        return True

    def _give(self, progress: InputProgress, item: Item) -> bool:
        origin, size = item.record.origin, len(item.record.value or b"")
        while not self._has_room(progress, size):
            if self._stops():
                return False
            self._rest(min(LOOK_SECONDS, max(0.01, self._bounds.wait(time.monotonic()))))
        now = time.monotonic()
        self._bounds.begin(origin, size, now)
        if origin in self._open:
            self._open[origin].append((progress, item.name))
            return True
        self._open[origin] = [(progress, item.name)]
        if not self._batch:
            self._batch_begin = now
        self._batch.append(item.record)
        self._batch_bytes += size
        if len(self._batch) >= BATCH or self._batch_bytes >= BATCH_BYTES or now - self._batch_begin > BATCH_SECONDS:
            self._flush()
        return True

    def _has_room(self, progress: InputProgress, size: int) -> bool:
        if self.bridge.held or self._stops() or not self._bounds.allow(size, time.monotonic()):
            return False
        return len(self._open) < self._window and progress.in_flight.spread() <= self._window

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch and not self.bridge.give(batch):
            self.bridge.stop_by = 0.0  # the loop has ended: nobody takes records, and none will be finished

    def _settle(self) -> None:
        """Wait until what was given is finished. On `stop`, what was not begun is dropped, and the rest waited for a while."""
        withdrawn = False
        while self._batch or self._open:
            if self._stops() and not withdrawn:
                withdrawn = True
                for record in self._batch:
                    self._end(record.origin, False)
                self._batch = []
                for topic, partition in {(origin.topic, origin.partition) for origin in self._open}:
                    self.bridge.withdraw(topic, partition)
            if time.monotonic() > (math.inf if self.bridge.stop_by is None else self.bridge.stop_by):
                return
            self._rest(LOOK_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._flush()
        self.bridge.awaited = max(1, len(self._open) // 2)
        if not self._stops() or self._open:
            self.bridge.wait(seconds)
        self._take_news()

    def _take_news(self) -> None:
        for news in self.bridge.news():
            if isinstance(news, End):
                self._end(news.origin, news.finished)
        if self.inputs.write_some(self.count):
            seconds = max(time.monotonic() - self._began, 0.001)
            self._show(self.inputs.through(), f"{self.count:,} records, {self.count / seconds:,.1f}/s")

    def _end(self, origin: Origin, finished: bool) -> None:
        self._bounds.end(origin)
        places = self._open.pop(origin, [])
        for progress, name in places if finished else ():
            progress.in_flight.finish(name)
            self.count += 1
