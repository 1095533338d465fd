"""Hypothesis strategies: models, arrays that fit them, and requests that carry the arrays."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from serving.base import json_codec
from serving.inputs.tensor_codec import write_raw
from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec, TensorSpec


def examples(count: int) -> settings:
    """Return settings for the same examples on every run, without a time limit for an example."""
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


NAMES = st.text(min_size=1, max_size=5)
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@dataclass(frozen=True)
class Case:
    """A model that gives its inputs back, arrays for it, and a request that carries them."""

    spec: ModelSpec
    arrays: Arrays
    body: bytes
    header_length: str | None


def arrays(datatype: str, shape: tuple[int, ...], utf8: bool) -> st.SearchStrategy[Array]:
    """Draw arrays of a datatype and shape. utf8: only values that can pass through JSON, finite and UTF-8."""
    size = math.prod(shape)
    dtype = DATATYPES[datatype]
    if datatype == "BYTES":
        element = st.text(max_size=5).map(str.encode) if utf8 else st.binary(max_size=5)
        return st.lists(element, min_size=size, max_size=size).map(lambda values: np.array(values, dtype=object).reshape(shape))
    if datatype == "BOOL":
        return st.binary(min_size=size, max_size=size).map(lambda raw: (np.frombuffer(raw, np.uint8) > 127).reshape(shape))
    raw = st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize)
    made = raw.map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))
    return made.map(np.nan_to_num) if utf8 and dtype.kind == "f" else made


@st.composite
def cases(draw: st.DrawFn) -> Case:
    specs, values, items, tail = [], {}, [], b""
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        datatype = draw(st.sampled_from(list(DATATYPES)))
        shape = draw(SHAPES)
        is_raw = datatype == "FP16" or draw(st.booleans())
        array = draw(arrays(datatype, shape, utf8=not is_raw))
        item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(shape)}
        if is_raw:
            part = bytes(write_raw(array))
            item["parameters"] = {"binary_data_size": len(part)}
            tail += part
        else:
            item["data"] = json_data(array, draw(st.booleans()))
        specs.append(TensorSpec(name, datatype, tuple(draw(st.sampled_from([-1, size])) for size in shape)))
        values[name] = array
        items.append(item)
    request: dict[str, Any] = {"id": draw(st.text(max_size=5)), "inputs": items}
    outputs = draw(st.lists(st.sampled_from(specs), unique=True))
    request["outputs"] = [
        {"name": spec.name, "parameters": {"binary_data": spec.datatype in ("FP16", "BYTES") or draw(st.booleans())}}
        for spec in outputs
    ]
    if not outputs:
        request["parameters"] = {"binary_data_output": True}
    head = json_codec.dumps(request) + b" " * draw(st.integers(0, 8))
    has_header = bool(tail) or any("parameters" in item for item in items)
    spec = ModelSpec("m", tuple(specs), tuple(specs), batched=draw(st.booleans()))
    return Case(spec, values, head + tail, str(len(head)) if has_header else None)


def json_data(array: Array, nested: bool) -> list[Any]:
    if array.dtype == object:
        array = np.array([element.decode() for element in array.ravel()], dtype=object).reshape(array.shape)
    values: list[Any] = array.tolist() if nested and array.ndim else array.ravel().tolist()
    return values
