"""Log lines: each on stdout is one JSON object shorter than LINE_BYTES, or a line for a person where stdout is a terminal.

Text that a service's own code, a library or a child process prints goes to standard error from `start` on. On the same stream,
it could stand in the middle of a line. The stack of a crash is text there too: a process that was hit by a signal such as
SIGSEGV can no longer write JSON.

Concurrency. A thread that logs formats its line and puts it into a queue; one thread writes. Access lines are put there many at
once, and the writing thread formats them. With a lock held during the write, every thread would wait for the slowest one, and a
reader of stdout that stops would stop them all. The one lock here guards the count of the waiting bytes, for one addition.
`stop` ends the writer after it has written every line. A process that is killed loses its last lines.
"""

import atexit
import faulthandler
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from logging.handlers import QueueListener
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, Protocol
from weakref import WeakSet

from serving.base import json_codec
from serving.base.terminal import printable

# containerd cuts a line of over 16 KiB into several, and a shipper of logs would have to join them again.
LINE_BYTES = 16_000
# Characters of the parts of a line. A longer part loses its middle.
MESSAGE, TRACEBACK, FIELD = 6_000, 8_000, 300
MIN_PART = 20  # characters that are left of each part, however long the line is
FIELDS = ("request_id", "trace_id", "route", "code", "reason", "milliseconds")
SHOWN = {"code": "", "milliseconds": " ms", "request_id": ""}  # on a terminal, with their units
# Bytes of lines that may wait while nobody reads stdout. Further lines are dropped.
MAX_WAITING = 8 * 2**20
MAX_THINGS = 1000  # that a throttle remembers
STOP_SECONDS = 2.0  # the end of the process waits no longer for stdout

Origin = Mapping[str, str]  # the fields that are the same in every line of a process
Lines = str | Callable[[Origin], str]  # lines, or what makes them from the fields of every line


class Source(Protocol):
    """Lines that wait elsewhere until they are flushed."""

    def flush(self) -> None: ...


_writers: "list[_Writer]" = []
_sources: WeakSet[Source] = WeakSet()
_out: list[BinaryIO] = []  # the process's stdout, which `own_stdout` has taken
log = logging.getLogger("monopod.process")


def origin_of(environ: Mapping[str, str], service: str = "", user: str = "") -> dict[str, str]:
    """Return the fields of every line of a process: the pod's environment tells them.

    service, user: of value.py, "" where it could not be read. The environment's stand in then.
    """
    return {
        "service": service or environ.get("MONOPOD_SERVICE", ""),
        "user": user or environ.get("MONOPOD_USER", ""),
        "track": environ.get("MONOPOD_TRACK", ""),
        "region": environ.get("MONOPOD_REGION", ""),
        "version": environ.get("MONOPOD_VERSION", "dev"),
        "pod": environ.get("MONOPOD_POD", ""),
        **({"arm": arm} if (arm := environ.get("MONOPOD_ARM")) else {}),
    }


def is_in_pod() -> bool:
    """Return whether this process runs in a pod of the platform, so that nobody but a shipper of logs reads what it writes."""
    return bool(os.environ.get("MONOPOD_POD"))


class JsonFormatter(logging.Formatter):
    def __init__(self, origin: Origin):
        super().__init__()
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time_of(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": bounded(record.getMessage(), MESSAGE),
            **self._origin,
        }
        line.update((name, _field(getattr(record, name))) for name in FIELDS if hasattr(record, name))
        if record.exc_info:
            line["traceback"] = bounded(self.formatException(record.exc_info), TRACEBACK)
        return json_of(line)


def plain(lines: str) -> str:
    """Return lines of JSON as a person reads them at a terminal: the time in UTC, the level, the message and the traceback."""
    return "\n".join(map(_plain_line, lines.split("\n")))


def _plain_line(text: str) -> str:
    line = json.loads(text)
    about = [f"{line[name]}{unit}" for name, unit in SHOWN.items() if line.get(name) is not None]
    first = " ".join([line["time"][11:19], line["level"].upper(), line["message"], *about])
    return "\n".join(map(printable, [first, *line.get("traceback", "").splitlines()]))


def time_of(seconds: float) -> str:
    """Return a time in UTC, with milliseconds. seconds: of time.time()."""
    whole = int(seconds)
    return _second(whole) + _MILLISECONDS[int((seconds - whole) * 1000)]


_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def json_of(line: dict[str, Any]) -> str:
    """Return a line as JSON, without its newline. Over LINE_BYTES, its long parts lose their middles.

    It is not lost for a string that is not Unicode, or for a field that JSON cannot hold.
    """
    text = _encoded(line)
    most = MESSAGE
    while len(text) > LINE_BYTES and most > MIN_PART:
        most //= 2  # escapes and other alphabets take up to six bytes a character: the length is known once it is written
        text = _encoded(_cut(line, most))
    return text.decode()


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return json_codec.dumps(line)
    except TypeError:
        return json_codec.dumps({name: _plain(value) for name, value in line.items()})


def _cut(line: dict[str, Any], most: int) -> dict[str, Any]:
    return {name: bounded(_plain(value), most) if isinstance(value, str) else value for name, value in line.items()}


def bounded(text: str, most: int) -> str:
    """Return a text, or its two ends where it is longer than `most` characters, with the number of characters left out."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {len(text) - most} characters left out ... {text[-(most // 2) :]}"


def _field(value: object) -> object:
    return value if isinstance(value, int | float | None) else bounded(str(value), FIELD)


def _plain(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class LogThrottle:
    """Allows `count` lines about each thing in some seconds.

    Concurrency: any thread may ask. Two that ask about the same thing at once may both get a yes.
    """

    def __init__(self, count: int = 1, seconds: float = 30.0):
        self._count, self._seconds = count, seconds
        self._told: dict[str, tuple[float, int]] = {}  # since when, by time.monotonic, and how many lines

    def allows(self, about: str = "") -> bool:
        """Return whether a line about a thing may be written now."""
        now = time.monotonic()
        since, count = self._told.get(about, (-self._seconds, 0))
        if now - since >= self._seconds:
            since, count = now, 0
        if len(self._told) >= MAX_THINGS:
            self._told.clear()
        self._told[about] = since, count + 1
        return count < self._count


class _Backlog:
    """The lines that wait to be written. Their sum in bytes is bounded."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[tuple[Lines, int]] = SimpleQueue()
        self._bytes, self._lock = 0, threading.Lock()

    def put(self, lines: Lines, size: int) -> None:
        """Queue lines of `size` bytes, or drop them where more than MAX_WAITING bytes would wait."""
        with self._lock:
            if self._bytes + size > MAX_WAITING:
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
    def __init__(self, backlog: _Backlog, origin: Origin, out: BinaryIO):
        super().__init__(backlog.lines)
        self.backlog, self._origin, self._out = backlog, origin, out
        self._plain = out.isatty() and not is_in_pod()

    def handle(self, record: Any) -> None:
        """Write lines. record: the lines and their size."""
        lines, size = record
        try:
            text = lines if isinstance(lines, str) else lines(self._origin)
            self._out.write((plain(text) if self._plain else text).encode() + b"\n")
            self._out.flush()
        except Exception:  # nobody reads stdout any more, it is closed, or lines cannot be made: they are lost, nothing else
            pass
        finally:
            self.backlog.written(size)


def start(origin: Origin, to_error: bool = False) -> None:
    """Send every logger's lines to stdout, and whatever is printed to standard error. origin: the fields of every line.

    to_error: whether lines go to standard error too, because `own_stdout` is for something else.

    The platform and src/server.py (logger "server") log from info on, libraries from warning on. waitress' warnings about its
    queue are left out, since the metrics count the queue. An exception that nobody catches is a line too.
    """
    out = own_stdout()
    backlog = _Backlog()
    queued = _BacklogHandler(backlog)
    queued.setFormatter(JsonFormatter(origin))
    logging.basicConfig(level=logging.WARNING, handlers=[queued], force=True)
    for ours in ("monopod", "server"):
        logging.getLogger(ours).setLevel(logging.INFO)
    writer = _Writer(backlog, origin, os.fdopen(os.dup(2), "wb") if to_error else out)
    writer.start()
    _writers.append(writer)
    atexit.register(stop)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    _log_what_nobody_catches()


def is_started() -> bool:
    """Return whether lines reach stdout now."""
    return bool(_writers)


def own_stdout() -> BinaryIO:
    """Return the process's stdout for lines alone. Its file descriptor leads to standard error from the first call on."""
    if not _out:
        _out.append(_taken_stdout())
    return _out[0]


def stdout_number() -> int:
    """Return the file descriptor of the process's stdout, also after `own_stdout` has taken it."""
    return _out[0].fileno() if _out else sys.stdout.fileno()


def _taken_stdout() -> BinaryIO:
    if sys.stdout is None or sys.stderr is None:  # closed before the process began: its number may be another file's by now
        return open(os.devnull, "wb")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what is printed must not wait for the end, which flushes nothing
    return out


def _log_what_nobody_catches() -> None:
    def in_main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("the process ends: uncaught %s", kind.__name__, exc_info=(kind, error, trace))

    def in_thread(told: threading.ExceptHookArgs) -> None:
        name = told.thread.name if told.thread else "unknown"
        error = told.exc_value or told.exc_type()
        log.error("thread %s ends: uncaught %s", name, told.exc_type.__name__, exc_info=error)

    def in_no_place(told: "sys.UnraisableHookArgs") -> None:
        log.error("%s %r", told.err_msg or "ignored in", told.object, exc_info=told.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = in_main_thread, in_thread, in_no_place
    faulthandler.enable()


def write_later(lines: Callable[[Origin], str], size: int) -> None:
    """Have the writer make lines and write them at once. Without a writer, and over MAX_WAITING bytes, they are dropped.

    lines: returns them for the fields of every line, without the last newline. size: bytes held until then.
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
