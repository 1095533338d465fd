"""A src/server.py may have models of its own by name, functions as models, and checks at the start."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.running import ROOT, Running, get, launch, post_json, running

SERVICES = ROOT / "tests/services"
ASTRONAUT = ROOT / "examples/images/astronaut.jpg"


@pytest.fixture(scope="module")
def faces() -> Iterator[Running]:
    with running(ROOT / "examples/face-embedding") as service:
        yield service


@pytest.fixture(scope="module")
def search() -> Iterator[Running]:
    with running(SERVICES / "search") as service:
        yield service


def test_each_of_the_models_answers_by_its_name_too(faces: Running) -> None:
    chip = np.zeros((1, 48, 48, 3)).tolist()
    status, answer = post_json(faces.url + "/api/face-embedding/v1/models/onet:predict", {"instances": chip})
    assert status == 200
    assert set(answer["predictions"][0]) == {"dense_5", "dense_6", "softmax_2"}


def test_sizes_that_a_model_leaves_open_and_cannot_take_are_a_400(faces: Running) -> None:
    codes = []
    for width, height in ((1, 1), (12, 12), (5, 5), (33, 47)):
        tensor = {"name": "input_1", "datatype": "FP32", "shape": [1, width, height, 3], "data": [0] * width * height * 3}
        codes.append(post_json(faces.url + "/v2/models/pnet/infer", {"inputs": [tensor]})[0])
    assert codes == [400, 200, 400, 200]
    status, answer = get(faces.url + "/api/face-embedding", ASTRONAUT.read_bytes(), {"Content-Type": "image/jpeg"})
    assert (status, len(json.loads(answer)["results"]["faces"])) == (200, 1)


def test_questions_are_answered_alone_and_together(search: Running) -> None:
    _, one = post_json(search.url + "/api/search/query", {"question": "What happens when a pod needs too much memory?"})
    assert one["results"][0]["text"].startswith("The pod is killed")
    questions = ["how is espresso brewed", "What happens when a pod needs too much memory?", "trains to the coast"]
    _, all_three = post_json(search.url + "/api/like/search/query/batch", {"questions": questions})
    assert [found[0]["text"].split()[0] for found in all_three["results"]] == ["Espresso", "The", "The"]
    assert all_three["results"][1] == one["results"]
    assert search.metric('search_questions_total{route="batch"}') == 3
    assert search.metric("search_index_sentences") == 10


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "has no questions; send an array"),
    ({"questions": "a"}, "questions is 'a'; it must be an array"),
]
WRONG += [
    ({"questions": ["a", 1]}, "questions[1] is a number; it must be a text"),
    ({"questions": [""]}, "a question is empty"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_wrong_questions_are_refused_in_words(search: Running, call: dict[str, Any], words: str) -> None:
    status, answer = post_json(search.url + "/query/batch", call)
    assert (status, answer["reason"]) == (400, "bad_input")
    assert words in answer["error"]


def test_too_many_questions_are_a_413_and_none_are_a_400(search: Running) -> None:
    assert post_json(search.url + "/query/batch", {"questions": ["a"] * 65})[0] == 413
    assert post_json(search.url + "/query/batch", {"questions": []})[0] == 400


def test_a_model_that_is_no_onnx_file_speaks_the_protocols(search: Running) -> None:
    status, answer = post_json(search.url + "/v1/models/search:predict", {"instances": ["cats sleep", "flour and salt"]})
    assert status == 200
    assert [row["places"][0] for row in answer["predictions"]] == [2, 8]
    assert post_json(search.url + "/api/search", {"data": ["cats sleep"]})[1]["results"]["places"][0][0] == 2


def test_a_check_of_the_services_own_ends_the_start_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    shutil.copytree(SERVICES / "search", folder)
    (folder / "model/corpus.txt").write_text("one sentence\n")
    service = launch(folder)
    assert service.process.wait(30) == 1
    text = service.log.read_text()
    service.log.unlink()
    assert f"{folder}/model/corpus.txt: holds 1 sentences" in text
    assert "Traceback" not in text
