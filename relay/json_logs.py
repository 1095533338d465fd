"""Logs: each record is one JSON object a line on stdout.

Of an exception a line holds the type, and the place that raised it. Its text is left out, since it may hold a secret address.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

LONGEST = 2_000  # characters of a message


class JsonLine(logging.Formatter):
    """Formats a record as one line of JSON. Fields of the event are given as extra={"fields": {...}}."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST],
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(record.exc_info[2])][-3:]
        return json.dumps(line)


def log_to_stdout() -> None:
    """Have every logger of the process write such lines to stdout, from level INFO."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
