"""The border between the loop and a source's thread: records pass to the loop, their ends and its wishes to the thread.

Concurrency. Each function says on which side it is called. A deque's ends are atomic, each attribute is written by one side,
and the event only shortens a wait. So there is no lock, and neither side waits for the other: the thread waits a bounded time,
and looks again. After the loop has closed, what the thread gives is dropped, and a withdrawal is at an end. The thread is a
daemon, so one that hangs cannot keep the process from ending: `stop` leaves it after its time.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import NamedTuple

from serving.offline.records import Origin, Record

Take = Callable[[Sequence[Record]], None]
Withdraw = Callable[[str, int], Sequence[Origin]]

LEAVE_SECONDS = 5.0  # for the last commit and the group, beyond the time for records


class End(NamedTuple):
    """The end of a record. finished: False where it was dropped, so that a later owner has to run it."""

    origin: Origin
    finished: bool


class Withdrawn(NamedTuple):
    """The loop has dropped what it had not begun of a partition."""

    generation: int


class ThreadBridge:
    """The border. Make it on the loop."""

    def __init__(self, take: Take, withdraw: Withdraw):
        self._loop = asyncio.get_running_loop()
        self._take, self._withdraw = take, withdraw
        self._news: deque[End | Withdrawn] = deque()
        self._event = Event()
        self._error: Exception | None = None
        self.finished = False  # the thread has said that nothing further will be read
        self._at_end, self._gone = asyncio.Event(), asyncio.Event()
        self.held = False
        self.stop_by: float | None = None  # by time.monotonic; None while the thread is to read on
        self.awaited = 1  # news, until the thread's wait is shortened
        self.beat = time.monotonic()  # the last sign of life
        self.waits_since: float | None = None  # by time.monotonic; a commit waits for its answer
        self.alive = True

    # The loop's side

    def done(self, origin: Origin, finished: bool) -> None:
        self._news.append(End(origin, finished))
        if len(self._news) >= self.awaited:
            self.wake()

    def wake(self) -> None:
        """Shorten the thread's wait."""
        if not self._event.is_set():
            self._event.set()

    async def at_end(self) -> None:
        """Return once the thread has read and noted all there is to read. Raises the error that ended it."""
        await self._at_end.wait()
        if self._error:
            raise self._error

    async def gone(self) -> None:
        await self._gone.wait()

    # The thread's side

    def give(self, records: Sequence[Record]) -> bool:
        """Hand records over to the loop. Returns False where the loop is closed."""
        return self._call(lambda: self._take(records))

    def withdraw(self, topic: str, partition: int, generation: int = 0) -> None:
        """Have the loop drop what it has not begun of a partition. The news then tell each dropped record, and the end."""
        if not self._call(lambda: self._drop(topic, partition, generation)):
            self._news.append(Withdrawn(generation))

    def _drop(self, topic: str, partition: int, generation: int) -> None:
        for origin in self._withdraw(topic, partition):
            self._news.append(End(origin, False))
        self._news.append(Withdrawn(generation))
        self.wake()

    def news(self) -> list[End | Withdrawn]:
        self.live()
        return [self._news.popleft() for _ in range(len(self._news))]

    def live(self) -> None:
        self.beat = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait for news, at most for some seconds."""
        if len(self._news) < self.awaited:
            self._event.wait(seconds)
        self._event.clear()

    def end(self, error: Exception | None = None) -> None:
        """Tell the loop that nothing further will be read, and why."""
        self.finished = True
        self._error = self._error or error
        self._call(self._at_end.set)

    def leave(self) -> None:
        self.alive = False
        self._call(self._gone.set)

    def _call(self, function: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True


class ThreadedSource:
    """The loop's side of a Source that a thread reads. begin() gives it its thread."""

    def __init__(self) -> None:
        self._begun: ThreadBridge | None = None

    @property
    def bridge(self) -> ThreadBridge:
        """The bridge, once the thread runs."""
        assert self._begun, "start() was not called"
        return self._begun

    def begin(self, bridge: ThreadBridge, run: Callable[[], None], name: str) -> None:
        self._begun = bridge
        Thread(target=run, name=name, daemon=True).start()

    def finished(self, origin: Origin) -> None:
        self.bridge.done(origin, True)

    def dropped(self, origin: Origin) -> None:
        self.bridge.done(origin, False)

    def hold(self, held: bool) -> None:
        """Stop reading within a second, or go on."""
        self.bridge.held = held
        self.bridge.wake()

    async def ended(self) -> None:
        """Return once all is read and noted. Raises SourceFailed where reading cannot go on."""
        await self.bridge.at_end()

    async def stop(self, seconds: float) -> None:
        """Read no more, wait at most some seconds for the records that were begun, note them, and leave."""
        bridge = self._begun
        if bridge is None:
            return
        bridge.stop_by = time.monotonic() + seconds
        bridge.wake()
        await self.interrupt()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bridge.gone(), seconds + LEAVE_SECONDS)

    async def interrupt(self) -> None:
        """End what would keep the thread from stopping."""
