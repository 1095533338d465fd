"""The lines that a service's pods wrote: read from each region, put in order of time, and how they look.

A container that was restarted between two readings has its last lines read from its previous log, since its other lines are
known by then. A pod that comes later is read from its start. Pods take turns, an answer each, so that a pod that writes without
an end holds up no other.

The kubelet takes whole seconds as a start, and MAX_BYTES are asked for at once. The rest of a second with more cannot be asked
for, and is reported as missing.

Concurrency: each source has a thread of its own, which puts what it read into one queue, a part at a time. It waits until the
caller's thread has taken its last part, so a source that is faster than the caller fills no memory and holds up no other. The
caller's thread holds each line for HOLD_SECONDS at most, so that a region that answers later is not out of order. The threads
are daemons: they end with the process, or after one reading where nothing is followed.
"""

import heapq
import json
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from conf.base.console import printable, shortened
from conf.base.object_references import DEPLOYMENT_LABEL, Item, Ref
from conf.clusters.regions import Region
from conf.plan.plan import offline_name
from conf.remote.cluster import Cluster, ClusterError
from conf.render.arms import arm_names

LEVELS = ("debug", "info", "warning", "error", "critical")  # of a line, the least first
LEVEL_WIDTH = 8
MAX_ERRORS = 3  # kinds of errors that are named
MAX_BYTES = 4 * 2**20  # of one answer
NO_LOG = (400, 404)  # the container has not begun, was not restarted, or its pod is gone
HOLD_SECONDS, POLL_SECONDS = 2.0, 1.0
PODS_A_SECOND = 10  # of a region, whose API server is asked once for each
MAX_SECONDS = 60.0  # for all lines of one reading


@dataclass(frozen=True)
class Line:
    """One line. stamp: the kubelet's time, with nine digits. text: what the container wrote, without its newline."""

    region: str
    pod: str
    stamp: str
    text: str

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of a JSON line, {} of a text. A number that JSON does not know, such as NaN, is a string."""
        try:
            found = json.loads(self.text, parse_constant=str, parse_float=_finite) if self.text.startswith("{") else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def has_level(self, least: str) -> bool:
        """Return whether a line is of a level or above it, "" for any. A text has no level."""
        level = self.fields.get("level")
        return not least or (level in LEVELS and LEVELS.index(level) >= LEVELS.index(least))

    @cached_property
    def at(self) -> datetime:
        """The time of a line, in UTC: its own, else the kubelet's."""
        return _time(self.fields.get("time")) or _time(self.stamp) or datetime.fromtimestamp(0, UTC)


class Trouble(str):
    """Why lines are missing, in words."""


def lines_of(region: str, pod: str, text: str) -> list[Line]:
    """Return the lines of a container's log, each of which has a timestamp before it. Text without one is left out."""
    parts = (line.partition(" ") for line in text.split("\n"))
    return [Line(region, pod, stamp, rest) for stamp, space, rest in parts if space and _time(stamp)]


def common_errors(lines: Iterable[Line]) -> list[tuple[str, int]]:
    """Return the errors that stand in lines most often, as the last line of their traceback, else as their message."""
    found: Counter[str] = Counter()
    for line in lines:
        if line.fields.get("level") in ("error", "critical"):
            told = str(line.fields.get("traceback") or line.fields.get("message", "")).strip()
            found[shortened(told.rpartition("\n")[2])] += 1
    return found.most_common(MAX_ERRORS)


def for_people(line: Line) -> str:
    """Return a line as time, region, pod, level and message. A traceback follows on lines of its own."""
    fields = line.fields
    message = fields.get("message", line.text)
    if "code" in fields:
        message = f"{message} {fields['code']}" + (f" {fields['milliseconds']} ms" if "milliseconds" in fields else "")
    level = str(fields.get("level", "text")).ljust(LEVEL_WIDTH)
    head = f"{line.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    shown = [printable(f"{head} {line.region} {line.pod} {level} {message}")]
    shown += [f"    {printable(each)}" for each in str(fields.get("traceback", "")).splitlines()]
    return "\n".join(shown)


def for_programs(line: Line) -> str:
    """Return a line as one JSON object, with its region and pod. A text has the kubelet's time."""
    fields = line.fields or {"time": line.stamp, "level": "text", "message": line.text}
    return json.dumps({**fields, "region": line.region, "pod": line.pod})


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _time(text: object) -> datetime | None:
    """Return a time in UTC; None where a text is not a time, has no zone, or is of no year from 1 to 9999 in UTC."""
    try:
        found = datetime.fromisoformat(str(text))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


class PodLines:
    """One region's pods of a track, the offline ones included: their lines since a time, and then the new ones.

    One thread may use it. name: of the source, in messages. since: seconds back from now at which the first reading begins, or
    None for all that the node keeps. previous: whether the containers before their restart are read. turns: the most answers
    of a pod in one reading, None for all. pods: how many the last reading found.
    """

    def __init__(
        self,
        region: Region,
        namespace: str,
        service: str,
        since: float | None,
        *,
        name: str = "",
        previous: bool = False,
        turns: int | None = None,
    ):
        self.region, self._namespace, self._service = region, namespace, service
        self.name, self.pods = name or region.name, 0
        self._previous, self._turns = previous, turns
        self._since = "" if since is None else (datetime.now(UTC) - timedelta(seconds=since)).isoformat(timespec="seconds")
        self._last: dict[str, tuple[str, int]] = {}  # by pod: the stamp of the last line, and how many lines have it
        self._restarts: dict[str, int] = {}
        self._cluster: Cluster | None = None

    def read(self) -> Iterator[list[Line] | Trouble]:
        """Yield the lines that were not read before, an answer at a time, and what is left out of them. Raises ClusterError."""
        self._cluster = self._cluster or Cluster(self.region.context)
        names = ",".join((self._service, offline_name(self._service), *arm_names(self._service)))
        pods = self._cluster.find("Pod", self._namespace, f"{DEPLOYMENT_LABEL} in ({names})")
        self.pods = len(pods)
        reading = [self._of_pod(self._cluster, pod) for pod in pods]
        for _ in count() if self._turns is None else range(self._turns):
            if not reading:
                return
            still = []
            for each in reading:
                if (yield from _next_answer(each)):
                    still.append(each)
            reading = still

    def _of_pod(self, cluster: Cluster, pod: Item) -> Iterator[list[Line] | Trouble]:
        name, offline = pod["metadata"]["name"], offline_name(self._service)
        container = offline if pod["metadata"].get("labels", {}).get(DEPLOYMENT_LABEL) == offline else self._service
        restarts = _restarts(pod, container)
        if self._previous or restarts > self._restarts.get(name, restarts):
            yield from self._new(cluster, name, container, True)
        self._restarts[name] = restarts  # only now, since a reading may end among the lines of the previous container
        if not self._previous:
            yield from self._new(cluster, name, container, False)

    def _new(self, cluster: Cluster, pod: str, container: str, previous: bool) -> Iterator[list[Line] | Trouble]:
        where = Ref("Pod", self._namespace, pod)
        while True:
            last, count = self._last.get(pod, ("", 0))
            try:
                text = cluster.timed_lines(where, container, last or self._since, MAX_BYTES, previous=previous)
            except ClusterError as error:
                if error.status in NO_LOG:
                    return
                raise
            is_whole = len(text.encode()) < MAX_BYTES
            lines = lines_of(self.region.name, pod, text if is_whole else text.rpartition("\n")[0])
            new = unread(lines, last, count)
            if new:
                stamp = new[-1].stamp
                self._last[pod] = stamp, sum(line.stamp == stamp for line in lines)
                yield new
            if is_whole:
                return
            if not new:
                yield from self._go_on(pod, lines, lines_of(self.region.name, pod, text)[-1])

    def _go_on(self, pod: str, read: list[Line], cut: Line) -> Iterator[Trouble]:
        """Begin with the second of the line that an answer cut; with the next one where that would give the same answer."""
        second = _second(cut)
        if not read or second == _second(read[-1]):
            second += timedelta(seconds=1)
            words = f"it wrote more than {MAX_BYTES} bytes in the second of {cut.stamp[:19]}, and the rest of them is left out"
            yield Trouble(f"{self.region.name}, {pod}: {words}")
        self._last[pod] = second.isoformat(), 0


def _next_answer(parts: Iterator[list[Line] | Trouble]) -> Generator[list[Line] | Trouble, None, bool]:
    """Yield the next part of a pod, and return whether there was one."""
    for part in parts:
        yield part
        return True
    return False


def _second(line: Line) -> datetime:
    return datetime.fromisoformat(line.stamp).replace(microsecond=0)  # in the node's zone, as all stamps are


def unread(lines: list[Line], last: str, count: int) -> list[Line]:
    """Return the lines after those that were read. last: the stamp of the last one. count: how many of that stamp were read."""
    same = [line for line in lines if line.stamp == last]
    return same[count:] + [line for line in lines if line.stamp > last]


def _restarts(pod: Item, container: str) -> int:
    statuses = pod["status"].get("containerStatuses") or []
    return sum(each.get("restartCount", 0) for each in statuses if each["name"] == container)


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
        heapq.heappush(self._lines, (line.at, next(self._number), line))
        self._arrivals.append((now, line.at))

    def ready(self, now: float) -> Iterator[Line]:
        """Yield each line that was held for long enough, and before it all lines of an earlier time, whenever they came."""
        while self._arrivals and now - self._arrivals[0][0] >= self._seconds:
            _, at = self._arrivals.popleft()
            while self._lines and self._lines[0][0] <= at:
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
    parts = Parts(sources)
    lines: list[Line] = []
    missing, end = list(sources), time.monotonic() + MAX_SECONDS
    for each in sources:
        threading.Thread(target=_read, args=(each, parts, end), daemon=True).start()
    while missing:
        try:
            source, found = parts.get(max(0.0, end - time.monotonic()))
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
            lines += found
    yield from sorted(lines, key=lambda line: line.at)


def follow(sources: Sequence[Source]) -> Iterator[Line | Trouble | None]:
    """Yield lines as they come, in order of time, and a source's trouble when it begins. None: nothing came for a moment."""
    parts = Parts(sources)
    for each in sources:
        threading.Thread(target=_read_on, args=(each, parts), daemon=True).start()
    order = Order(HOLD_SECONDS)
    troubles: dict[str, str] = {}
    while True:
        try:
            source, found = parts.get(0.1)
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
    return f"{source.name}: some lines are missing, since not all came in {MAX_SECONDS:g} s"


def _read(source: Source, parts: Parts, end: float) -> None:
    """Put what a source gives, and an End. end: seconds of time.monotonic(), after which no more is read."""
    trouble = ""
    try:
        for part in source.read():
            parts.put(source, part)
            if time.monotonic() >= end:
                trouble = _late(source)
                break
    except ClusterError as error:
        trouble = f"{source.name}: {error}"
    except Exception as error:  # a thread that ends without a word would be waited for
        trouble = f"{source.name}: unexpected: {type(error).__name__}: {error}; please report it"
    parts.put(source, End(trouble))


def _read_on(source: Source, parts: Parts) -> None:
    while True:
        _read(source, parts, math.inf)
        time.sleep(pause(source))
