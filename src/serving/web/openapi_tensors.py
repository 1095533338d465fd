"""The JSON schemas of a model's calls, from its tensors: infer and metadata (Open Inference Protocol), and :predict (V1)."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from serving.inputs.tensor_codec import LENGTH_HEADER
from serving.models.tensors import DATATYPES, ModelSpec, TensorSpec
from serving.settings.declarations import Settings

Json = dict[str, Any]

MAX_EXAMPLE_ELEMENTS = 1024
STRING: Json = {"type": "string"}
B64: Json = {"type": "object", "properties": {"b64": STRING}, "required": ["b64"], "maxProperties": 1}
MAYBE_OBJECT = ["object", "null"]  # null counts as missing
STRING_ELEMENT: Json = {"anyOf": [STRING, B64]}
BINARY: Json = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
HEADER_LENGTH: Json = {
    "name": LENGTH_HEADER,
    "in": "header",
    "required": False,
    "description": "With binary tensors: how many bytes of the body are its JSON; the tensors follow, in order.",
    "schema": {"type": "integer", "minimum": 1},
}


def infer(model: ModelSpec, settings: Settings) -> tuple[Json, Json]:
    """Return the bodies of infer's request and of its answer, each by content type."""
    request = dict(BINARY)
    # JSON has no half precision, so a model that takes FP16 is called with binary tensors alone.
    if all(spec.datatype != "FP16" for spec in model.inputs):
        request["application/json"] = {"schema": _request(model, settings)} | _example(model, settings)
    output = {
        "type": "object",
        "properties": _about(model.outputs, {"type": "array", "items": {"type": "integer"}})
        | {"data": {"type": "array"}, "parameters": {"type": "object"}},
        "required": ["name", "datatype", "shape"],
    }
    answer = {
        "type": "object",
        "properties": {
            "model_name": {"const": model.name},
            "model_version": STRING,
            "id": STRING,
            "outputs": {"type": "array", "items": output},
        },
        "required": ["model_name", "outputs"],
    }
    return request, {"application/json": {"schema": answer}} | BINARY


def predict(model: ModelSpec, settings: Settings) -> tuple[Json, Json]:
    """Return the bodies of :predict's request and of its answer, each by content type."""
    most = {"maxItems": settings.max_rows_per_request} if model.batched else {}
    rows = {"type": "array", "minItems": 1, "items": _named(model, 1)} | most
    request: Json = {
        "type": "object",
        "properties": {"instances": rows, "inputs": _named(model, 0)},
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    }
    answer: Json = {
        "type": "object",
        "properties": {"predictions": {"type": "array"}, "outputs": {}},
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    }
    zeros = data_example(model, settings)
    example = {} if zeros is None else {"example": {"inputs": zeros}}
    return {"application/json": {"schema": request} | example}, {"application/json": {"schema": answer}}


def _named(model: ModelSpec, less: int) -> Json:
    """Return the schema of all inputs by name; the value of a single input may stand alone. less: leading axes left out."""
    values = {
        spec.name: _nested(_scalar(spec) if spec.datatype != "BYTES" else STRING_ELEMENT, len(spec.shape) - less)
        for spec in model.inputs
    }
    table: Json = {"type": "object", "properties": values, "required": list(values)}
    return {"anyOf": [table, *values.values()]} if len(values) == 1 else table


def metadata(model: ModelSpec) -> Json:
    """Return the schema of a model's metadata."""
    tensors = {}
    for side, specs in (("inputs", model.inputs), ("outputs", model.outputs)):
        about = _about(specs, {"type": "array", "items": {"type": "integer", "minimum": -1}})
        tensors[side] = {"type": "array", "items": {"type": "object", "properties": about, "required": list(about)}}
    versions: Json = {"type": "array", "items": STRING}
    return {
        "type": "object",
        "properties": {"name": {"const": model.name}, "versions": versions, "platform": STRING} | tensors,
        "required": ["name", "platform", "inputs", "outputs"],
    }


def _about(specs: Sequence[TensorSpec], shape: Json) -> Json:
    """Return the name, datatype and shape of one of several tensors. shape: its schema."""
    names = {"enum": [spec.name for spec in specs]} if specs else STRING
    return {"name": names, "datatype": {"enum": sorted({spec.datatype for spec in specs}) or sorted(DATATYPES)}, "shape": shape}


def _request(model: ModelSpec, settings: Settings) -> Json:
    each = [_input(model, spec, settings) for spec in model.inputs]
    inputs: Json = {"type": "array", "minItems": len(each), "maxItems": len(each)}
    if each:
        inputs["items"] = each[0] if len(each) == 1 else {"oneOf": each}
    output = {
        "type": "object",
        "properties": {
            "name": {"enum": [spec.name for spec in model.outputs]},
            "parameters": {"type": MAYBE_OBJECT, "properties": {"binary_data": {"type": ["boolean", "null"]}}},
        },
        "required": ["name"],
    }
    parameters: Json = {"type": MAYBE_OBJECT, "properties": {"binary_data_output": {"type": ["boolean", "null"]}}}
    outputs: Json = {"type": ["array", "null"], "items": output}
    return {
        "type": "object",
        "properties": {"id": {"type": ["string", "null"]}, "parameters": parameters, "inputs": inputs, "outputs": outputs},
        "required": ["inputs"],
    }


def _input(model: ModelSpec, spec: TensorSpec, settings: Settings) -> Json:
    """Return the schema of one input tensor. Its data may be flat, or nested like its shape."""
    sizes = [_size(size, axis, model.batched, settings.max_rows_per_request) for axis, size in enumerate(spec.shape)]
    shape: Json = {"type": "array", "minItems": len(sizes), "maxItems": len(sizes)} | ({"prefixItems": sizes} if sizes else {})
    flat, nested = (_nested(_scalar(spec), depth) for depth in (1, max(1, len(sizes))))
    data = flat if flat == nested else {"anyOf": [flat, nested]}
    return {
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": shape,
            "parameters": {"type": MAYBE_OBJECT},
            "data": data,
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _size(size: int, axis: int, batched: bool, max_rows: int) -> Json:
    if size >= 0:
        return {"const": size}
    if axis == 0:
        return {"type": "integer", "minimum": 1, "maximum": max_rows} if batched else {"type": "integer", "minimum": 0}
    return {"type": "integer", "minimum": 1}


def _scalar(spec: TensorSpec) -> Json:
    dtype = DATATYPES[spec.datatype]
    if spec.datatype == "BYTES":
        return STRING
    if spec.datatype == "BOOL":
        return {"type": "boolean"}
    if dtype.kind == "f":
        return {"type": "number", "minimum": float(np.finfo(dtype).min), "maximum": float(np.finfo(dtype).max)}
    return {"type": "integer", "minimum": int(np.iinfo(dtype).min), "maximum": int(np.iinfo(dtype).max)}


def _nested(schema: Json, depth: int) -> Json:
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def data_example(model: ModelSpec, settings: Settings) -> Any:
    """Return one row of zeros for the field "data" of the service's own route, None where a size is open or the row is long."""
    rows = _zeros(model, settings)
    return next(iter(rows.values())) if rows and len(rows) == 1 else rows


def _example(model: ModelSpec, settings: Settings) -> Json:
    """Return an example of infer's request, or nothing where a size is open or a row is long."""
    rows = _zeros(model, settings)
    if rows is None:
        return {}
    inputs = [
        {
            "name": spec.name,
            "datatype": spec.datatype,
            "shape": _row(model, spec, settings),
            "data": np.atleast_1d(zeros).tolist(),
        }
        for spec, zeros in zip(model.inputs, rows.values(), strict=True)
    ]
    halves = any(spec.datatype == "FP16" for spec in model.outputs)
    return {"example": {"inputs": inputs} | ({"parameters": {"binary_data_output": True}} if halves else {})}


def _zeros(model: ModelSpec, settings: Settings) -> dict[str, Any] | None:
    shapes = {spec.name: _row(model, spec, settings) for spec in model.inputs}
    if any(-1 in shape for shape in shapes.values()) or sum(map(prod, shapes.values())) > MAX_EXAMPLE_ELEMENTS:
        return None
    zeros = {"BYTES": "", "BOOL": False}
    return {spec.name: np.full(shapes[spec.name], zeros.get(spec.datatype, 0)).tolist() for spec in model.inputs}


def _row(model: ModelSpec, spec: TensorSpec, settings: Settings) -> list[int]:
    """Return the shape of one row of an input. A size is -1 where neither the model nor warmup_shapes says it."""
    rest = spec.shape[1:] if model.batched else spec.shape
    known = settings.warmup_shapes.get(spec.name, ())
    if len(known) == len(rest):
        rest = known
    return [1, *rest] if model.batched else list(rest)
