"""JSON in and out: the one module that knows orjson.

Knows what is JSON (RFC 8259, UTF-8, numbers that fit a double) and how numpy values are written.
Does not know what a document means. Where a key comes twice the last one counts.

Concurrency. orjson keeps the interpreter's lock while it reads a document, so a document's containers are bounded: 1 million
take 0.1 s of a free core. The garbage collector would make that 0.4 s: it looks at each new container again and again, though
none can be garbage yet. So a large document is read without it, which holds for the whole process, for as long as that takes.
`_large` is held meanwhile. Threads that wait for it do not ask for the interpreter's lock, so that a probe waits behind one
large document and not behind all that came. Its holder asks for no other lock and at worst raises: it is always released.
"""

import gc
import threading
from typing import Any

import numpy as np
import orjson

from serving.base.errors import BadInput

# A list takes 80 bytes where its text took three: without a limit 16 MB of "[],[]," become 430 MB. A point of two digits,
# "[1,2],", takes 6 bytes, and 19 pictures of 224 x 224 pixels, each an array, are a million. A few arrays a row are 200,000 at
# most, since a request has 65,536 rows at most.
BYTES_A_CONTAINER = 6
SOME_CONTAINERS = 200_000  # are read however short the document is
MAX_CONTAINERS = 1_000_000
VALUE_BYTES = 72  # of a short text in a list; a number takes 40
LARGE = 64 * 2**10  # bytes; below, a document is read in a few milliseconds, whatever it holds

WRITTEN = "biufU"  # numpy's kinds that JSON has: booleans, integers, floats, texts

_large = threading.Lock()
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NOT_FINITE = ("NaN", "Infinity", "-Infinity", "nan", "inf", "-inf")


def loads(body: bytes | memoryview, what: str = "the body") -> Any:
    """Return the value of a JSON document. what: its name in error messages.

    Raises BadInput, with the position, for what is not JSON (NaN and Infinity too, bad UTF-8), for more than 1,024 levels,
    and for more arrays and objects than `most_containers` of its length. Brackets in texts count as well.
    """
    body = bytes(body)  # no copy of what is bytes already; the counts below need it
    if not body:
        raise BadInput(f"{what} is empty; send JSON")
    containers = body.count(b"[") + body.count(b"{")
    most = most_containers(len(body))
    if containers > most:
        found = f"{what} holds {containers} arrays and objects"
        raise BadInput(f"{found}; of {len(body)} bytes at most {most} are read: send flat or binary data")
    try:
        return _large_value(body) if len(body) > LARGE else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _problem(error, body)
    raise BadInput(f"{what} is not JSON: {problem}")  # raised out here, so that it does not keep the document alive


def most_containers(length: int) -> int:
    """Return how many arrays and objects a document of so many bytes may have."""
    return min(MAX_CONTAINERS, SOME_CONTAINERS + length // BYTES_A_CONTAINER)


def values_bytes(body: bytes) -> int:
    """Return about how many bytes a document's values take once it is read: a comma or a colon follows each but the last."""
    return VALUE_BYTES * (body.count(b",") + body.count(b":"))


def _large_value(body: bytes) -> Any:
    """Read a large document without the garbage collector. It is left off where somebody else has switched it off."""
    with _large:
        collects = gc.isenabled()
        gc.disable()
        try:
            return orjson.loads(body)
        finally:
            if collects:
                gc.enable()


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

    NaN and infinity become null. numpy's booleans, integers, floats and texts are written as such, alone, in arrays and as
    keys; keys that are numbers as strings, dates in ISO 8601. Raises TypeError, which names the kind, for what JSON cannot
    hold (bytes, sets, integers over 64 bits).
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        if not _has_numpy_keys(value):
            raise
    return orjson.dumps(_with_plain_keys(value), default=_plain, option=_OPTIONS)


def _plain(value: object) -> object:
    """Return what orjson cannot write by itself in a form that it can."""
    if isinstance(value, np.generic) and value.dtype.kind in WRITTEN:
        # C has more types than there are sizes: numpy's longlong is an int64 that orjson does not know, its longdouble a float.
        return float(value) if value.dtype.kind == "f" else value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"JSON cannot hold a value of type {type(value).__name__}")
    if value.dtype.kind in "OSU":
        return value.tolist()
    if value.dtype.kind not in WRITTEN:
        raise TypeError(f"JSON cannot hold a numpy array of {value.dtype}")
    if value.ndim == 0:
        return value[()]
    return np.ascontiguousarray(value, np.float64 if value.dtype.char == "g" else value.dtype)  # g: longdouble


def _has_numpy_keys(value: object) -> bool:
    """Return whether an object somewhere in a value has a key that is a numpy scalar, which orjson does not write."""
    if isinstance(value, dict):
        return any(isinstance(key, np.generic) for key in value) or any(map(_has_numpy_keys, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_numpy_keys, value))


def _with_plain_keys(value: object) -> object:
    if isinstance(value, dict):
        return {_plain_key(key): _with_plain_keys(item) for key, item in value.items()}
    return [_with_plain_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _plain_key(key: object) -> object:
    return _plain(key) if isinstance(key, np.generic) else key
