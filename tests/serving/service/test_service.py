"""A classifier as skl2onnx writes one, with named fields and code of its own, over the real server.

An answer that a service's own code makes is one that HTTP can send, and its mistakes are named where they are made.

A file that changes is read again, and a file that cannot be read changes nothing.

Wrong inputs that the service's own code makes are a 500, and a client's wrong inputs are a 400.
"""

import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.base.errors import QueueFull, StartError
from serving.service.service import Answer, watch
from serving.telemetry.metrics import Metrics
from tests import small_models
from tests.running import Running, make_service, post_json, running
from tests.serving.echo_service import PING, PONG, Client
from tests.serving.web.test_app import logged
from tests.waiting import until

CLASSIFIER = """
import numpy as np

from serving.service.request import Request
from serving.service.service import Service, route


class Classifier(Service):
    def preprocess(self, request: Request):
        row = [request.value("width", float), request.value("height", float)]
        return {"X": np.array([[*row, 0, 0]], np.float32)}

    def postprocess(self, outputs, request: Request):
        label = outputs["label"][0]
        return {"label": label, "score": outputs["probabilities"][0, label], "scores": dict(zip(outputs["label"], "a"))}

    @route("/number")
    def number(self, request: Request):
        return [{"number": 1j}]
"""
LINE, PATH = 1 + CLASSIFIER.splitlines().index('    @route("/number")'), "results[0].number"


def failure(service: Running, request_id: str) -> dict[str, Any]:
    return logged(service, lambda line: line.get("request_id") == request_id and line["level"] == "error")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("own") / "small", 'model_path = "model/classifier.onnx"', CLASSIFIER)
    small_models.classifier(folder / "model/classifier.onnx", zipmap=False)
    with running(folder) as it:
        yield it


def test_own_code_may_answer_with_the_numbers_that_a_model_gave(classifier: Running) -> None:
    status, answer = post_json(classifier.url + "/api/small", {"width": 0.25, "height": 0})
    assert status == 200, answer
    assert answer["results"]["label"] == 2
    assert answer["results"]["score"] == pytest.approx(0.665, abs=0.001)
    assert answer["results"]["scores"] == {"2": "a"}


def test_predict_answers_label_and_probabilities_row_by_row(classifier: Running) -> None:
    status, answer = post_json(classifier.url + "/v1/models/small:predict", {"instances": [[1, 0, 0, 0], [-0.25, 0, 0, 0]]})
    assert status == 200, answer
    assert [each["label"] for each in answer["predictions"]] == [2, 0]
    assert answer["predictions"][1]["probabilities"] == pytest.approx([0.665, 0.245, 0.09], abs=0.001)


def test_an_answer_that_json_cannot_hold_is_a_500_and_the_log_names_its_path_and_its_line(
    classifier: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    status, answer = post_json(classifier.url + "/number", {})
    assert (status, answer["reason"]) == (500, "service_failed")
    # The message of a service's own test names the cause.
    words = f"{PATH}: JSON cannot hold a value of type complex (server.py, line {LINE}, number)"
    assert words in capsys.readouterr().out
    line = failure(classifier, answer["request_id"])
    assert words in line["message"]
    assert "traceback" not in line


ANSWERS = """
from serving.api import Answer, Request, Service

class Bad(Service):
    def handle(self, request: Request) -> Answer:
        return Answer(*eval(request.value("answer", str)))
"""
WRONG_ANSWERS = {  # as a service's code writes the arguments
    "text": '("PNG", "image/png")',
    "a view, whose length need not be bytes": '(memoryview(b"PNG"), "image/png")',
    "no content type": '(b"PNG", None)',
    "a header of its own": '(b"PNG", "image/png\\r\\nSet-Cookie: a=b")',
    "a body of its own": '(b"PNG", "image/png\\r\\n\\r\\n<script>")',
    "not Latin-1": '(b"PNG", "image/€")',
    "an interim status": '(b"PNG", "image/png", 100)',
    "no status": '(b"PNG", "image/png", 7)',
    "a status of five digits": '(b"PNG", "image/png", 99999)',
    "a status in words": '(b"PNG", "image/png", "200")',
    "a status that is True": '(b"PNG", "image/png", True)',
}


@pytest.mark.parametrize("arguments", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_what_http_cannot_send_is_refused_with_its_value(arguments: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^Answer: the .* is .*must be "):
        Answer(*eval(arguments))


def test_what_http_can_send_is_taken() -> None:
    assert Answer(b"", "text/plain; charset=utf-8").status == 200
    array: Any = bytearray(b"PNG")
    assert Answer(array, "image/png", 404).body == b"PNG"


def test_wrong_answers_are_a_500_each_and_the_connection_and_the_metrics_stay_good(tmp_path: Path) -> None:
    with running(make_service(tmp_path / "small", "", ANSWERS)) as service, Client(service.port) as client:
        for arguments in WRONG_ANSWERS.values():
            body = json.dumps({"answer": arguments}).encode()
            fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.send(b"POST /api/small HTTP/1.1\r\n" + fields.encode() + body)
            found = client.answer()
            assert (found.status, found.headers["content-type"]) == (500, "application/json"), found
        client.send(PING)
        pong = client.answer()
        assert pong.body == PONG
        counted = 'monopod_requests_total{code="500",reason="service_failed",route="service"}'
        assert service.metric(counted) == len(WRONG_ANSWERS)


def is_last(items: list[str], text: str) -> bool:
    return items[-1] == text


def replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("one")
    return path


def test_a_file_is_loaded_at_once_and_after_every_change(file: Path) -> None:
    seen: list[str] = []
    watch(file, lambda: seen.append(file.read_text()), Metrics(), 0.02)
    assert seen == ["one"]
    for text in ("two", "six"):  # as long as the text before, since any other file counts as changed
        replace(file, text)
        until(partial(is_last, seen, text))
    time.sleep(0.1)
    assert seen == ["one", "two", "six"]


def test_a_failed_reload_is_counted_and_the_next_change_is_still_seen(file: Path) -> None:
    numbers: list[int] = []
    metrics = Metrics()
    replace(file, "1")
    watch(file, lambda: numbers.append(int(file.read_text())), metrics, 0.02)
    replace(file, "no number")
    until(lambda: "monopod_reload_failures_total 1.0" in metrics.page().decode())
    file.unlink()
    until(lambda: "monopod_reload_failures_total 2.0" in metrics.page().decode())
    replace(file, "2")
    until(lambda: numbers == [1, 2])
    until(lambda: "monopod_reloads_total 1.0" in metrics.page().decode())


def test_a_failed_reload_is_seen_for_as_long_as_the_file_is_wrong(file: Path) -> None:
    metrics = Metrics()
    replace(file, "1")
    numbers: list[float] = []
    watch(file, lambda: numbers.append(float(file.read_text())), metrics, 0.02)
    replace(file, "no number")
    until(lambda: 'monopod_reload_failed{file="corpus.txt"} 1.0' in metrics.page().decode())
    replace(file, "2")
    until(lambda: 'monopod_reload_failed{file="corpus.txt"} 0.0' in metrics.page().decode())


def test_only_an_unexpected_error_is_logged_with_a_traceback(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    errors = iter([None, StartError("corpus.txt holds no sentence"), KeyError("odd"), None])

    def load() -> None:
        if error := next(errors):
            raise error

    watch(file, load, Metrics(), 0.02)
    replace(file, "two")
    until(lambda: len(caplog.records) == 1)
    replace(file, "three")
    until(lambda: len(caplog.records) == 2)
    assert "has: corpus.txt holds no sentence" in caplog.messages[0]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_the_error_of_the_first_load_is_raised(file: Path) -> None:
    def load() -> None:
        raise ValueError("empty")

    with pytest.raises(ValueError, match="empty"):
        watch(file, load, Metrics(), 0.02)


def test_a_service_that_is_too_busy_to_reload_tries_again_without_another_change(file: Path) -> None:
    tries: list[str] = []

    def load() -> None:
        tries.append(file.read_text())
        if len(tries) == 2:
            raise QueueFull("the queue is full")

    metrics = Metrics()
    watch(file, load, metrics, 0.02)
    replace(file, "two")
    until(lambda: "monopod_reloads_total 1.0" in metrics.page().decode())
    assert tries == ["one", "two", "two"]
    assert "monopod_reload_failures_total 0.0" in metrics.page().decode()


CALLS = """
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
LINES = CALLS.splitlines()
OWN = 1 + next(at for at, line in enumerate(LINES) if "self.model(given" in line)
PREPROCESS = 1 + next(at for at, line in enumerate(LINES) if "def preprocess" in line)
WRAP = 1 + next(at for at, line in enumerate(LINES) if 'arrays["x"][0]' in line)
WRONG_CALLS = {
    "unknown": "model small has no input 'y'; its inputs are x",
    "missing": "input 'x' of model small is missing",
    "dtype": "must be FP32, an array of float32, not of float64",
    "rank": "must have shape [-1, 2] (-1 is any size), not [2]",
    "none": "the inputs of model small must be a dict of arrays by input name, such as {'x': array}, not None; does a function",
    "lists": "input 'x' of model small must be an array of numpy, such as {'x': array}, not of type list",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("own") / "small", 'model_path = "model/same.onnx"', CALLS)
    small_models.identity(folder / "model/same.onnx")
    with running(folder) as it:
        yield it


@pytest.mark.parametrize("how", WRONG_CALLS)
@pytest.mark.parametrize(("path", "place"), [("/own", OWN), ("/api/small", PREPROCESS)])
def test_a_call_that_own_code_makes_wrongly_is_a_500_and_the_log_names_its_line(
    service: Running, path: str, place: int, how: str
) -> None:
    before = service.metric('monopod_requests_total{code="500",reason="service_failed",route="service"}')
    status, answer = post_json(service.url + path, {"how": how, "row": [1, 2]})
    assert (status, answer["reason"]) == (500, "service_failed")
    assert WRONG_CALLS[how] not in answer["error"]
    told = failure(service, answer["request_id"])["message"]
    assert f"server.py, line {place}" in told
    assert WRONG_CALLS[how] in told
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
