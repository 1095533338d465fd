"""The lines of pods' logs, and how they look to a person and to a program.

Knows the kubelet's timestamps and the runtime's JSON. Does not know where lines come from.
"""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

LEVEL_WIDTH = 8


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

    @cached_property
    def at(self) -> datetime:
        """The time of a line, in UTC: its own, else the kubelet's."""
        return _time(self.fields.get("time")) or _time(self.stamp) or datetime.fromtimestamp(0, UTC)


class Trouble(str):
    """Why lines are missing, in words."""


def lines_of(region: str, pod: str, text: str) -> list[Line]:
    """Return the lines of a container's log, each of which has a timestamp before it. A line without one is none of its own."""
    parts = (line.partition(" ") for line in text.split("\n"))
    return [Line(region, pod, stamp, rest) for stamp, space, rest in parts if space and _time(stamp)]


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


def printable(text: str) -> str:
    """Return a text on one line whose characters do not move the cursor, or colour what follows: such a one is escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _time(text: object) -> datetime | None:
    """Return a time in UTC; None where a text is no time, has no zone, or is of no year from 1 to 9999 in UTC."""
    try:
        found = datetime.fromisoformat(str(text))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
