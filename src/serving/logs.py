"""Logs: one JSON object a line on stdout.

Knows the fields. Does not know what happened.

Concurrency. A thread that logs only puts its record into a queue, which needs no lock of ours; one thread writes. A lock held
while writing would make every worker wait for the slowest, and a reader of stdout that stops would stop them all. The writer
ends with `stop`, which waits until all is written. A process that is killed loses the lines of its last moment.
"""

import atexit
import logging
import sys
import threading
import time
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

from serving import jsons

MOST_WAITING = 10_000  # lines; while stdout is stuck, what comes beyond is dropped
STOP_SECONDS = 2.0  # a stdout that is stuck must not hold up the end
_listeners: list[QueueListener] = []
FIELDS = ("request_id", "trace_id", "route", "code", "reason", "milliseconds")


class _Lines(logging.Formatter):
    def __init__(self, service: str, region: str):
        super().__init__()
        self._service, self._region = service, region

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "service": self._service,
            "region": self._region,
        }
        line.update((name, getattr(record, name)) for name in FIELDS if hasattr(record, name))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return jsons.dumps(line).decode()
        except TypeError:  # text that is not Unicode, or a field that JSON cannot hold: a line is never lost
            return jsons.dumps({name: _plain(value) for name, value in line.items()}).decode()


def _plain(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class Sparing:
    """Lets through so many lines a second. Used by one thread."""

    def __init__(self, most: int):
        self._most, self._second, self._count = most, 0, 0

    def allows(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= self._most


class _Queued(QueueHandler):
    """Hands records on as they are: the writer makes lines of them."""

    lines: "SimpleQueue[logging.LogRecord]"

    def __init__(self, lines: "SimpleQueue[logging.LogRecord]"):
        super().__init__(lines)
        self.lines = lines

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: the queue has its own, in C."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.lines.qsize() < MOST_WAITING:
            self.lines.put(record)


def start(service: str, region: str) -> None:
    """Send every logger's lines to stdout: those of the platform and of src/server.py (logger "server") from info on, those of
    libraries from warning on.

    waitress' own word on its queue is left out: the queue here is counted elsewhere.
    """
    writer = logging.StreamHandler(sys.stdout)
    writer.setFormatter(_Lines(service, region))
    lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logging.basicConfig(level=logging.WARNING, handlers=[_Queued(lines)], force=True)
    for ours in ("monopod", "server"):
        logging.getLogger(ours).setLevel(logging.INFO)
    listener = QueueListener(lines, writer)
    listener.start()
    _listeners.append(listener)
    atexit.register(stop)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def stop() -> None:
    """Wait until all lines are written, for STOP_SECONDS at most."""
    while _listeners:
        waiter = threading.Thread(target=_listeners.pop().stop, daemon=True)
        waiter.start()
        waiter.join(STOP_SECONDS)
