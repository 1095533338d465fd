"""Tensors in the bodies of the Open Inference Protocol and of :predict, as JSON and as raw bytes, to arrays and back.

The raw bytes follow the JSON, by the protocol's binary tensor data extension (KServe and Triton). Elements are little-endian,
row-major and without padding. A BOOL is one byte, 0 or 1. A BYTES element is its length in four bytes, then its bytes.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from serving.base.errors import BadInput, ServingError, TooLarge
from serving.models.tensors import DATATYPES, Array, ModelSpec, TensorSpec

T = TypeVar("T")

MAX_SHOWN = 60
_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


Shape = tuple[int, ...]

MAX_RANK = 32
MAX_ELEMENTS = 2**40  # far more than any body holds, and far less than overflows numpy's sizes
NUMBERS = frozenset({float, int})  # compared as exact types, since a bool is an int to isinstance
# Numbers from these on are rounded to infinity: half a step over the largest number of the datatype (IEEE 754, 4.3.1).
ROUNDED_TO_INFINITY = {"FP16": 65520.0, "FP32": 2.0**128 - 2.0**103, "FP64": math.inf}
CODES = {"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP32": "f", "FP64": "d"}  # of `struct`
CODES |= {f"U{name}": code.upper() for name, code in CODES.items() if name.startswith("INT")}
# `packed_numbers` and its callers raise these for all that they do not take.
UNUSUAL = (ArithmeticError, AttributeError, LookupError, ServingError, TypeError, ValueError, struct.error)
LENGTH_HEADER = "Inference-Header-Content-Length"

_length = struct.Struct("<I")


def show(value: object) -> str:
    """Return a JSON value for an error message: on one line, and short for a value of any size."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return _TYPE_NAMES[type(value)]
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return repr(value[:MAX_SHOWN]) + "..."
    return repr(value)


def optional_field(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T | None:
    """Return a field, None where it is missing or null. Raises BadInput for another type. where: the owner, in its message."""
    value = owner.get(key)
    if value is None:
        return None
    if type(value) is not kind:  # isinstance takes true for an int
        raise BadInput(f"{key!r} of {where} must be {_TYPE_NAMES[kind]}, not {show(value)}")
    return value


def required_field(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """Return a field that must be there. Raises BadInput where it is missing, null or of another type."""
    value = optional_field(owner, key, kind, where)
    if value is None:
        raise BadInput(f"{where} has no {key!r}; it must be {_TYPE_NAMES[kind]}")
    return value


def json_object(value: object, where: str) -> dict[str, Any]:
    """Return a value that must be a JSON object. Raises BadInput for any other."""
    if not isinstance(value, dict):
        raise BadInput(f"{where} must be {_TYPE_NAMES[dict]}, not {show(value)}")
    return value


def named_input(spec: ModelSpec, name: str) -> TensorSpec:
    """Return the model's input of a name. Raises BadInput, which lists the inputs, for an unknown name."""
    if name in spec.input_named:
        return spec.input_named[name]
    raise BadInput(f"model {spec.name} has no input {show(name)}; its inputs are {', '.join(spec.input_named)}")


def check_rows(spec: ModelSpec, shape: tuple[int, ...], max_rows: int | None, where: str) -> None:
    """Raise TooLarge for more rows than a request may have, before any data is converted. max_rows: None for no limit."""
    if spec.batched and max_rows is not None and shape and shape[0] > max_rows:
        raise TooLarge(f"{where} has {shape[0]} rows; a request may have {max_rows}: send several requests")


def checked_shape(shape: list[Any], where: str) -> Shape:
    """Return a client's shape as a tuple. Allocates nothing. Raises BadInput for a shape that no array can have."""
    if len(shape) > MAX_RANK:
        raise BadInput(f"the shape of {where} has {len(shape)} dimensions; at most {MAX_RANK} are supported")
    for size in shape:
        if type(size) is not int or size < 0:
            raise BadInput(f"the shape of {where} must be whole numbers from 0 on, not {show(size)}")
    if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise BadInput(f"the shape {shape} of {where} is too large; at most {MAX_ELEMENTS} elements are supported")
    return tuple(shape)


def nested_shape(data: object, where: str) -> Shape:
    """Return the shape of nested arrays, read from their first elements. Raises BadInput for more than MAX_RANK levels."""
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        data = data[0] if data else None
    return checked_shape(shape, where)


def unnest(data: object, shape: Shape, where: str) -> list[Any]:
    """Return the elements of nested arrays in row-major order. Raises BadInput where the nesting does not fit the shape."""
    items: list[Any] = [data]
    for depth, size in enumerate(shape):
        if len(items) == 1 and type(items[0]) is list and len(items[0]) == size:  # one row
            items = items[0]
            continue
        if not set(map(type, items)) <= {list} or not set(map(len, items)) <= {size}:
            found = next(item for item in items if not isinstance(item, list) or len(item) != size)
            what = f"an array of {len(found)}" if isinstance(found, list) else show(found)
            raise BadInput(
                f"the data of {where} is ragged or not of shape {list(shape)}: {what} at level {depth}, not an array of {size}"
            )
        items = list(chain.from_iterable(items))
    return items


def array_of(values: list[Any], shape: Shape, datatype: str, where: str) -> Array:
    """Return an array of a shape and datatype from its elements in row-major order.

    BOOL takes booleans. Integers and floats take numbers in their range. BYTES takes strings (as UTF-8) and Python bytes.
    Raises BadInput for any other element, and for a count that does not fit the shape.
    """
    if len(values) != math.prod(shape):
        raise BadInput(f"{where} has {len(values)} values; its shape {list(shape)} holds {math.prod(shape)}")
    dtype = DATATYPES[datatype]
    if datatype == "BYTES":
        _only((str, bytes), values, datatype, "strings", where)
        values = [value.encode() if isinstance(value, str) else value for value in values]
        return np.array(values, dtype=dtype).reshape(shape)
    if datatype == "BOOL":
        _only((bool,), values, datatype, "true and false", where)
        return np.array(values, dtype=dtype).reshape(shape)
    return (_floats if dtype.kind == "f" else _integers)(values, datatype, where).reshape(shape)


def _integers(values: list[Any], datatype: str, where: str) -> Array:
    limits = np.iinfo(DATATYPES[datatype])
    low, high = int(limits.min), int(limits.max)
    takes = f"whole numbers from {low} to {high}, without a decimal point"
    _only((int,), values, datatype, takes, where)
    if values and (min(values) < low or max(values) > high):
        at = next(i for i, value in enumerate(values) if not low <= value <= high)
        raise _unfit(values, at, datatype, takes, where)
    return np.array(values, dtype=DATATYPES[datatype])


def _floats(values: list[Any], datatype: str, where: str) -> Array:
    dtype, high = DATATYPES[datatype], ROUNDED_TO_INFINITY[datatype]
    if set(map(type, values)) <= NUMBERS:
        array = np.array(values, dtype=np.float64)
        sizes = np.abs(array)
        if np.maximum.reduce(sizes, initial=0.0) < high:
            return array.astype(dtype, copy=False)
        at = int(np.argmax(sizes >= high))
    else:
        at = next(i for i, value in enumerate(values) if type(value) not in NUMBERS)
    high = float(np.finfo(dtype).max)
    raise _unfit(values, at, datatype, f"numbers from {-high:.6g} to {high:.6g}", where)


def _only(kinds: tuple[type, ...], values: list[Any], datatype: str, takes: str, where: str) -> None:
    """Raise BadInput where a value is of another type. Exact types: a bool is an int to isinstance."""
    if set(map(type, values)) <= set(kinds):
        return
    at = next(i for i, value in enumerate(values) if type(value) not in kinds)
    raise _unfit(values, at, datatype, takes, where)


def _unfit(values: list[Any], at: int, datatype: str, takes: str, where: str) -> BadInput:
    return BadInput(f"{where} is {datatype}, which takes {takes}; value {at} is {show(values[at])}")


def packed_numbers(data: Any, shape: Any, datatype: str) -> bytes:
    """Return the numbers of a JSON document as a tensor's native bytes, in a third of the time of `array_of`.

    data: flat, or nested as the shape says. It and the shape are unchecked, and come from JSON without true and false, which
    `struct` takes for numbers. Raises one of UNUSUAL for all that `array_of` refuses, and for more: those go the general way.
    """
    return _packer(datatype, *shape)(*(unnest(data, shape, "") if type(data[0]) is list else data))


@lru_cache(maxsize=1024, typed=True)  # 1.0 is another size than 1
def _packer(datatype: str, *shape: Any) -> Callable[..., bytes]:
    if not 0 < len(shape) <= MAX_RANK or set(map(type, shape)) != {int} or min(shape) < 1:
        raise ValueError
    # "=" gives fixed sizes in this machine's order, and refuses what is out of range. Without it 1e39 would become infinite.
    return struct.Struct(f"={math.prod(shape)}{CODES[datatype]}").pack


def strings(array: Array) -> list[bytes]:
    """Return the elements of a string tensor as bytes, in row-major order. Text is written in UTF-8."""
    return [_bytes(element) for element in array.ravel().tolist()]


def _bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def texts(array: Array, where: str, cure: str) -> list[str]:
    """Return the elements of a string tensor as text. Raises BadInput, with the cure, for bytes that are not UTF-8."""
    elements = strings(array)
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        pass
    raise BadInput(f"{where} holds bytes that are not UTF-8, which JSON cannot carry; {cure}")


def split_body(body: bytes | memoryview, header_length: str | None) -> tuple[bytes | memoryview, memoryview]:
    """Return a body's JSON and the raw bytes after it, without a copy.

    header_length: the value of the header LENGTH_HEADER in bytes, None where the whole body is JSON.
    Raises BadInput for a length that is not a number from 1 to the body's size.
    """
    if header_length is None:
        return body, memoryview(b"")
    view = memoryview(body).cast("B")
    digits = header_length.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise BadInput(f"{LENGTH_HEADER} must be the JSON's length in bytes, a whole number, not {show(header_length)}")
    length = int(digits)
    if not 0 < length <= len(view):
        raise BadInput(f"{LENGTH_HEADER} is {length}; it must be from 1 to the body's {len(view)} bytes")
    return view[:length], view[length:]


def read_raw(raw: memoryview, datatype: str, shape: Shape, where: str) -> Array:
    """Return a tensor's bytes as an array, C-contiguous and aligned. It is a read-only view of the bytes where possible.

    where: the tensor in error messages. Raises BadInput for a size that does not fit the shape, and for elements that the
    datatype cannot have.
    """
    if datatype == "BYTES":
        return np.array(_elements(raw, math.prod(shape), where), dtype=np.object_).reshape(shape)
    dtype = DATATYPES[datatype]
    size = math.prod(shape) * dtype.itemsize
    if len(raw) != size:
        raise BadInput(f"{where} has {len(raw)} bytes of binary data; {datatype} of shape {list(shape)} takes {size}")
    if datatype == "BOOL" and size and np.frombuffer(raw, np.uint8).max() > 1:
        raise BadInput(f"{where} is BOOL, which takes the bytes 0 and 1; its binary data holds others")
    array = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    return array if array.flags.aligned else array.copy()  # kernels may use aligned loads, and JSON before it has any length


def _elements(raw: memoryview, count: int, where: str) -> list[bytes]:
    if count * _length.size <= len(raw):
        data, unpack, elements, at = bytes(raw), _length.unpack_from, [], 0
        try:
            for _ in range(count):
                start = at + 4
                at = start + unpack(data, at)[0]
                elements.append(data[start:at])
        except struct.error:  # the last length ran past the end
            at = -1
        if at == len(raw):
            return elements
    raise BadInput(
        f"{where} is BYTES with {len(raw)} bytes of binary data, which are not {count} elements, "
        "each a 4-byte little-endian length and its bytes"
    )


def write_raw(array: Array) -> memoryview:
    """Return an array's bytes, as a view where the array is contiguous and little-endian already."""
    if array.dtype.kind in "OSU":
        return memoryview(b"".join(part for element in strings(array) for part in (_length.pack(len(element)), element)))
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data
