"""Logs: each line on stdout is one JSON object.

Knows the fields of a line. Does not know the events.

Concurrency. A thread that logs formats its line and puts it into a queue; one thread writes. Access lines are put there many at
once, and the writing thread formats them. With a lock held during the write, every thread would wait for the slowest one, and a
reader of stdout that stops would stop them all. The one lock here guards the count of the waiting bytes, for one addition.
`stop` ends the writer after it has written every line. A process that is killed loses its last lines.
"""

import atexit
import logging
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from logging.handlers import QueueListener
from queue import SimpleQueue
from typing import Any, Protocol
from weakref import WeakSet

from serving.base import jsons

# Bytes of lines that may wait while nobody reads stdout. Further lines are dropped.
MOST_WAITING = 8 * 2**20
# Characters of the parts of a line. A longer part loses its middle.
MESSAGE, TRACEBACK, FIELD = 8_000, 16_000, 300
STOP_SECONDS = 2.0  # the end of the process waits no longer for stdout
FIELDS = ("request_id", "trace_id", "route", "code", "reason", "milliseconds")

Lines = str | Callable[[str, str], str]  # lines, or what makes them from the names of the service and the region


class Source(Protocol):
    """Lines that wait elsewhere until they are flushed."""

    def flush(self) -> None: ...


_writers: "list[_Writer]" = []
_sources: WeakSet[Source] = WeakSet()


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str, region: str):
        super().__init__()
        self._service, self._region = service, region

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage(), MESSAGE),
            "service": self._service,
            "region": self._region,
        }
        line.update((name, _field(getattr(record, name))) for name in FIELDS if hasattr(record, name))
        if record.exc_info:
            line["traceback"] = bounded(self.formatException(record.exc_info), TRACEBACK)
        return json_of(line)


def time_of(seconds: float) -> str:
    """Return a time in UTC, with milliseconds. seconds: of time.time()."""
    whole = int(seconds)
    return _second(whole) + _MILLISECONDS[int((seconds - whole) * 1000)]


_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def json_of(line: dict[str, Any]) -> str:
    """Return a line as JSON. It is not lost for a string that is not Unicode, or for a field that JSON cannot hold."""
    try:
        return jsons.dumps(line).decode()
    except TypeError:
        return jsons.dumps({name: _plain(value) for name, value in line.items()}).decode()


def bounded(text: str, most: int) -> str:
    """Return a text, or its two ends where it is longer than `most` characters, with the number of characters left out."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {len(text) - most} characters left out ... {text[-(most // 2) :]}"


def _field(value: object) -> object:
    return value if isinstance(value, int | float | None) else bounded(str(value), FIELD)


def _plain(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class RateLimit:
    """Allows so many lines a second. One thread may use it."""

    def __init__(self, most: int):
        self._most, self._second, self._count = most, 0, 0

    def allows(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= self._most


class _Backlog:
    """The lines that wait to be written. Their sum in bytes is bounded."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[tuple[Lines, int]] = SimpleQueue()
        self._bytes, self._lock = 0, threading.Lock()

    def put(self, lines: Lines, size: int) -> None:
        """Queue lines of so many bytes, or drop them where more than MOST_WAITING bytes would wait."""
        with self._lock:
            if self._bytes + size > MOST_WAITING:
                return
            self._bytes += size
        self.lines.put((lines, size))

    def written(self, size: int) -> None:
        with self._lock:
            self._bytes -= size


class _BacklogHandler(logging.Handler):
    """Formats each record at once. A queued record would keep its arguments and a traceback's frames until it is written."""

    def __init__(self, backlog: _Backlog):
        super().__init__()
        self._backlog = backlog

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle a record without the handler's lock, since the backlog has its own."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            self._backlog.put(line, sys.getsizeof(line))
        except Exception:  # a message that does not fit its arguments: logging's own handlers do the same
            self.handleError(record)


class _Writer(QueueListener):
    """Writes the queued lines to stdout."""

    def __init__(self, backlog: _Backlog, service: str, region: str):
        super().__init__(backlog.lines)
        self.backlog, self._service, self._region = backlog, service, region

    def handle(self, record: Any) -> None:
        """Write lines. record: the lines and their size."""
        lines, size = record
        try:
            text = lines if isinstance(lines, str) else lines(self._service, self._region)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except Exception:  # nobody reads stdout any more, it is closed, or lines cannot be made: they are lost, nothing else
            pass
        finally:
            self.backlog.written(size)


def start(service: str, region: str) -> None:
    """Send every logger's lines to stdout.

    The platform and src/server.py (logger "server") log from info on, libraries from warning on. waitress' warnings about its
    queue are left out, since the metrics count the queue.
    """
    backlog = _Backlog()
    queued = _BacklogHandler(backlog)
    queued.setFormatter(_JsonFormatter(service, region))
    logging.basicConfig(level=logging.WARNING, handlers=[queued], force=True)
    for ours in ("monopod", "server"):
        logging.getLogger(ours).setLevel(logging.INFO)
    writer = _Writer(backlog, service, region)
    writer.start()
    _writers.append(writer)
    atexit.register(stop)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def write_later(lines: Callable[[str, str], str], size: int) -> None:
    """Have the writer make lines and write them at once. Without a writer, and over MOST_WAITING bytes, they are dropped.

    lines: returns them for the names of the service and the region, without the last newline. size: bytes held until then.
    """
    for writer in _writers[-1:]:
        writer.backlog.put(lines, size)


def flush_at_stop(source: Source) -> None:
    """Have `stop` flush a source of lines first, if it lives that long."""
    _sources.add(source)


def stop() -> None:
    """Wait until all lines are written, for STOP_SECONDS at most."""
    for source in list(_sources):
        source.flush()
    while _writers:
        waiter = threading.Thread(target=_writers.pop().stop, daemon=True)
        waiter.start()
        waiter.join(STOP_SECONDS)
