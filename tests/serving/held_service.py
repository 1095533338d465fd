"""A service whose every step a test can hold: its hook, its model, its own route, and the loading of a further model."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.running import Running, get, make_service, running
from tests.waiting import until

PATIENCE = 60
SERVER = """
import threading

from serving.api import Arrays, Request, Service, TensorSpec, route


class Held(Service):
    def setup(self) -> None:
        self.steps = {name: threading.Event() for name in ("hook", "model", "route", "load")}
        for step in self.steps.values():
            step.set()
        x, y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))
        self.models.add("small", self.work, (x,), (y,), instances=1)
        self.models.add("other", lambda arrays: {"y": arrays["x"]}, (x,), (y,), instances=1)
        late = self.models.on_demand("late", "model/digits.onnx")._entry
        opened = late.open
        self.models.replace("late", lambda: self.pass_by("load") and opened())

    def pass_by(self, step: str) -> bool:
        assert self.steps[step].wait(20)
        return True

    def work(self, arrays: Arrays) -> Arrays:
        self.pass_by("model")
        return {"y": arrays["x"]}

    @route("/held")
    def held(self, request: Request) -> int:
        self.pass_by("route")
        return 1

    @route("/hold", "GET")
    def hold(self, request: Request) -> None:
        self.steps[request.value("step", str)].clear()

    @route("/unload", "GET")
    def unload(self, request: Request) -> None:
        self.models.unload("late")

    @route("/free", "GET")
    def free(self, request: Request) -> None:
        for step in self.steps.values():
            step.set()
"""
HOOK = """
    def preprocess(self, request: Request) -> Arrays:
        self.pass_by("hook")
        return super().preprocess(request)
"""
HANDLE = """
    def handle(self, request: Request) -> object:
        self.pass_by("hook")
        data = self.preprocess_data(request)
        return self.model(data, request)["y"].tolist()

    def preprocess_data(self, request: Request) -> Arrays:
        import numpy as np
        from serving.api import BadInput
        if request.data is None:
            raise BadInput("no data")
        return {"x": np.array(request.data, np.float32)}
"""
SETTINGS = "cpu = 1\nqueue_limit = 16\nmax_rows_per_request = 16\nmax_batch_size = 1\ntimeout_second = 15\n"
Answers = list[Future[tuple[int, bytes]]]
JSON = {"Content-Type": "application/json"}
DATA = b'{"data": [[1, 2]]}'
TENSOR: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
SMALL = json.dumps({"inputs": [TENSOR]}).encode()
LARGE = SMALL + b" " * 2**16  # too large to be decoded on the loop
PIXELS = {"name": "images", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}
DIGITS = json.dumps({"inputs": [PIXELS]}).encode()


class Held:
    """The service, and requests to it that run beside the test."""

    def __init__(self, service: Running):
        self.service, self._threads = service, ThreadPoolExecutor(32)

    def hold(self, *steps: str) -> None:
        """Have requests wait at these steps until `free`."""
        if "load" in steps:
            assert get(self.service.url + "/unload")[0] == 200
        for step in steps:
            assert get(f"{self.service.url}/hold?step={step}")[0] == 200

    def free(self) -> None:
        """Hold nothing any more."""
        assert get(self.service.url + "/free")[0] == 200

    def ask(self, count: int, path: str = "/api/small", body: bytes = DATA, seconds: float = 15) -> Answers:
        """Send so many requests, and return their answers to come. seconds: until their deadline."""
        headers = {**JSON, "X-Request-Timeout-Ms": str(int(seconds * 1000))}
        return [self._threads.submit(get, self.service.url + path, body, headers) for _ in range(count)]

    def rows(self, model: str = "small") -> int:
        """Return the rows that wait for a model, by the metrics' page."""
        return int(self.service.metric(f'monopod_queue_rows{{model="{model}"}}'))

    def oldest(self, model: str = "small") -> float:
        """Return the age of the oldest of them, in seconds."""
        return self.service.metric(f'monopod_queue_oldest_age_seconds{{model="{model}"}}')

    def status(self) -> dict[str, Any]:
        """Return what /status tells of the queue."""
        found: dict[str, Any] = json.loads(get(self.service.url + "/status")[1])["queue"]
        return found

    def wait_rows(self, count: int, model: str = "small") -> None:
        """Wait until so many rows wait for a model, on the metrics' page and in /status, which counts all models."""
        until(lambda: self.rows(model) == count)
        others = sum(self.rows(name) for name in ("small", "other", "late") if name != model)
        assert self.status()["rows"] == count + others

    def calm(self) -> None:
        """Let every request end, and check that nothing is counted any more."""
        self.free()
        until(lambda: self.service.metric("monopod_requests_in_progress") == 0)
        found = re.findall(r"^monopod_queue_(?:rows|oldest_age_seconds)\{.*\} (\S+)$", self.service.metrics(), re.MULTILINE)
        assert found
        assert set(map(float, found)) == {0.0}
        assert (self.status()["rows"], self.status()["oldest_seconds"]) == (0, 0)


@contextmanager
def held_service(tmp: pytest.TempPathFactory, more: str) -> Iterator[Held]:
    """Serve it for the length of a block. more: further methods, HOOK or HANDLE."""
    folder = make_service(tmp.mktemp("held") / "small", SETTINGS, SERVER + more, ("tests/models/digits.onnx",))
    with running(folder) as service:
        yield Held(service)


def statuses(answers: Answers) -> list[int]:
    """Wait for answers, and return their statuses in ascending order."""
    return sorted(each.result(PATIENCE)[0] for each in answers)
