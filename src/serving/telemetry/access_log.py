"""Access lines: one JSON object on stdout for each answered request, written in bulk.

Concurrency. Any thread may note a line: it appends a tuple, which CPython does in one step. `flush` cuts the tuples off under a
lock, which is held for microseconds, and hands them to the writer of serving.telemetry.logs. That thread alone makes JSON of
them. logs.stop flushes the lines that still wait.
"""

import logging
import threading
from collections.abc import Sequence
from functools import partial
from sys import getsizeof
from typing import Any
from urllib.parse import unquote_to_bytes

from serving.telemetry import logs
from serving.telemetry.logs import FIELD, Origin, bounded, json_of, time_of

MAX_PATH, MAX_METHOD = 200, 20  # characters in the log
MAX_LINES = 256  # that wait for a flush
LINE_BYTES = 400  # of memory that a line takes until it is written, without its path and its request's id
KEPT_PATH = 12 * MAX_PATH  # bytes that MAX_PATH characters may take: four bytes each, three digits a byte

# wall time, method, path, request id, route, code, milliseconds, reason, trace id
Line = tuple[float, str | bytes, str | bytes, str, str, int, float, str, str]

log = logging.getLogger("monopod.access")


class AccessLog:
    """The lines that wait for their flush."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._lock = threading.Lock()
        logs.flush_at_stop(self)

    def note(
        self,
        at: float,
        method: str | bytes,
        path: str | bytes,
        request_id: str,
        route: str,
        code: int,
        milliseconds: float,
        reason: str = "",
        trace_id: str = "",
    ) -> None:
        """Note one line.

        at: seconds of time.time(). path: without the query. Bytes are decoded when the line is written. reason, trace_id: ""
        where there is none.
        """
        lines = self._lines
        lines.append((at, method, path[:KEPT_PATH], request_id, route, code, milliseconds, reason, trace_id))
        if len(lines) >= MAX_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand all lines to the writer, in one piece. They are dropped where the level of monopod.access is above INFO."""
        with self._lock:
            lines = self._lines[:]
            del self._lines[: len(lines)]
        if lines and log.isEnabledFor(logging.INFO):
            size = sum([LINE_BYTES + getsizeof(line[2]) + getsizeof(line[3]) for line in lines])
            logs.write_later(partial(written, lines), size)


def written(lines: Sequence[Line], origin: Origin) -> str:
    """Return lines as JSON, separated by newlines. origin: the fields of every line of the process.

    Most lines share their path, route and code. These parts are made once for all of them, in a third of the time.
    """
    begins: dict[tuple[str | bytes, str | bytes], str] = {}
    ends: dict[tuple[str, int, str], str] = {}
    found: list[str] = []
    for at, method, path, request_id, route, code, milliseconds, reason, trace_id in lines:
        begin = begins.get((method, path))
        if begin is None:
            begin = begins[method, path] = _begin(method, path, origin)
        end = ends.get((route, code, reason))
        if end is None:
            end = ends[route, code, reason] = _end(route, code, reason)
        ids = _ids(request_id, trace_id)
        found.append(f'{{"time":"{time_of(at)}",{begin},{ids},{end},"milliseconds":{round(milliseconds, 2)}}}')
    return "\n".join(found)


def _part(fields: dict[str, Any]) -> str:
    return json_of(fields)[1:-1]


def _begin(method: str | bytes, path: str | bytes, origin: Origin) -> str:
    message = f"{_method(method)[:MAX_METHOD]} {_path(path)[:MAX_PATH]}"
    return _part({"level": "info", "logger": log.name, "message": message, **origin})


def _ids(request_id: str, trace_id: str) -> str:
    if not trace_id and request_id.isascii() and request_id.isalnum() and len(request_id) <= FIELD:
        return f'"request_id":"{request_id}"'  # nothing in it needs an escape
    ids = {"request_id": bounded(request_id, FIELD)}
    return _part(ids | {"trace_id": bounded(trace_id, FIELD)} if trace_id else ids)


def _end(route: str, code: int, reason: str) -> str:
    fields: dict[str, Any] = {"route": bounded(route, FIELD), "code": code}
    return _part(fields | {"reason": bounded(reason, FIELD)} if reason else fields)


def _method(method: str | bytes) -> str:
    return method.decode("latin-1") if isinstance(method, bytes) else method


def _path(path: str | bytes) -> str:
    """Return a path as Flask shows it. bytes: as in the request's head, with percent signs and digits."""
    if isinstance(path, bytes):
        return "/" + unquote_to_bytes(path).decode(errors="replace").lstrip("/")
    return path
