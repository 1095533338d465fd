"""The codec, checks and batches of JSON rows as they were at commit 3272f28, so that the bare loop with them is a fixed limit.

It stands apart from the project on purpose, and is not to be made faster: a good request takes the steps that it took then.
Refusals have no words, and binary tensors are left out.
"""

import asyncio
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import peer_parts

Arrays = dict[str, Any]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(np.object_),
}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
NUMBERS = frozenset({float, int})
ROUNDED_TO_INFINITY = {"FP32": 2.0**128 - 2.0**103}
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
LARGE = 64 * 2**10
BYTES_A_CONTAINER, SOME_CONTAINERS, MAX_CONTAINERS = 6, 200_000, 1_000_000


@dataclass(frozen=True)
class Tensor:
    name: str
    datatype: str
    shape: tuple[int, ...]


class Wanted(NamedTuple):
    name: str
    binary: bool


class InferRequest(NamedTuple):
    id: str
    inputs: Arrays
    outputs: tuple[Wanted, ...]
    timeout_s: float | None


@dataclass(frozen=True)
class Spec:
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool

    def rows(self, arrays: Arrays) -> int:
        if not isinstance(arrays, dict) or arrays.keys() != self._names:
            raise ValueError
        counts = {tensor.name: self._check(tensor, arrays[tensor.name]) for tensor in self.inputs}
        if not self.batched:
            return 1
        rows = set(counts.values())
        if len(rows) > 1 or rows == {0}:
            raise ValueError
        return rows.pop() if rows else 1

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(tensor.name for tensor in self.inputs)

    def _check(self, tensor: Tensor, array: Any) -> int:
        if not isinstance(array, np.ndarray | np.generic) or array.dtype != DATATYPES[tensor.datatype]:
            raise ValueError
        shape = array.shape
        as_it_stands = tensor.shape[:1] == (-1,) and shape[1:] == tensor.shape[1:]
        same_rank = len(shape) == len(tensor.shape)
        if not same_rank or not as_it_stands:
            raise ValueError
        if 0 in shape[1:]:
            raise ValueError
        return shape[0] if shape else 1


SMALL = Spec("small", (Tensor("inputs", "FP32", (-1, 32)),), (Tensor("outputs", "FP32", (-1, 8)),), True)


class Rows:
    """The small net's requests: those of one turn of the loop run as one batch. model: the ONNX file."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: Path):
        self._loop = loop
        self._session = peer_parts.session(str(model))
        self._waiting: list[tuple[asyncio.Transport, InferRequest, int]] = []

    def take(self, connection: Any, body: bytes) -> None:
        request = decode(body, SMALL)
        if not self._waiting:
            self._loop.call_soon(self._run)
        self._waiting.append((connection.transport, request, SMALL.rows(request.inputs)))

    def _run(self) -> None:
        calls, self._waiting = self._waiting, []
        values = self._session.run(["outputs"], _joined([request.inputs for _, request, _ in calls]))
        parts = _split(dict(zip(["outputs"], values, strict=True)), [count for *_, count in calls])
        for (transport, request, _), part in zip(calls, parts, strict=True):
            body = encode(request, SMALL, "1", part)
            transport.write(HEAD % len(body) + body)


def decode(body: bytes, spec: Spec) -> InferRequest:
    """Return the request in a body. Raises ValueError."""
    head, raw = _parts(body, None)
    request = _object(_loads(head, "the body"), "the request")
    parameters = _parameters(request, "the request")
    if parameters.get("sequence_id") not in (None, 0, ""):
        raise ValueError
    inputs = _inputs(_required(request, "inputs", list, "the request"), raw, spec)
    outputs = _outputs(request, spec, bool(_optional(parameters, "binary_data_output", bool, "the request's parameters")))
    return InferRequest(_optional(request, "id", str, "the request") or "", inputs, outputs, _timeout(parameters))


def encode(request: InferRequest, spec: Spec, version: str, outputs: Arrays) -> bytes:
    """Return an answer's body."""
    items: list[dict[str, Any]] = []
    parts: list[memoryview] = []
    for wanted in request.outputs:
        array = outputs.get(wanted.name)
        if array is None:
            raise ValueError
        item: dict[str, Any] = {
            "name": wanted.name,
            "datatype": _datatype(array, wanted.name, spec),
            "shape": list(array.shape),
        }
        if wanted.binary:
            raise ValueError
        item["data"] = _json_data(array, wanted.name)
        items.append(item)
    answer = {"model_name": spec.name, "model_version": version, "outputs": items}
    head = _dumps({**answer, "id": request.id} if request.id else answer)
    return b"".join([head, *parts]) if parts else head


def _parts(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    view = memoryview(body).cast("B")
    if header_length is not None:
        raise ValueError
    return body, view[len(view) :]


def _loads(body: bytes, what: str) -> Any:
    body = bytes(body)
    if not body:
        raise ValueError
    containers = body.count(b"[") + body.count(b"{")
    most = _most_containers(len(body))
    if containers > most or len(body) > LARGE:
        raise ValueError
    return orjson.loads(body)


def _most_containers(length: int) -> int:
    return min(MAX_CONTAINERS, SOME_CONTAINERS + length // BYTES_A_CONTAINER)


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=None, option=OPTIONS)
    except TypeError:
        raise ValueError from None


def _optional(owner: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = owner.get(key)
    if value is None:
        return None
    if type(value) is not kind:
        raise ValueError
    return value


def _required(owner: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = _optional(owner, key, kind, where)
    if value is None:
        raise ValueError
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return value


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    if "parameters" not in owner:
        return {}
    parameters: dict[str, Any] = _optional(owner, "parameters", dict, where) or {}
    for name in parameters:
        if name.startswith("shared_memory") or name == "classification":
            raise ValueError
    return parameters


def _timeout(parameters: dict[str, Any]) -> float | None:
    timeout = _optional(parameters, "timeout", int, "the request's parameters")
    if timeout is not None and timeout < 0:
        raise ValueError
    return timeout / 1e6 if timeout else None


def _inputs(items: list[Any], raw: memoryview, spec: Spec) -> Arrays:
    if not items and spec.inputs:
        raise ValueError
    arrays: Arrays = {}
    for number, item in enumerate(items):
        item = _object(item, f"inputs[{number}]")
        tensor = _named(spec, _required(item, "name", str, f"inputs[{number}]"))
        where = f"input {tensor.name!r}"
        if tensor.name in arrays:
            raise ValueError
        shape = _shape(item, tensor, where)
        _check_rows(spec, shape, None, where)
        if _binary_size(item, where) is not None:
            raise ValueError
        arrays[tensor.name] = _from_json(item, tensor.datatype, shape, where)
    if len(raw) != 0:
        raise ValueError
    return arrays


def _named(spec: Spec, name: str) -> Tensor:
    for tensor in spec.inputs:
        if tensor.name == name:
            return tensor
    raise ValueError


def _shape(item: dict[str, Any], tensor: Tensor, where: str) -> tuple[int, ...]:
    if _required(item, "datatype", str, where) != tensor.datatype:
        raise ValueError
    return _checked(_required(item, "shape", list, where), where)


def _checked(shape: list[Any], where: str) -> tuple[int, ...]:
    if len(shape) > 32:
        raise ValueError
    for size in shape:
        if type(size) is not int or size < 0:
            raise ValueError
    if math.prod(max(size, 1) for size in shape) > 2**40:
        raise ValueError
    return tuple(shape)


def _check_rows(spec: Spec, shape: tuple[int, ...], most: int | None, where: str) -> None:
    if spec.batched and most is not None and shape and shape[0] > most:
        raise ValueError


def _binary_size(item: dict[str, Any], where: str) -> int | None:
    size: int | None = _optional(_parameters(item, where), "binary_data_size", int, f"the parameters of {where}")
    return size


def _from_json(item: dict[str, Any], datatype: str, shape: tuple[int, ...], where: str) -> Any:
    if datatype == "FP16":
        raise ValueError
    data = _required(item, "data", list, where)
    nested = bool(data) and isinstance(data[0], list)
    return _array(_unnested(data, shape) if nested else data, shape, datatype, where)


def _unnested(data: object, shape: tuple[int, ...]) -> list[Any]:
    items: list[Any] = [data]
    for size in shape:
        if not set(map(type, items)) <= {list} or not set(map(len, items)) <= {size}:
            raise ValueError
        items = list(chain.from_iterable(items))
    return items


def _array(values: list[Any], shape: tuple[int, ...], datatype: str, where: str) -> Any:
    dtype = DATATYPES[datatype]
    if len(values) != math.prod(shape) or datatype == "BYTES" or datatype == "BOOL" or dtype.kind != "f":
        raise ValueError
    return _floats(values, datatype, where).reshape(shape)


def _floats(values: list[Any], datatype: str, where: str) -> Any:
    dtype, high = DATATYPES[datatype], ROUNDED_TO_INFINITY[datatype]
    if set(map(type, values)) <= NUMBERS:
        array = np.array(values, dtype=np.float64)
        sizes = np.abs(array)
        if np.maximum.reduce(sizes, initial=0.0) < high:
            return array.astype(dtype, copy=False)
    raise ValueError


def _outputs(request: dict[str, Any], spec: Spec, default: bool) -> tuple[Wanted, ...]:
    items = _optional(request, "outputs", list, "the request")
    if not items and not default and not any(tensor.datatype == "FP16" for tensor in spec.outputs):
        return tuple([Wanted(tensor.name, False) for tensor in spec.outputs])
    raise ValueError


def _datatype(array: Any, name: str, spec: Spec) -> str:
    if array.dtype not in DATATYPES.values() and array.dtype.kind not in "SU":
        raise ValueError
    return _name(array)


def _name(array: Any) -> str:
    if array.dtype.kind in "OSU":
        return "BYTES"
    return NAMES[array.dtype]


def _json_data(array: Any, name: str) -> Any:
    if array.dtype.kind in "OSU":
        raise ValueError
    return array.reshape(-1)


def _joined(parts: list[Arrays]) -> Arrays:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _split(arrays: Arrays, counts: list[int]) -> list[Arrays]:
    total = sum(counts)
    for array in arrays.values():
        if not array.shape or array.shape[0] != total:
            raise ValueError
    parts: list[Arrays] = [{} for _ in counts]
    for name, array in arrays.items():
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part[name] = array[start : start + count]
            start += count
    return parts
