"""JSON numbers, booleans and strings to arrays, and string tensors back.

Knows what each datatype takes from JSON. Does not know requests, names of fields or raw bytes.
"""

import math
from itertools import chain
from typing import Any

import numpy as np

from serving.base.errors import BadInput
from serving.inputs.json_fields import show
from serving.models.tensors import DATATYPES, Array

Shape = tuple[int, ...]

MAX_RANK = 32
MAX_ELEMENTS = 2**40  # far more than any body holds, and far less than overflows numpy's sizes
NUMBERS = frozenset({float, int})  # exact types, since a bool is an int to isinstance
# Numbers from these on are rounded to infinity: half a step over the largest number of the datatype (IEEE 754, 4.3.1).
ROUNDED_TO_INFINITY = {"FP16": 65520.0, "FP32": 2.0**128 - 2.0**103, "FP64": math.inf}


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
