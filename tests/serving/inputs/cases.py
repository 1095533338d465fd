"""Specs and bodies that the codec's tests share."""

import json
from typing import Any

import numpy as np

from serving.models.tensors import DATATYPES, Array, ModelSpec, TensorSpec


def model(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), batched: bool = True) -> ModelSpec:
    return ModelSpec("m", inputs, outputs or (TensorSpec("y", "FP32", (-1, 2)),), batched)


def one(datatype: str, shape: tuple[int, ...] = (-1, 2)) -> ModelSpec:
    """Return a model of one input x."""
    return model(TensorSpec("x", datatype, shape))


def tensor(data: Any, shape: list[Any], datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def raw(size: int, shape: list[int], datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def body(*inputs: Any, **fields: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def with_tail(head: bytes, tail: bytes) -> tuple[bytes, str]:
    """Return a binary request's body and the value of its length header."""
    return head + tail, str(len(head))


def same(one: Array, other: Array) -> bool:
    """Return whether two arrays are equal to the bit, dtype and shape included."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def is_fit(array: Array) -> bool:
    """Return whether the engine may take an array without another check."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned and array.dtype.isnative and array.dtype in DATATYPES.values()


def text(*elements: bytes) -> Array:
    return np.array(elements, dtype=np.object_)
