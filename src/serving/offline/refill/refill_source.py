"""A Source of inputs that end: files and queries. It reads them one after another, and notes how far each is done.

Knows the bounds of what is open at once. Does not know what an input is, or where answers go.

Concurrency. One thread, which `start` starts, owns the tracks, the bar and the note. It gives lists of records to the loop by
call_soon_threadsafe. `finished` and `dropped` only append to a deque, which the thread empties. They wake the thread once
enough lies there, and else it looks each LOOK_SECOND. It ends when all is finished, on `stop`, and with the process. A death
loses what was not noted yet: the records of about a second, which the next run does again.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from serving.base.terminal import timed_progress
from serving.offline.records import Origin, Record, SourceFailed, Unreachable
from serving.offline.refill.items import Item, Name
from serving.offline.refill.tracks import Track, Tracks
from serving.telemetry.logs import LogThrottle

BATCH, BATCH_BYTES, BATCH_SECOND = 64, 2**20, 0.05  # the most that one list of records gathers
LOOK_SECOND = 0.25
HANG_SECOND = 2.0  # that `stop` waits for the thread beyond its time

log = logging.getLogger("monopod.refill")


class _Open(NamedTuple):
    """A record that is not finished. places: where it stands, several times where an input names a file twice."""

    size: int
    places: list[tuple[Track, Name]]


class Refill:
    """A Source. window: the most records that are open at once. most_bytes: of their values.

    retry_second: the time before a further try of an input that is unreachable. rate: the most records a second, or 0.
    limit: the most records of this run, or 0.
    """

    def __init__(self, tracks: Tracks, window: int, most_bytes: int, retry_second: float, rate: float = 0.0, limit: int = 0):
        self.tracks, self.count = tracks, 0
        self._interval, self._due = 1 / rate if rate else 0.0, 0.0
        self._window, self._most_bytes, self._retry = window, most_bytes, retry_second
        self._left = limit or math.inf
        self._done: deque[tuple[Origin, bool]] = deque()  # with whether it is finished, or else dropped
        self._wake, self._stopping, self._held = threading.Event(), threading.Event(), False
        self._awaited, self._deadline = 1, float("inf")
        self._open: dict[Origin, _Open] = {}
        self._open_bytes = 0
        self._batch: list[Record] = []
        self._batch_bytes, self._batch_begin, self._began, self._throttle = 0, 0.0, 0.0, LogThrottle()
        self._tell: Callable[[float, str], None] = lambda now, words: None
        self._thread = threading.Thread(target=self._run, name="refill", daemon=True)

    def start(self, take: Callable[[Sequence[Record]], None], withdraw: Callable[[str, int], Sequence[Origin]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._take, self._withdraw = take, withdraw
        self._began = time.monotonic()
        self._thread.start()

    def finished(self, origin: Origin) -> None:
        self._note_done(origin, True)

    def dropped(self, origin: Origin) -> None:
        self._note_done(origin, False)

    def hold(self, held: bool) -> None:
        self._held = held
        self._wake.set()

    def ready(self) -> bool:
        return True  # it is known from the start what is read

    def stuck_seconds(self) -> float:
        return 0.0  # a disk or a database that answers slowly is no fault of this process

    async def ended(self) -> None:
        await asyncio.shield(self._end)

    async def stop(self, seconds: float) -> None:
        if not self._thread.ident:
            return
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        for track in self.tracks.unread():
            await asyncio.to_thread(track.input.interrupt)
        with contextlib.suppress(SourceFailed, TimeoutError):  # `ended` tells of it; or the thread hangs in a server's answer
            await asyncio.wait_for(self.ended(), seconds + HANG_SECOND)

    def _note_done(self, origin: Origin, finished: bool) -> None:
        self._done.append((origin, finished))
        if len(self._done) >= self._awaited:
            self._wake.set()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            with timed_progress(self.tracks.size, self.tracks.through()) as self._tell:
                failures = self._read_all()
                self._settle()
            self.tracks.write()
            if failures:
                failure = SourceFailed("\n".join(failures))
        except BaseException as error:
            failure = error
        self.tracks.close()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._tell_end, failure)

    def _tell_end(self, failure: BaseException | None) -> None:
        if failure is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(failure)
            self._end.exception()  # it counts as looked at, since nobody may wait for the end

    def _read_all(self) -> list[str]:
        """Read each input, and return why some could not be read to their end."""
        failures = []
        for track in self.tracks.unread():
            try:
                while self._left and not self._stopping.is_set() and not self._read(track):
                    self._rest(self._retry)
            except SourceFailed as error:
                failures.append(str(error))
        return failures

    def _read(self, track: Track) -> bool:
        """Give an input's items from where it was read to. Return False where it is unreachable for now."""
        try:
            for item in track.input.read(track.read_to):
                if not self._left:
                    return True
                track.read_to = item.place
                if track.unfinished.give(item) and not self._give(track, item):
                    return True
                self._look()
            track.read = True
        except Unreachable as error:
            if self._throttle.allows():
                log.warning("the refill waits, and tries again: %s", error)
            return False
        return True

    def _give(self, track: Track, item: Item) -> bool:
        """Have an item answered. Return False where the source is stopped before."""
        size = len(item.record.value or b"")
        while not self._has_room(track, size):
            if self._stopping.is_set():
                return False
            self._rest(min(LOOK_SECOND, max(0.01, self._due - time.monotonic())))
        self._due = max(self._due, time.monotonic() - BATCH_SECOND) + self._interval
        self._left -= 1
        if item.record.origin in self._open:
            self._open[item.record.origin].places.append((track, item.name))
            return True
        self._open[item.record.origin] = _Open(size, [(track, item.name)])
        self._open_bytes += size
        if not self._batch:
            self._batch_begin = time.monotonic()
        self._batch.append(item.record)
        self._batch_bytes += size
        late = time.monotonic() - self._batch_begin > BATCH_SECOND
        if len(self._batch) >= BATCH or self._batch_bytes >= BATCH_BYTES or late:
            self._flush()
        return True

    def _has_room(self, track: Track, size: int) -> bool:
        if self._held or self._stopping.is_set() or (self._interval and self._due > time.monotonic()):
            return False
        fits = not self._open or self._open_bytes + size <= self._most_bytes
        return fits and len(self._open) < self._window and track.unfinished.spread() <= self._window

    def _flush(self) -> None:
        """Hand the gathered records over."""
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch:
            self._on_loop(self._take, batch)

    def _settle(self) -> None:
        """Wait until what was given is finished. On `stop`, what was not begun is dropped, and the rest waited for a while."""
        withdrawn = False
        while self._batch or self._open:
            if self._stopping.is_set() and not withdrawn:
                withdrawn = True
                self._done.extend((record.origin, False) for record in self._batch)
                self._batch = []
                self._on_loop(self._drop, {(origin.topic, origin.partition) for origin in self._open})
            if time.monotonic() > self._deadline:
                return
            self._rest(LOOK_SECOND)

    def _drop(self, partitions: set[tuple[str, int]]) -> None:
        for topic, partition in partitions:
            for origin in self._withdraw(topic, partition):
                self.dropped(origin)

    def _rest(self, seconds: float) -> None:
        """Wait for records that are finished, and for no longer than some seconds."""
        self._flush()
        self._awaited = max(1, len(self._open) // 2)
        self._wake.clear()
        if len(self._done) < self._awaited and not self._stopping_now():
            self._wake.wait(seconds)
        self._look()

    def _stopping_now(self) -> bool:
        return self._stopping.is_set() and not self._open

    def _look(self) -> None:
        """Take what was finished, and show and note it."""
        while self._done:
            origin, finished = self._done.popleft()
            opened = self._open.pop(origin, _Open(0, []))
            self._open_bytes -= opened.size
            for track, name in opened.places if finished else ():
                track.unfinished.finish(name)
                self.count += 1
        if self.tracks.write_some(self.count):
            seconds = max(time.monotonic() - self._began, 0.001)
            self._tell(self.tracks.through(), f"{self.count:,} records, {self.count / seconds:,.1f}/s")

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has ended: nobody takes records, and none will be finished
            self._stopping.set()
            self._deadline = 0.0
