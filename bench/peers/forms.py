"""The usual forms of requests: the Open Inference Protocol as JSON and as binary, rows of plain JSON, and a JPEG's bytes.

Each function returns an Exchange.
"""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.peers import works
from bench.peers.peer import Exchange
from bench.work import HEADER_LENGTH
from serving.models.tensors import Array

Headers = Mapping[str, str]


def open_inference(path: str) -> Exchange:
    """The small net's row as JSON of the Open Inference Protocol, flat data; the answer's first output holds the values."""
    return Exchange(path, "application/json", lambda: _tensors(None), _first_output)


def open_inference_binary(path: str) -> Exchange:
    """The same row with binary tensor data, in and out."""
    head, raw = _tensors(works.row().tobytes()), works.row().tobytes()
    return Exchange(path, "application/octet-stream", lambda: head + raw, _first_binary_output, {HEADER_LENGTH: str(len(head))})


def json_rows(path: str, field: str = "inputs", answer: str = "outputs") -> Exchange:
    """The row as {"inputs": [[...]]}. answer: the field of the answer's JSON that holds the rows, "" for the whole answer."""
    return Exchange(path, "application/json", lambda: json.dumps({field: _numbers()}).encode(), json_answer(answer))


def jpeg_bytes(path: str, answer: str = "outputs", content_type: str = "image/jpeg") -> Exchange:
    """The picture's bytes as the whole body. answer: as in json_rows."""
    return Exchange(path, content_type, works.jpeg, json_answer(answer))


def open_inference_jpeg(path: str) -> Exchange:
    """The picture as one BYTES element of shape [1, 1] in binary tensor data; the answer's first output is binary too."""
    size = len(_element())
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER_LENGTH: str(len(head))}
    return Exchange(path, "application/octet-stream", lambda: head + _element(), _first_binary_output, headers)


def json_answer(field: str) -> Callable[[bytes, Headers], Array]:
    """Return a reader of a field of the answer's JSON object, or of the whole answer for ""."""

    def read(body: bytes, headers: Headers) -> Array:
        found = json.loads(body)
        return np.array(found[field] if field else found, np.float64)

    return read


def _numbers() -> list[list[float]]:
    """Return the row as it is written in decimals, without the noise that a float32 shows as a float64."""
    return [[round(float(value), 4) for value in works.row()[0]]]


def _element() -> bytes:
    picture = works.jpeg()
    return struct.pack("<I", len(picture)) + picture


def _tensors(raw: bytes | None) -> bytes:
    tensor: dict[str, Any] = {"name": "inputs", "datatype": "FP32", "shape": [1, 32]}
    if raw is None:
        return json.dumps({"inputs": [{**tensor, "data": _numbers()[0]}]}).encode()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    return json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()


def _first_output(body: bytes, headers: Headers) -> Array:
    return np.array(json.loads(body)["outputs"][0]["data"], np.float64)


def _first_binary_output(body: bytes, headers: Headers) -> Array:
    return np.frombuffer(body[int(headers[HEADER_LENGTH.lower()]) :], np.float32)
