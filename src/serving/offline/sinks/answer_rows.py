"""From an answer to a row of a table, or to the reason why no table can hold it.

Knows JSON and the fields of an answer. Does not know SQL.
"""

import re
from collections.abc import Sequence

from serving.base import json_codec
from serving.base.errors import BadInput
from serving.offline.records import Answer, Refusal
from serving.offline.sinks.table import IDS, Row

# U+0000 as JSON writes it. An even number of backslashes before it are backslashes themselves.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
BAD_ANSWER = "bad_answer"


def row_of(answer: Answer, key: Sequence[str]) -> Row | Refusal:
    """Return an answer as a row, or why it is none. key: the fields of the answer that are the table's key, or none."""
    try:
        document = json_codec.loads(answer.body, "the answer")
    except BadInput as error:
        return Refusal(BAD_ANSWER, str(error))
    if not isinstance(document, dict):
        return Refusal(BAD_ANSWER, f"the answer is {type(document).__name__} in JSON; a table takes an object")
    if NUL.search(answer.body):
        return Refusal(BAD_ANSWER, "the answer holds U+0000, which PostgreSQL cannot store; leave it out in postprocess")
    values = {name: field(document, name) for name in dict.fromkeys(key)}
    for name, value in values.items():
        if value is None:
            found = "the answer has no such field that is a string or a whole number"
            return Refusal(BAD_ANSWER, f"offline_key names {name!r}, but {found}")
    postid, uid, seqid = (_text(document.get(column.name)) for column in IDS)
    own = tuple(map(str, values.values()))
    return Row(*answer.record.origin, answer.record.time, answer.body.decode(), postid, uid, seqid, answer.version, own)


def field(document: dict[str, object], name: str) -> str | None:
    """Return a field of an answer, or else of its results, as text. None where it is no string and no whole number."""
    results = document.get("results")
    value = document.get(name)
    return _text(results.get(name) if value is None and isinstance(results, dict) else value)


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
