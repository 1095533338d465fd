"""JSON in and out: the one module that knows orjson.

Knows what is JSON (RFC 8259, UTF-8, numbers that fit a double) and how numpy values are written.
Does not know what a document means. Where a key comes twice the last one counts.
"""

from typing import Any

import numpy as np
import orjson

from serving.errors import BadInput

# A list takes 80 bytes where its text took three: without a limit 16 MB of "[],[]," become 430 MB.
MAX_CONTAINERS = 2_000_000

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NOT_FINITE = ("NaN", "Infinity", "-Infinity", "nan", "inf", "-inf")


def loads(body: bytes | memoryview, what: str = "the body") -> Any:
    """Return the value of a JSON document. what: its name in error messages.

    Raises BadInput, with the position, for what is not JSON: NaN and Infinity too, bad UTF-8, more than 1,024 levels or
    MAX_CONTAINERS arrays and objects.
    """
    body = bytes(body)  # no copy of what is bytes already; the counts below need it
    if not body:
        raise BadInput(f"{what} is empty; send JSON")
    containers = body.count(b"[") + body.count(b"{")
    if containers > MAX_CONTAINERS:
        raise BadInput(
            f"{what} holds {containers} arrays and objects; at most {MAX_CONTAINERS} are read: send flat or binary data"
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _problem(error, body)
    raise BadInput(f"{what} is not JSON: {problem}")  # raised out here, so that it does not keep the document alive


def _problem(error: orjson.JSONDecodeError, body: bytes) -> str:
    """Return what is wrong and where, in words."""
    try:
        body.decode()
    except UnicodeDecodeError as bad:
        return f"byte {bad.start} is not UTF-8"
    rest = error.doc[max(error.pos - 1, 0) : error.pos + 9].lstrip("[{,: \t\r\n")
    hint = "; JSON has no NaN or Infinity" if rest.startswith(_NOT_FINITE) else ""
    return f"{error.msg.split(': line ')[0]} at line {error.lineno} column {error.colno}{hint}"


def dumps(value: object) -> bytes:
    """Return a value as compact JSON in UTF-8.

    NaN and infinity become null. numpy scalars and arrays are written as numbers and nested arrays, keys that are numbers
    as strings, dates in ISO 8601. Raises TypeError for what JSON cannot hold (bytes, sets, integers over 64 bits).
    """
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def _plain(value: object) -> object:
    """Return what orjson cannot write by itself in a form that it can."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"JSON cannot hold a value of type {type(value).__name__}")
    if value.ndim == 0 or value.dtype.kind in "OSU":
        return value.tolist()
    return np.ascontiguousarray(value)
