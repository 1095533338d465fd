"""The stages of each kind of request follow each other without a gap: by a clock that counts its readings, they add up."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput
from serving.core.messages import RawRequest, Reply, StageTimes
from serving.core.stages import SMALL_JSON
from serving.inputs import v2_open_inference
from serving.models.tensors import ModelSpec
from tests.running import make_service
from tests.serving.core.conftest import AskedCore
from tests.serving.stage_begins import seconds_of

DIGITS = ("tests/models/digits.onnx",)
MODEL = 'model_path = "model/digits.onnx"'
OWN_HOOKS = """
from serving.api import Service
class Own(Service):
    def preprocess(self, request): return super().preprocess(request)
    def postprocess(self, outputs, request): return len(outputs)
"""
OWN_HANDLE = """
from serving.api import Service
class Own(Service):
    def handle(self, request): return self.postprocess(self.model(self.preprocess(request), request), request)
"""
HELD = """
import threading
from serving.api import Service, TensorSpec
class Held(Service):
    def setup(self):
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.models.add("small", self.work, (TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))
        self.entered.clear()
    def work(self, arrays):
        self.entered.set()
        assert self.go_on.wait(20)
        return {"y": arrays["x"]}
"""
PIXELS = [[[[0.5] * 8] * 8]]
TENSORS: dict[str, Any] = {
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": np.full(64, 0.5).tolist()}]
}
MODEL_STAGES = ["upload", "queue", "decode", "batch", "infer", "encode"]


class CountingClock:
    """A clock that goes on by one second with each reading."""

    def __init__(self) -> None:
        self._readings = itertools.count(1.0)

    def __call__(self) -> float:
        return next(self._readings)


def decode(body: bytes, spec: ModelSpec) -> Any:
    call = v2_open_inference.decode(body, None, spec, 64)
    return call.inputs, lambda outputs: Reply(v2_open_inference.encode(call, spec, "1", outputs)[0])


def assert_add_up(core: AskedCore, raw: RawRequest, stages: list[str]) -> None:
    ended = raw.times.end()
    seconds = seconds_of(raw.times.begins)
    assert sorted(seconds) == sorted(stages)
    assert sum(seconds.values()) == ended - core.began
    assert min(seconds.values()) > 0


@pytest.mark.parametrize("padding", [0, SMALL_JSON], ids=["on the loop", "on threads"])
def test_the_stages_of_an_inference_add_up(tmp_path: Path, loop: asyncio.AbstractEventLoop, padding: int) -> None:
    core = AskedCore(make_service(tmp_path / "small", MODEL, "", DIGITS), loop, CountingClock())
    raw = core.request(json.dumps(TENSORS).encode() + b" " * padding)
    assert core.infer("small", raw, decode).result(20).status == 200
    assert_add_up(core, raw, MODEL_STAGES)


@pytest.mark.parametrize(
    ("server", "padding", "stages"),
    [
        ("", 0, MODEL_STAGES),
        ("", SMALL_JSON, MODEL_STAGES),
        (OWN_HOOKS, 0, MODEL_STAGES),
        (OWN_HANDLE, 0, ["upload", "queue", "handle"]),
    ],
    ids=["plain, on the loop", "plain, on threads", "own hooks", "own handle"],
)
def test_the_stages_of_a_services_own_route_add_up(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, server: str, padding: int, stages: list[str]
) -> None:
    core = AskedCore(make_service(tmp_path / "small", MODEL, server, DIGITS), loop, CountingClock())
    raw = core.request(json.dumps({"data": PIXELS}).encode() + b" " * padding)
    assert core.answer(raw).result(20).status == 200
    assert_add_up(core, raw, stages)


def test_the_way_back_to_a_loop_that_is_busy_is_part_of_encoding(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    core = AskedCore(make_service(tmp_path / "small", "", HELD), loop)
    core.service.setup()
    service: Any = core.service
    service.go_on.clear()
    raw = core.request(json.dumps({"data": [[1.0]]}).encode())
    answer = core.answer(raw)
    assert service.entered.wait(20)

    def be_busy() -> None:
        service.go_on.set()  # the model ends, and its result waits for this loop
        time.sleep(0.3)

    loop.call_soon_threadsafe(be_busy)
    assert answer.result(20).status == 200
    raw.times.end()
    assert seconds_of(raw.times.begins)["encode"] > 0.2


def test_the_stages_of_a_request_that_fails_while_it_is_decoded_add_up(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    core = AskedCore(make_service(tmp_path / "small", MODEL, "", DIGITS), loop, CountingClock())
    raw = core.request(b"no JSON")
    assert isinstance(core.infer("small", raw, decode).exception(20), BadInput)
    assert_add_up(core, raw, ["upload", "queue", "decode"])


def test_a_stage_that_ends_after_the_answer_is_left_out() -> None:
    times = StageTimes(0.0, CountingClock())
    times.begin("queue")
    assert times.end() == 2.0
    times.begin("decode")
    assert seconds_of(times.begins) == {"upload": 1.0, "queue": 1.0}
