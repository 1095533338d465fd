"""Photos for the tests, and requests to a running service."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from serving.api import Array
from tests.running import ROOT, Running, get, post_form
from tests.waiting import until

EXAMPLE = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "examples/images"
API = "/api/face-embedding"


def file(name: str) -> bytes:
    return (IMAGES / name).read_bytes()


def photo(name: str = "astronaut.jpg") -> Image.Image:
    with Image.open(IMAGES / name) as picture:
        return picture.convert("RGB")


def jpeg(picture: Image.Image, quality: int = 90, **more: Any) -> bytes:
    out = BytesIO()
    picture.save(out, "JPEG", quality=quality, **more)
    return out.getvalue()


def unlike(data: bytes, number: int) -> bytes:
    """Return another file of the same picture. It differs after the JPEG's end, which decoders do not read."""
    return data + number.to_bytes(4, "big")


def post(service: Running, path: str, *pictures: bytes) -> tuple[int, Any]:
    """Post a form with these pictures. Return the status and the parsed answer."""
    return post_form(service.url + API + path, *(("image", picture) for picture in pictures))


def embed(service: Running, picture: bytes) -> Any:
    status, answer = post(service, "/embed", picture)
    assert status == 200, answer
    return answer["results"]


def vector(service: Running, picture: bytes) -> Array:
    (face,) = embed(service, picture)["faces"]
    return np.array(face["embedding"])


def busy(service: Running, pool: ThreadPoolExecutor, calls: int) -> list[Future[int]]:
    """Keep the embedding's model computing. Each call has 48 rows, and takes a fraction of a second."""
    rows = np.zeros((48, 3, 150, 150), np.float32)
    tensor = {"name": "faces", "datatype": "FP32", "shape": rows.shape, "parameters": {"binary_data_size": rows.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    url = service.url + API + "/v2/models/dlibface/infer"
    before = service.metric('monopod_batch_rows_sum{model="dlibface"}')
    sent = [pool.submit(lambda: get(url, head + rows.tobytes(), headers)[0]) for _ in range(calls)]
    until(lambda: service.metric('monopod_batch_rows_sum{model="dlibface"}') > before)
    return sent
