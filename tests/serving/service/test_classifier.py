"""A classifier as skl2onnx writes one, with named fields and code of its own, over the real server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests import small_models
from tests.running import Running, make_service, post_json, running
from tests.waiting import until

SERVER = """
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
LINE, PATH = 1 + SERVER.splitlines().index('    @route("/number")'), "results[0].number"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(tmp_path_factory.mktemp("own") / "small", 'model_path = "model/classifier.onnx"', SERVER)
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


def failure(service: Running, request_id: str) -> dict[str, Any]:
    """Return the one line that the log has of a request as an error, which may come a moment after its answer."""

    def found() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line.get("request_id") == request_id and line["level"] == "error"]

    until(lambda: bool(found()))
    (line,) = found()
    return line
