"""The reading and writing of JSON. The only module that imports orjson.

Documents are UTF-8 (RFC 8259), with numbers that fit a double. Where an object has a key twice, the last one counts.

Concurrency. orjson keeps the interpreter's lock while it reads a document, so the number of containers is bounded: 1 million
take 0.1 s of a free core. The garbage collector would make that 0.4 s, since it visits each new container again and again,
though none can be garbage yet. A large document is therefore read with the collector off, for the whole process. `_large` is
held meanwhile. Threads that wait for `_large` do not ask for the interpreter's lock, so a probe waits behind one large document
at most. The holder of `_large` takes no other lock, and releases it also when it raises.
"""

import gc
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from serving.base.errors import BadInput

# An empty list takes 80 bytes, its text 3: without a limit, 16 MB of "[],[]," become 430 MB. Real data stays below the limits:
# a point of two digits, "[1,2],", has 6 bytes; 19 pictures of 224 x 224 pixels, each pixel an array, have a million arrays.
# A few arrays for each of 65,536 rows, the most of a request, are 200,000.
BYTES_A_CONTAINER = 6
SOME_CONTAINERS = 200_000  # allowed in a document of any length
MAX_CONTAINERS = 1_000_000
VALUE_BYTES = 72  # of memory that a short string in a list takes; a number takes 40
Fragment = orjson.Fragment  # JSON that `dumps` writes as it is
LARGE = 64 * 2**10  # bytes; a shorter document is read in a few milliseconds, whatever it holds

WRITTEN = "biufU"  # numpy's kinds that JSON has too: booleans, integers, floats, strings

_large = threading.Lock()
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_NOT_FINITE = ("NaN", "Infinity", "-Infinity", "nan", "inf", "-inf")


def loads(body: bytes | memoryview, what: str = "the body") -> Any:
    """Return the value of a JSON document. body: UTF-8. what: the document's name in error messages.

    Raises BadInput, with the position, where the body is not JSON; NaN, Infinity and bad UTF-8 are not JSON either. Raises it
    also for more than 1,024 levels, and for more arrays and objects than `most_containers` allows, brackets in strings counted.
    """
    body = bytes(body)  # bytes are not copied; a memoryview has no count()
    if not body:
        raise BadInput(f"{what} is empty; send JSON")
    if len(body) > SOME_CONTAINERS:  # a shorter one cannot hold more than that
        containers, most = body.count(b"[") + body.count(b"{"), most_containers(len(body))
        if containers > most:
            found = f"{what} holds {containers} arrays and objects"
            raise BadInput(f"{found}; of {len(body)} bytes at most {most} are read: send flat or binary data")
    try:
        return _large_value(body) if len(body) > LARGE else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _problem(error, body)
    raise BadInput(f"{what} is not JSON: {problem}")  # raised out here, so that it does not keep the document alive


def most_containers(length: int) -> int:
    """Return how many arrays and objects a document may have. length: bytes."""
    return min(MAX_CONTAINERS, SOME_CONTAINERS + length // BYTES_A_CONTAINER)


def values_bytes(body: bytes) -> int:
    """Return about how many bytes a document's values take once it is read. Each comma and colon stands for one value."""
    return VALUE_BYTES * (body.count(b",") + body.count(b":"))


def _large_value(body: bytes) -> Any:
    """Read a large document with the garbage collector off. The collector stays off where it was off before."""
    with _large:
        collects = gc.isenabled()
        gc.disable()
        try:
            return orjson.loads(body)
        finally:
            if collects:
                gc.enable()


def _problem(error: orjson.JSONDecodeError, body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as bad:
        return f"byte {bad.start} is not UTF-8"
    rest = error.doc[max(error.pos - 1, 0) : error.pos + 9].lstrip("[{,: \t\r\n")
    hint = "; JSON has no NaN or Infinity" if rest.startswith(_NOT_FINITE) else ""
    return f"{error.msg.split(': line ')[0]} at line {error.lineno} column {error.colno}{hint}"


def dumps(value: object) -> bytes:
    """Return a value as compact JSON in UTF-8.

    NaN and infinity become null, dates become strings in ISO 8601, and keys that are numbers become strings. Numpy's
    booleans, integers, floats and strings are written like Python's, alone, in arrays and as keys.
    Raises TypeError, which names the path and the type, for a value that JSON cannot hold: bytes, sets, integers over 64 bits.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError as error:
        with suppress(RecursionError):  # deeper than orjson writes, too
            if _has_numpy_keys(value):
                return dumps(_with_plain_keys(value))
        with suppress(RecursionError):
            error = TypeError(_culprit(value, error).removeprefix("."))
        raise error from None


def _culprit(value: object, error: TypeError) -> str:
    """Return the path of the value inside `value` that cannot be written, and why, as "[0].score: JSON cannot hold ..."."""
    named = isinstance(value, dict)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, part in parts:
        try:
            orjson.dumps(part, default=_plain, option=_OPTIONS)
        except TypeError as deeper:
            return (f".{str(key)[:100]}" if named else f"[{key}]") + _culprit(part, deeper)
    return f": {error.__cause__ or error}"


def _plain(value: object) -> object:
    """Return a value that orjson cannot write in a form that it can. Raises TypeError where there is none."""
    if isinstance(value, np.generic) and value.dtype.kind in WRITTEN:
        # C has several types of one size: orjson does not know numpy's longlong, an int64, nor its longdouble, a float.
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
    """Return whether an object anywhere in a value has a numpy scalar as a key, which orjson does not write."""
    if isinstance(value, dict):
        return any(isinstance(key, np.generic) for key in value) or any(map(_has_numpy_keys, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_numpy_keys, value))


def _with_plain_keys(value: object) -> object:
    if isinstance(value, dict):
        return {_plain_key(key): _with_plain_keys(item) for key, item in value.items()}
    return [_with_plain_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _plain_key(key: object) -> object:
    return _plain(key) if isinstance(key, np.generic) else key
