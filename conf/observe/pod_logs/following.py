"""Reads the lines of several regions at once, and puts them in order of time.

Knows clocks and threads. Does not know how a line looks, nor who reads it.

Concurrency: each source has a thread of its own, which puts what it read into one queue. The caller's thread takes from it and
holds each line for HOLD_SECONDS at most, so that a region that answers later is not out of order. The threads are daemons: they
end with the process, or after one reading where nothing is followed. A source that does not answer holds up no other.
A thread waits until the caller's took its last part. So a source that is faster than the caller fills no memory and holds up no
other.
"""

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol

from conf.observe.pod_logs.line_forms import Line, Trouble
from conf.remote.cluster import ClusterError

HOLD_SECONDS, POLL_SECONDS = 2.0, 1.0
PODS_A_SECOND = 10  # of a region, whose API server is asked once for each
MOST_SECONDS = 60.0  # for all lines of one reading


class Source(Protocol):
    """The lines of one region's pods. pods: how many the last reading found."""

    @property
    def name(self) -> str: ...

    @property
    def pods(self) -> int: ...

    def read(self) -> Iterable[list[Line] | Trouble]: ...


@dataclass(frozen=True)
class End:
    """The end of one reading, and why it could not go on; empty where all was read."""

    trouble: str = ""


class Order:
    """Lines that are held for some seconds at most, and leave in order of time. One thread may use it."""

    def __init__(self, seconds: float):
        self._seconds, self._number = seconds, count()
        self._lines: list[tuple[datetime, int, Line]] = []
        self._arrivals: deque[tuple[float, datetime]] = deque()

    def hold(self, line: Line, now: float) -> None:
        """Take a line. now: seconds of time.monotonic()."""
        at = line.at
        heapq.heappush(self._lines, (at, next(self._number), line))
        self._arrivals.append((now, at))

    def ready(self, now: float) -> Iterator[Line]:
        """Yield each line that was held for long enough, and before it all lines of an earlier time, whenever they came."""
        while self._arrivals and now - self._arrivals[0][0] >= self._seconds:
            _, at = self._arrivals.popleft()
            while self._lines and self._lines[0][0] <= at:
                yield heapq.heappop(self._lines)[2]

    def rest(self) -> Iterator[Line]:
        """Yield all lines."""
        while self._lines:
            yield heapq.heappop(self._lines)[2]


Part = list[Line] | Trouble | End


class Parts:
    """The parts that sources have given and the caller has not yet taken, one of each source at most."""

    def __init__(self, sources: Sequence[Source]):
        self._queue: SimpleQueue[tuple[Source, Part]] = SimpleQueue()
        self._free = {id(each): threading.Semaphore() for each in sources}

    def put(self, source: Source, part: Part) -> None:
        """Give a part, once the source's last one was taken. The source's thread calls it."""
        self._free[id(source)].acquire()
        self._queue.put((source, part))

    def get(self, seconds: float) -> tuple[Source, Part]:
        """Take a part. Raises Empty where none came in some seconds. The caller's thread calls it."""
        source, part = self._queue.get(timeout=seconds)
        self._free[id(source)].release()
        return source, part


def once(sources: Sequence[Source]) -> Iterator[Line | Trouble]:
    """Yield the troubles of sources that cannot be read, then all lines that came, in order of time."""
    told = Parts(sources)
    order, missing, end = Order(0.0), list(sources), time.monotonic() + MOST_SECONDS
    for each in sources:
        threading.Thread(target=_read, args=(each, told, end), daemon=True).start()
    while missing:
        try:
            source, found = told.get(max(0.0, end - time.monotonic()))
        except Empty:
            yield from (Trouble(_late(each)) for each in missing)
            break
        if isinstance(found, Trouble):
            yield found
        elif isinstance(found, End):
            missing.remove(source)
            if found.trouble:
                yield Trouble(found.trouble)
        else:
            for line in found:
                order.hold(line, 0.0)
    yield from order.rest()


def follow(sources: Sequence[Source]) -> Iterator[Line | Trouble | None]:
    """Yield lines as they come, in order of time, and a source's trouble when it begins. None: nothing came for a moment."""
    told = Parts(sources)
    for each in sources:
        threading.Thread(target=_read_on, args=(each, told), daemon=True).start()
    order = Order(HOLD_SECONDS)
    troubles: dict[str, str] = {}
    while True:
        try:
            source, found = told.get(0.1)
            if isinstance(found, Trouble):
                yield found
            elif isinstance(found, End):
                if found.trouble and found.trouble != troubles.get(source.name):
                    yield Trouble(found.trouble)
                troubles[source.name] = found.trouble
            else:
                for line in found:
                    order.hold(line, time.monotonic())
        except Empty:
            yield None
        yield from order.ready(time.monotonic())


def pause(source: Source) -> float:
    """Return the seconds between two readings while following, so that many pods do not burden their API server."""
    return max(POLL_SECONDS, source.pods / PODS_A_SECOND)


def _late(source: Source) -> str:
    return f"{source.name}: some lines are missing, since not all came in {MOST_SECONDS:g} s"


def _read(source: Source, told: Parts, end: float) -> None:
    """Put what a source gives, and an End. end: seconds of time.monotonic(), after which no more is read."""
    trouble = ""
    try:
        for part in source.read():
            told.put(source, part)
            if time.monotonic() >= end:
                trouble = _late(source)
                break
    except ClusterError as error:
        trouble = f"{source.name}: {error}"
    except Exception as error:  # a thread that ends without a word would be waited for
        trouble = f"{source.name}: unexpected: {type(error).__name__}: {error}; please report it"
    told.put(source, End(trouble))


def _read_on(source: Source, told: Parts) -> None:
    while True:
        _read(source, told, math.inf)
        time.sleep(pause(source))
