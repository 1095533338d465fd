"""Wrong inputs that the service's own code makes are a 500, and a client's wrong inputs are a 400."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import small_models
from tests.running import Running, make_service, post_json, running
from tests.serving.web.test_app import logged

SERVER = """
import numpy as np

from serving.service.request import Request
from serving.service.service import Service, route
from serving.models.tensors import TensorSpec

GIVEN = {
    "unknown": lambda x: {"y": x},
    "missing": lambda x: {},
    "dtype": lambda x: {"x": x.astype(np.float64)},
    "rank": lambda x: {"x": x[0]},
    "size": lambda x: {"x": x},
    "none": lambda x: None,
    "lists": lambda x: {"x": x.tolist()},
    "good": lambda x: {"x": x},
}


class Own(Service):
    def setup(self) -> None:
        one = (TensorSpec("x", "FP32", (-1, 2)),)
        self.wrapped = self.models.add("wrapped", self.wrap, one, one)
        self.ready = True

    def wrap(self, arrays):
        if not hasattr(self, "ready"):
            return arrays
        return {"x": self.model({"x": arrays["x"][0]}, make_request())["y"]}

    def preprocess(self, request: Request):
        return GIVEN[request.value("how", str)](np.array(request.value("row", list), np.float32)[None])

    @route("/own")
    def own(self, request: Request):
        given = self.preprocess(request)
        return self.model(given, request)["y"]

    @route("/after")
    def default(self, request: Request):
        return self.model(super().preprocess(request), request)["y"]


from serving.service.request import make_request
"""
LINES = SERVER.splitlines()
OWN = 1 + next(at for at, line in enumerate(LINES) if "self.model(given" in line)
PREPROCESS = 1 + next(at for at, line in enumerate(LINES) if "def preprocess" in line)
WRAP = 1 + next(at for at, line in enumerate(LINES) if 'arrays["x"][0]' in line)
WRONG = {
    "unknown": "model small has no input 'y'; its inputs are x",
    "missing": "input 'x' of model small is missing",
    "dtype": "must be FP32, an array of float32, not of float64",
    "rank": "must have shape [-1, 2] (-1 is any size), not [2]",
    "none": "the inputs of model small must be a dict of arrays by input name, such as {'x': array}, not None; does a function",
    "lists": "input 'x' of model small must be an array of numpy, such as {'x': array}, not of type list",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("own") / "small", 'model_path = "model/same.onnx"', SERVER)
    small_models.identity(folder / "model/same.onnx")
    with running(folder) as it:
        yield it


def failure(service: Running, request_id: str) -> dict[str, Any]:
    return logged(service, lambda line: line.get("request_id") == request_id and line["level"] == "error")


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize(("path", "place"), [("/own", OWN), ("/api/small", PREPROCESS)])
def test_a_call_that_own_code_makes_wrongly_is_a_500_and_the_log_names_its_line(
    service: Running, path: str, place: int, how: str
) -> None:
    before = service.metric('monopod_requests_total{code="500",reason="service_failed",route="service"}')
    status, answer = post_json(service.url + path, {"how": how, "row": [1, 2]})
    assert (status, answer["reason"]) == (500, "service_failed")
    assert WRONG[how] not in answer["error"]
    told = failure(service, answer["request_id"])["message"]
    assert f"server.py, line {place}" in told
    assert WRONG[how] in told
    after = service.metric('monopod_requests_total{code="500",reason="service_failed",route="service"}')
    assert after - before == (path == "/api/small")


@pytest.mark.parametrize("path", ["/own", "/api/small"])
def test_a_size_that_a_client_may_have_chosen_stays_a_400(service: Running, path: str) -> None:
    status, answer = post_json(service.url + path, {"how": "size", "row": [1, 2, 3]})
    assert (status, answer["reason"]) == (400, "bad_input")
    assert "must have shape [-1, 2]" in answer["error"]
    assert post_json(service.url + path, {"how": "good", "row": [1, 2]})[0] == 200


def test_a_function_that_calls_another_model_wrongly_is_a_500_with_its_line(service: Running) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    status, answer = post_json(service.url + "/v2/models/wrapped/infer", {"inputs": [tensor]})
    assert (status, answer["reason"]) == (500, "model_failed")
    line = logged(service, lambda line: "a batch of model wrapped failed" in line["message"])
    assert f'server.py", line {WRAP}' in json.dumps(line["traceback"]).replace('\\"', '"')


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/after", {"data": [[[1, 2]]]}),
        ("/after", {"data": {"z": [[1, 2]]}}),
        ("/v1/models/small:predict", {"instances": [[[1, 2]]]}),
        ("/v1/models/small:predict", {"inputs": {"z": [[1, 2]]}}),
        ("/v1/models/small:predict", {"inputs": {}}),
        ("/v2/models/small/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}),
        ("/v2/models/small/infer", {"inputs": [{"name": "z", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}),
        ("/v2/models/small/infer", {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}),
    ],
)
def test_a_clients_wrong_input_to_a_model_stays_a_400(service: Running, path: str, body: dict[str, Any]) -> None:
    status, answer = post_json(service.url + path, body)
    assert (status, answer["reason"]) == (400, "bad_input"), answer
