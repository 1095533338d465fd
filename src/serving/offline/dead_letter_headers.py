"""The headers of a dead letter in a topic, which tell of its record, and the record that a replay makes of it.

Pure. The record's own headers come first, then MARK, then what is known of its death. Key and value are the record's, or the
value is empty and the header `by-reference` says so.
"""

from collections.abc import Sequence
from typing import NamedTuple

from serving.offline.records import DeadLetter, Origin, Record

Headers = Sequence[tuple[str, bytes]]

MARK = "dead-letter"  # a record's own headers may have any other name, and this one too
REPLAYS = "replays"  # of the record's own headers: how often a replay has tried it
BY_REFERENCE = "by-reference"


class NotDead(Exception):
    """A message is no dead letter. The text says what it lacks."""


class Dead(NamedTuple):
    """A record that was dead. by_reference: its value is to be read again at its origin."""

    record: Record
    by_reference: bool


def headers_of(letter: DeadLetter, by_reference: bool) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a dead letter. by_reference: the value is too large to copy, so that the message holds none."""
    record = letter.record
    about = {
        MARK: "1",
        "error": letter.refusal.text,
        "reason": letter.refusal.reason,
        "id": letter.id,
        "origin-topic": record.origin.topic,
        "origin-partition": str(record.origin.partition),
        "origin-offset": str(record.origin.offset),
        "origin-time": str(record.time),
        "version": letter.version,
        **({BY_REFERENCE: "1"} if by_reference or record.value is None else {}),
    }
    return (*record.headers, *((name, text.encode("utf-8", "backslashreplace")) for name, text in about.items()))


def record_of(headers: Headers, key: bytes | None, value: bytes | None) -> Dead:
    """Return the record of a dead letter as a replay gives it: with its origin, and one more replay in its headers.

    Raises NotDead.
    """
    marks = [index for index, (name, _) in enumerate(headers) if name == MARK]
    if not marks:
        raise NotDead(f"it has no header {MARK}")
    own, about = headers[: marks[-1]], dict(headers[marks[-1] :])
    try:
        origin = Origin(about["origin-topic"].decode(), int(about["origin-partition"]), int(about["origin-offset"]))
        time = int(about["origin-time"])
    except (KeyError, ValueError) as error:
        raise NotDead(f"its headers do not name its origin ({error})") from None
    kept = ((name, content) for name, content in own if name != REPLAYS)
    by_reference = BY_REFERENCE in about
    record = Record(origin, time, key, None if by_reference else value, (*kept, (REPLAYS, b"%d" % (replays_of(own) + 1))))
    return Dead(record, by_reference)


def replays_of(headers: Headers) -> int:
    """Return how often a replay has tried a record. headers: the record's own."""
    return max((_number(content) for name, content in headers if name == REPLAYS), default=0)


def _number(content: bytes) -> int:
    return int(content) if content.isdigit() and len(content) < 10 else 0
