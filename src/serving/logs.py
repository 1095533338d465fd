"""Logs: one JSON object a line on stdout.

Knows the fields. Does not know what happened.
"""

import logging
import sys
import time
from typing import Any

from serving import jsons

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


def start(service: str, region: str) -> None:
    """Send every logger's lines to stdout. waitress' own word on its queue is left out: the queue here is counted elsewhere."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines(service, region))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(True)
