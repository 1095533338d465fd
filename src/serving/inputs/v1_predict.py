"""TensorFlow Serving's `:predict`, which KServe calls version 1: requests to arrays, arrays to answers.

The JSON is that of https://www.tensorflow.org/tfx/serving/api_rest#predict_api. "instances" hold rows and are answered by
"predictions". "inputs" hold whole tensors and are answered by "outputs". Bytes are {"b64": ...}.
Shapes follow from the nesting. NaN and infinity are answered as null, since JSON has neither; TensorFlow Serving writes
them bare.
"""

import base64
from dataclasses import dataclass
from typing import Any

from serving.base import json_codec
from serving.base.errors import BadInput, ModelFailed
from serving.inputs.tensor_codec import (
    array_of,
    check_rows,
    json_object,
    named_input,
    nested_shape,
    optional_field,
    required_field,
    show,
    strings,
    texts,
    unnest,
)
from serving.models.tensors import Array, Arrays, ModelSpec, TensorSpec

SIGNATURE = "serving_default"


def status(name: str, version: str, ready: bool) -> dict[str, Any]:
    """Return a model's status: TensorFlow Serving's list of versions, and the fields that KServe's client reads.

    Source of KServe's fields: https://kserve.github.io/website, data plane, V1 protocol.
    """
    state = "AVAILABLE" if ready else "START"
    versions = [{"version": version, "state": state, "status": {"error_code": "OK", "error_message": ""}}]
    return {"name": name, "ready": ready, "model_version_status": versions}


@dataclass(frozen=True)
class PredictRequest:
    """A decoded request. rows: how many instances it has, None in the columnar format."""

    inputs: Arrays
    rows: int | None


def decode(body: bytes | memoryview, spec: ModelSpec, max_rows: int | None = None) -> PredictRequest:
    """Return the request in a body. max_rows: None for no limit.

    Inputs have the model's names and datatypes, and are C-contiguous and native. Their shapes, and whether one is missing,
    are left to `ModelSpec.rows`. Raises BadInput for a malformed request, TooLarge for more than max_rows rows.
    """
    request = json_object(json_codec.loads(body), "the request")
    signature = optional_field(request, "signature_name", str, "the request")
    if signature not in (None, SIGNATURE):
        raise BadInput(f"'signature_name' must be {SIGNATURE!r} or left out, not {show(signature)}")
    if ("instances" in request) == ("inputs" in request):
        raise BadInput("the request must have 'instances' (rows) or 'inputs' (whole tensors), and not both")
    if "inputs" in request:
        return PredictRequest(arrays_of(_columns(request["inputs"], spec), spec, max_rows), None)
    instances = required_field(request, "instances", list, "the request")
    if not instances:
        raise BadInput("'instances' is empty: send one row or more")
    return PredictRequest(arrays_of(_rows(instances, spec), spec, max_rows), len(instances))


def _columns(inputs: object, spec: ModelSpec) -> dict[str, Any]:
    if isinstance(inputs, dict) and not _is_b64(inputs):
        return inputs
    return {_only_input(spec, "'inputs'").name: inputs}


def _rows(instances: list[Any], spec: ModelSpec) -> dict[str, list[Any]]:
    if not isinstance(instances[0], dict) or _is_b64(instances[0]):
        return {_only_input(spec, "each of 'instances'").name: instances}
    columns: dict[str, list[Any]] = {name: [] for name in instances[0]}
    for number, instance in enumerate(instances):
        row = json_object(instance, f"instances[{number}]")
        if row.keys() != columns.keys():
            raise BadInput(f"instances[{number}] has other inputs than instances[0]; give every row the same")
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _only_input(spec: ModelSpec, where: str) -> TensorSpec:
    if len(spec.inputs) != 1:
        known = ", ".join(tensor.name for tensor in spec.inputs)
        raise BadInput(f"model {spec.name} has {len(spec.inputs)} inputs: {where} must be an object that names {known}")
    return spec.inputs[0]


def arrays_of(columns: dict[str, Any], spec: ModelSpec, max_rows: int | None) -> Arrays:
    """Return input -> array, from input -> nested values. Raises BadInput and TooLarge as `decode` does."""
    return {name: _array(value, named_input(spec, name), spec, max_rows) for name, value in columns.items()}


def _array(value: object, tensor: TensorSpec, spec: ModelSpec, max_rows: int | None) -> Array:
    where = f"input {tensor.name!r}"
    shape = nested_shape(value, where)
    check_rows(spec, shape, max_rows, where)
    elements = unnest(value, shape, where)
    if tensor.datatype == "BYTES":
        elements = [_from_b64(element, where) if _is_b64(element) else element for element in elements]
    return array_of(elements, shape, tensor.datatype, where)


def _is_b64(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _from_b64(element: dict[str, Any], where: str) -> bytes:
    text = required_field(element, "b64", str, where)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise BadInput(f"'b64' of {where} is not base64: {show(text)}")


def encode(request: PredictRequest, spec: ModelSpec, outputs: Arrays) -> bytes:
    """Return the answer's JSON: the values of a model with one output, or else an object from output to values.

    BYTES are strings, and {"b64": ...} where the output's name ends in "_bytes". NaN and infinity are null.
    Raises BadInput for strings that are not UTF-8, and for instances where the model does not answer row by row.
    Raises ModelFailed where the model did not give an output.
    """
    answer: dict[str, Any] = {}
    for tensor in spec.outputs:
        if tensor.name not in outputs:
            raise ModelFailed(f"model {spec.name} gave no output {tensor.name!r}")
        array = outputs[tensor.name]
        if request.rows is not None and array.shape[:1] != (request.rows,):
            raise BadInput(f"model {spec.name} does not answer row by row: ask with 'inputs' in place of 'instances'")
        answer[tensor.name] = _values(array, tensor.name)
    if len(answer) == 1:
        (result,) = answer.values()
    elif request.rows is None:
        result = answer
    else:
        result = [{name: values[row] for name, values in answer.items()} for row in range(request.rows)]
    return json_codec.dumps({"outputs" if request.rows is None else "predictions": result})


def _values(array: Array, name: str) -> Any:
    """Return an output for the JSON writer: strings as nested lists, numbers as the array."""
    if array.dtype.kind not in "OSU":
        return array
    if name.endswith("_bytes"):
        flat: list[Any] = [{"b64": base64.b64encode(element).decode()} for element in strings(array)]
    else:
        flat = list(texts(array, f"output {name!r}", "ask the Open Inference Protocol (v2) for binary"))
    return _nest(flat, array.shape)


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    return [_nest(flat[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]
