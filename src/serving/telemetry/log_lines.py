"""The form of a log line: one JSON object, shorter than LINE_BYTES.

Knows the fields and their bounds. Does not know the events, nor how lines reach stdout.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from serving.base import jsons
from serving.base.terminal import printable

# containerd cuts a line of over 16 KiB into several, and a shipper of logs would have to join them again.
LINE_BYTES = 16_000
# Characters of the parts of a line. A longer part loses its middle.
MESSAGE, TRACEBACK, FIELD = 6_000, 8_000, 300
SHORTEST = 20  # characters that are left of each part, however long the line is
FIELDS = ("request_id", "trace_id", "route", "code", "reason", "milliseconds")
SHOWN = {"code": "", "milliseconds": " ms", "request_id": ""}  # on a terminal, with their units

Origin = Mapping[str, str]  # the fields that are the same in every line of a process


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
    while len(text) > LINE_BYTES and most > SHORTEST:
        most //= 2  # escapes and other alphabets take up to six bytes a character: the length is known once it is written
        text = _encoded(_cut(line, most))
    return text.decode()


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return jsons.dumps(line)
    except TypeError:
        return jsons.dumps({name: _plain(value) for name, value in line.items()})


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
