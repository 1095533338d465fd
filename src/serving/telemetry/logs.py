"""Logs: one JSON object a line on stdout.

Knows the fields. Does not know what happened.

Concurrency. A thread that logs makes its line and puts it into a queue; one thread writes. A lock held while writing would make
every worker wait for the slowest, and a reader of stdout that stops would stop them all. The one lock of ours guards the count
of the bytes that wait, and is held for an addition. The writer ends with `stop`, which waits until all is written. A process
that is killed loses the lines of its last moment.
"""

import atexit
import logging
import sys
import threading
import time
from logging.handlers import QueueListener
from queue import SimpleQueue
from typing import Any

from serving.base import jsons

MOST_WAITING = 8 * 2**20  # bytes of lines; while stdout is stuck, what comes beyond is dropped
MESSAGE, TRACEBACK, FIELD = 8_000, 16_000, 300  # characters of a line's parts; of what is longer the middle is left out
STOP_SECONDS = 2.0  # a stdout that is stuck must not hold up the end
_writers: list[QueueListener] = []
FIELDS = ("request_id", "trace_id", "route", "code", "reason", "milliseconds")


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str, region: str):
        super().__init__()
        self._service, self._region = service, region

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage(), MESSAGE),
            "service": self._service,
            "region": self._region,
        }
        line.update((name, _field(getattr(record, name))) for name in FIELDS if hasattr(record, name))
        if record.exc_info:
            line["traceback"] = bounded(self.formatException(record.exc_info), TRACEBACK)
        try:
            return jsons.dumps(line).decode()
        except TypeError:  # text that is not Unicode, or a field that JSON cannot hold: a line is never lost
            return jsons.dumps({name: _plain(value) for name, value in line.items()}).decode()


def bounded(text: str, most: int) -> str:
    """Return a text of about so many characters at most: of a longer one both ends, and how much is left out between them."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {len(text) - most} characters left out ... {text[-(most // 2) :]}"


def _field(value: object) -> object:
    return value if isinstance(value, int | float | None) else bounded(str(value), FIELD)


def _plain(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class RateLimit:
    """Lets through so many lines a second. Used by one thread."""

    def __init__(self, most: int):
        self._most, self._second, self._count = most, 0, 0

    def allows(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= self._most


class _Backlog:
    """The lines that wait to be written, bounded in bytes."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[str] = SimpleQueue()
        self._bytes, self._lock = 0, threading.Lock()

    def put(self, line: str) -> None:
        """Have a line written, or drop it where too much waits."""
        size = sys.getsizeof(line)
        with self._lock:
            if self._bytes + size > MOST_WAITING:
                return
            self._bytes += size
        self.lines.put(line)

    def written(self, line: str) -> None:
        with self._lock:
            self._bytes -= sys.getsizeof(line)


class _BacklogHandler(logging.Handler):
    """Makes a line of each record at once: a record would keep its arguments, and a traceback's frames, until it is written."""

    def __init__(self, backlog: _Backlog):
        super().__init__()
        self._backlog = backlog

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: the backlog has its own."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._backlog.put(self.format(record))
        except Exception:  # a message that does not fit its arguments, as everywhere in logging
            self.handleError(record)


class _Writer(QueueListener):
    """Writes lines to stdout, one after the other."""

    def __init__(self, backlog: _Backlog):
        super().__init__(backlog.lines)
        self._backlog = backlog

    def handle(self, record: Any) -> None:
        """Write a line. record: the line."""
        try:
            sys.stdout.write(record + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):  # nobody reads stdout any more, or it is closed: lines are all that it costs
            pass
        finally:
            self._backlog.written(record)


def start(service: str, region: str) -> None:
    """Send every logger's lines to stdout: those of the platform and of src/server.py (logger "server") from info on, those of
    libraries from warning on.

    waitress' own word on its queue is left out: the queue here is counted elsewhere.
    """
    backlog = _Backlog()
    queued = _BacklogHandler(backlog)
    queued.setFormatter(_JsonFormatter(service, region))
    logging.basicConfig(level=logging.WARNING, handlers=[queued], force=True)
    for ours in ("monopod", "server"):
        logging.getLogger(ours).setLevel(logging.INFO)
    writer = _Writer(backlog)
    writer.start()
    _writers.append(writer)
    atexit.register(stop)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def stop() -> None:
    """Wait until all lines are written, for STOP_SECONDS at most."""
    while _writers:
        waiter = threading.Thread(target=_writers.pop().stop, daemon=True)
        waiter.start()
        waiter.join(STOP_SECONDS)
