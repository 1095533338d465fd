"""Raw tensor bytes to arrays and back: the body's part after the JSON header.

Knows the layout of the Open Inference Protocol's binary tensor data extension (KServe and Triton). Elements are little-endian,
row-major and without padding. A BOOL is one byte, 0 or 1. A BYTES element is its length in four bytes, then its bytes.
Does not know JSON or which tensors a request has.
"""

import math
import struct

import numpy as np

from serving.base.errors import BadInput
from serving.inputs.json_fields import show
from serving.inputs.json_tensors import Shape, strings
from serving.models.tensors import DATATYPES, Array

LENGTH_HEADER = "Inference-Header-Content-Length"

_length = struct.Struct("<I")


def split(body: bytes | memoryview, header_length: str | None) -> tuple[bytes | memoryview, memoryview]:
    """Return a body's JSON and the raw bytes after it, without a copy.

    header_length: the value of the header LENGTH_HEADER in bytes, None where the whole body is JSON.
    Raises BadInput for a length that is no number from 1 to the body's size.
    """
    view = memoryview(body).cast("B")
    if header_length is None:
        return body, view[len(view) :]
    digits = header_length.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise BadInput(f"{LENGTH_HEADER} must be the JSON's length in bytes, a whole number, not {show(header_length)}")
    length = int(digits)
    if not 0 < length <= len(view):
        raise BadInput(f"{LENGTH_HEADER} is {length}; it must be from 1 to the body's {len(view)} bytes")
    return view[:length], view[length:]


def read(raw: memoryview, datatype: str, shape: Shape, where: str) -> Array:
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
    """Return the elements of a BYTES tensor, in row-major order."""
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


def write(array: Array) -> memoryview:
    """Return an array's bytes, as a view where the array is contiguous and little-endian already."""
    if array.dtype.kind in "OSU":
        return memoryview(b"".join(part for element in strings(array) for part in (_length.pack(len(element)), element)))
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data
