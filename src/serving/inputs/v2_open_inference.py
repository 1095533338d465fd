"""The Open Inference Protocol, version 2, over REST: requests to arrays, arrays to answers, metadata.

The JSON is that of https://github.com/kserve/open-inference-protocol (rest/inference_rest.md). Triton's extensions add the
binary tensor data (extension_binary_data.md) and the request parameters `timeout` and `id`. Unknown fields and parameters are
ignored. An optional field that is null counts as missing.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from serving.base import json_codec
from serving.base.errors import BadInput, ModelFailed
from serving.inputs.tensor_codec import (
    LENGTH_HEADER,
    UNUSUAL,
    Shape,
    array_of,
    check_rows,
    checked_shape,
    json_object,
    named_input,
    optional_field,
    packed_numbers,
    read_raw,
    required_field,
    show,
    split_body,
    texts,
    unnest,
    write_raw,
)
from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec, TensorSpec, datatype_of

EXTENSIONS = ("binary_tensor_data",)
MODEL_VERSION = "1"  # of every model: the platform serves one version
PLACE = json_codec.Fragment(b"[\0]")  # for a tensor's elements in an answer; JSON escapes this character in strings

# A request's rows, which are ready to be joined: their number, the bytes of each input in the model's order, and its id.
PackedRows = tuple[int, list[bytes], str]


class RequestedOutput(NamedTuple):
    """An output of the answer. binary: whether it is sent as raw bytes after the JSON."""

    name: str
    binary: bool


class InferRequest(NamedTuple):
    """A decoded request."""

    id: str  # "" where the client gave none
    inputs: Arrays
    outputs: tuple[RequestedOutput, ...]  # to answer in this order; empty only where the model has none
    timeout_s: float | None  # of the client, in seconds


def decode(body: bytes | memoryview, header_length: str | None, spec: ModelSpec, max_rows: int | None = None) -> InferRequest:
    """Return the request in a body. max_rows: None for no limit.

    header_length: the value of the header Inference-Header-Content-Length, None where it did not come.
    Inputs have the model's names and datatypes, and are C-contiguous, aligned and native. They may be read-only views of the
    body. Their shapes, and whether one is missing, are left to `ModelSpec.rows`.
    Raises BadInput for a malformed request, TooLarge for more than max_rows rows.
    """
    head, raw = split_body(body, header_length)
    request = json_object(json_codec.loads(head, "the body" if header_length is None else "the JSON header"), "the request")
    try:
        if header_length is None:
            packed = _packed(request, body, spec, max_rows)
            arrays = {name: np.ndarray(shape, DATATYPES[datatype], part) for name, (datatype, shape, part) in packed.items()}
            return InferRequest(request.get("id", ""), arrays, _outputs(request, spec, False), None)
    except UNUSUAL:
        pass
    parameters = _parameters(request, "the request")
    if parameters.get("sequence_id") not in (None, 0, ""):
        raise BadInput("'sequence_id' is not supported: this server keeps no state between requests")
    inputs = _inputs(required_field(request, "inputs", list, "the request"), raw, spec, max_rows)
    outputs = _outputs(request, spec, bool(optional_field(parameters, "binary_data_output", bool, "the request's parameters")))
    return InferRequest(optional_field(request, "id", str, "the request") or "", inputs, outputs, _timeout(parameters))


def pack(body: bytes, spec: ModelSpec, max_rows: int | None = None) -> PackedRows | None:
    """Return the rows of a request that is small and usual, without arrays: `join` and `encode_rows` go on from there.

    None for what `decode` and `ModelSpec.rows` may refuse, or only `decode` takes, and where rows have no fixed shape.
    """
    try:
        request = json_codec.loads(body)
        inputs = _packed(request, body, spec, max_rows)
        count = inputs[spec.inputs[0].name][1][0]
        for name, (_, shape, _) in inputs.items():
            if spec.input_named[name].shape != (-1, *shape[1:]) or shape[0] != count or not spec.batched:
                return None
        return count, [inputs[tensor.name][2] for tensor in spec.inputs], request.get("id", "")
    except UNUSUAL:
        return None


def join(calls: Sequence[PackedRows], spec: ModelSpec) -> Arrays:
    """Return the rows of all calls as the model's inputs, which are C-contiguous, aligned and read-only."""
    total, parts = sum([count for count, _, _ in calls]), zip(*[parts for _, parts, _ in calls], strict=True)
    return {
        tensor.name: np.ndarray((total, *tensor.shape[1:]), DATATYPES[tensor.datatype], b"".join(each))
        for tensor, each in zip(spec.inputs, parts, strict=True)
    }


def _packed(request: Any, body: Any, spec: ModelSpec, max_rows: int | None) -> dict[str, tuple[str, list[int], bytes]]:
    """Return the datatype, shape and bytes of each input, of a request for all outputs as JSON. Raises one of UNUSUAL."""
    special = "parameters" in request or "outputs" in request or not spec.answers_in_json
    booleans = (ord("r") in body or ord("l") in body) and (body.find(b"true") >= 0 or body.find(b"false") >= 0)
    if special or booleans or type(request.get("id", "")) is not str:  # a letter is found faster than a word
        raise ValueError
    inputs: dict[str, tuple[str, list[int], bytes]] = {}
    for item in request["inputs"]:
        name, shape = item["name"], item["shape"]
        datatype = spec.input_named[name].datatype
        inputs[name] = datatype, shape, packed_numbers(item["data"], shape, datatype)
        if item["datatype"] != datatype or "parameters" in item or (max_rows is not None and shape[0] > max_rows):
            raise ValueError
    if not 0 < len(inputs) == len(request["inputs"]):
        raise ValueError
    return inputs


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    if "parameters" not in owner:
        return {}
    parameters = optional_field(owner, "parameters", dict, where) or {}
    for name in parameters:
        if name.startswith("shared_memory"):
            raise BadInput(f"{show(name)} of {where} is not supported: send and ask for the data in the body")
        if name == "classification":
            raise BadInput(f"'classification' of {where} is not supported: ask for the scores and sort them")
    return parameters


def _timeout(parameters: dict[str, Any]) -> float | None:
    """Return the parameter `timeout`, which is in microseconds, in seconds. None where it is missing or 0."""
    timeout = optional_field(parameters, "timeout", int, "the request's parameters")
    if timeout is not None and timeout < 0:
        raise BadInput(f"'timeout' of the request's parameters must be microseconds from 0 on, not {timeout}")
    return timeout / 1e6 if timeout else None


def _inputs(items: list[Any], raw: memoryview, spec: ModelSpec, max_rows: int | None) -> Arrays:
    if not items and spec.inputs:
        raise BadInput(f"'inputs' is empty; model {spec.name} takes {', '.join(tensor.name for tensor in spec.inputs)}")
    arrays: Arrays = {}
    at = 0
    for number, item in enumerate(items):
        item = json_object(item, f"inputs[{number}]")
        tensor = named_input(spec, required_field(item, "name", str, f"inputs[{number}]"))
        where = f"input {tensor.name!r}"
        if tensor.name in arrays:
            raise BadInput(f"{where} is given twice")
        shape = _shape(item, tensor, where)
        check_rows(spec, shape, max_rows, where)
        size = _binary_size(item, where)
        if size is None:
            arrays[tensor.name] = _from_json(item, tensor.datatype, shape, where)
            continue
        if size > len(raw) - at:
            raise BadInput(
                f"'binary_data_size' of {where} is {size}, but {len(raw) - at} bytes are left of the {len(raw)} "
                f"after the JSON; the header {LENGTH_HEADER} says where they start"
            )
        arrays[tensor.name] = read_raw(raw[at : at + size], tensor.datatype, shape, where)
        at += size
    if at != len(raw):
        raise BadInput(f"{len(raw)} bytes follow the JSON, but the inputs' 'binary_data_size' add up to {at}")
    return arrays


def _shape(item: dict[str, Any], tensor: TensorSpec, where: str) -> Shape:
    datatype = required_field(item, "datatype", str, where)
    if datatype != tensor.datatype:
        raise BadInput(f"{where} must be {tensor.datatype}, not {show(datatype)}")
    return checked_shape(required_field(item, "shape", list, where), where)


def _binary_size(item: dict[str, Any], where: str) -> int | None:
    """Return how many raw bytes hold an input, None where its data is in the JSON."""
    size = optional_field(_parameters(item, where), "binary_data_size", int, f"the parameters of {where}")
    if size is None:
        return None
    if size < 0:
        raise BadInput(f"'binary_data_size' of {where} must be bytes from 0 on, not {size}")
    if item.get("data") is not None:
        raise BadInput(f"{where} has both 'data' and 'binary_data_size'; give one of them")
    return size


def _from_json(item: dict[str, Any], datatype: str, shape: Shape, where: str) -> Array:
    if datatype == "FP16":
        raise BadInput(f"{where} is FP16, which JSON cannot carry: send it as binary data, with 'binary_data_size'")
    data = required_field(item, "data", list, where)
    nested = bool(data) and isinstance(data[0], list)
    return array_of(unnest(data, shape, where) if nested else data, shape, datatype, where)


def _outputs(request: dict[str, Any], spec: ModelSpec, default: bool) -> tuple[RequestedOutput, ...]:
    """Return the outputs that the request names, or all outputs of the model where it names none."""
    items = optional_field(request, "outputs", list, "the request")
    if not items and not default and spec.answers_in_json:
        return tuple([RequestedOutput(tensor.name, False) for tensor in spec.outputs])
    items = items or [{"name": tensor.name} for tensor in spec.outputs]
    outputs: dict[str, RequestedOutput] = {}
    for number, item in enumerate(items):
        output = _output(json_object(item, f"outputs[{number}]"), f"outputs[{number}]", spec, default)
        if output.name in outputs:
            raise BadInput(f"output {output.name!r} is asked for twice")
        outputs[output.name] = output
    return tuple(outputs.values())


def _output(item: dict[str, Any], where: str, spec: ModelSpec, default: bool) -> RequestedOutput:
    name = required_field(item, "name", str, where)
    datatypes = {tensor.name: tensor.datatype for tensor in spec.outputs}
    if name not in datatypes:
        raise BadInput(f"model {spec.name} has no output {show(name)}; its outputs are {', '.join(datatypes)}")
    wanted = optional_field(_parameters(item, where), "binary_data", bool, f"the parameters of {where}")
    as_bytes = default if wanted is None else wanted
    if datatypes[name] == "FP16" and not as_bytes:
        raise BadInput(f"output {name!r} is FP16, which JSON cannot carry: {_ask_binary(name)}")
    return RequestedOutput(name, as_bytes)


def _ask_binary(name: str) -> str:
    return (
        f'ask for binary, by "binary_data": true in the parameters of output {name!r} '
        'or "binary_data_output": true in those of the request'
    )


def encode(request: InferRequest, spec: ModelSpec, version: str, outputs: Arrays) -> tuple[bytes, int | None]:
    """Return an answer's body and the length of its JSON header in bytes.

    The length is None where the whole body is JSON (application/json). Or else the body is application/octet-stream, and the
    length goes into the header Inference-Header-Content-Length. NaN and infinity are null in JSON, and unchanged in binary.
    Raises BadInput for a BYTES output that is not UTF-8 and is to be sent as JSON.
    Raises ModelFailed for an output that the model did not give, and for a dtype that the protocol does not have.
    """
    items: list[dict[str, Any]] = []
    parts: list[memoryview] = []
    for wanted in request.outputs:
        array = outputs.get(wanted.name)
        if array is None:
            raise ModelFailed(f"model {spec.name} gave no output {wanted.name!r}")
        item: dict[str, Any] = {
            "name": wanted.name,
            "datatype": _datatype(array, wanted.name, spec),
            "shape": list(array.shape),
        }
        if wanted.binary:
            part = write_raw(array)
            item["parameters"] = {"binary_data_size": part.nbytes}
            parts.append(part)
        else:
            item["data"] = _json_data(array, wanted.name)
        items.append(item)
    answer = {"model_name": spec.name, "model_version": version, "outputs": items}
    head = json_codec.dumps({**answer, "id": request.id} if request.id else answer)
    return (b"".join([head, *parts]), len(head)) if parts else (head, None)


def encode_rows(calls: Sequence[PackedRows], spec: ModelSpec, version: str, outputs: Arrays) -> list[bytes] | None:
    """Return the answer to each packed request of a batch, as `encode` gives it for its rows. outputs: of the whole batch.

    None where only `encode` may write the outputs, or say what is wrong with them.
    """
    counts = [count for count, _, _ in calls]
    try:
        arrays = [(tensor.name, outputs[tensor.name]) for tensor in spec.outputs]
        tensors = tuple([(name, _datatype(array, name, spec), array.shape[1:]) for name, array in arrays])
        parts = [_texts_of_rows(array, counts) for _, array in arrays]
    except UNUSUAL:
        return None
    ids = [b',"id":' + json_codec.dumps(id) if id else b"" for _, _, id in calls]
    frames = {count: _frame(spec.name, version, count, tensors) for count in set(counts)}
    return [frames[count] % each for count, each in zip(counts, zip(*parts, ids, strict=True), strict=True)]


@lru_cache(maxsize=1024)
def _frame(model: str, version: str, rows: int, tensors: tuple[tuple[str, str, Shape], ...]) -> bytes:
    """Return an answer as a format: a place for each output's elements, and one for fields behind the outputs."""
    items = [{"name": name, "datatype": datatype, "shape": [rows, *row], "data": PLACE} for name, datatype, row in tensors]
    text = json_codec.dumps({"model_name": model, "model_version": version, "outputs": items})
    return text[:-1].replace(b"%", b"%%").replace(b"\0", b"%b") + b"%b}"


def _texts_of_rows(array: Array, counts: Sequence[int]) -> list[bytes]:
    """Return the elements of each group of rows as JSON, without brackets. counts: the rows of each group."""
    if array.dtype.kind not in "biuf" or not array.size or len(array) != sum(counts):
        raise ValueError
    rows = json_codec.dumps(array if array.ndim == 2 else array.reshape(len(array), -1))[2:-2].split(b"],[")
    if len(rows) == len(counts):
        return rows
    return [b",".join(rows[end - count : end]) for count, end in zip(counts, accumulate(counts), strict=True)]


def _datatype(array: Array, name: str, spec: ModelSpec) -> str:
    try:
        return datatype_of(array)
    except KeyError:
        error = f"output {name!r} of model {spec.name} is {array.dtype}, which the protocol has no datatype for"
    raise ModelFailed(error)


def _json_data(array: Array, name: str) -> list[str] | Array:
    return texts(array, f"output {name!r}", _ask_binary(name)) if array.dtype.kind in "OSU" else array.reshape(-1)


def metadata(spec: ModelSpec, platform: str, versions: tuple[str, ...] = (MODEL_VERSION,)) -> dict[str, Any]:
    """Return a model's metadata. platform: `<project>_<format>`, such as onnxruntime_onnx. Shapes include the batch axis."""
    return {
        "name": spec.name,
        "versions": list(versions),
        "platform": platform,
        "inputs": [_tensor(tensor) for tensor in spec.inputs],
        "outputs": [_tensor(tensor) for tensor in spec.outputs],
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def server_metadata(name: str, version: str, digest: str = "") -> dict[str, Any]:
    """Return the server's metadata, with the extensions that it has. digest: of its image, "" where it is not known."""
    own = {"digest": digest} if digest else {}
    return {"name": name, "version": version, **own, "extensions": list(EXTENSIONS)}
