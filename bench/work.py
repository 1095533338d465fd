"""The kinds of requests that are measured."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER_LENGTH = "Inference-Header-Content-Length"
PIXELS = [round((i * 7 % 17) / 16, 4) for i in range(64)]  # any grey 8 x 8 picture


@dataclass(frozen=True)
class Work:
    """One kind of request. folder: of the service that answers. hooks: whether preprocess and postprocess run."""

    name: str
    about: str
    folder: Path
    path: str
    body: bytes
    content_type: str
    hooks: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def image() -> Work:
    """A picture in, labels out: the root service."""
    body = (ROOT / "examples/images/coffee.jpg").read_bytes()
    about = f"JPEG of {len(body) // 1000} KB in, labels out (EfficientNet-Lite0)"
    return Work("image", about, ROOT, "/api/like/demo", body, "image/jpeg", hooks=True)


def digits_json() -> Work:
    """One row of 64 numbers as JSON."""
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": PIXELS}
    body = json.dumps({"inputs": [tensor]}).encode()
    return _digits("digits-json", "one row of digits.onnx, Open Inference Protocol as JSON", body, "application/json", {})


def digits_binary() -> Work:
    """The same row as bytes, in and out."""
    raw = struct.pack("<64f", *PIXELS)
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER_LENGTH: str(len(head))}
    about = "one row of digits.onnx, Open Inference Protocol with binary tensors"
    return _digits("digits-binary", about, head + raw, "application/octet-stream", headers)


def _digits(name: str, about: str, body: bytes, content_type: str, headers: dict[str, str]) -> Work:
    folder = ROOT / "bench" / "digits"
    return Work(name, about, folder, "/v2/models/digits/infer", body, content_type, headers=headers)


KINDS = {"image": image, "digits-json": digits_json, "digits-binary": digits_binary}
