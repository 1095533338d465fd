"""Three real services, each on the parts of src/server.py's contract that it needs."""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from tests.running import ROOT, Running, get, launch, post_json, running

SERVICES = ROOT / "tests/services"
IMAGES = ROOT / "examples/images"


@pytest.fixture(scope="module")
def faces() -> Iterator[Running]:
    with running(SERVICES / "faces") as service:
        yield service


@pytest.fixture(scope="module")
def search() -> Iterator[Running]:
    with running(SERVICES / "search") as service:
        yield service


def send(service: Running, path: str, picture: bytes, **fields: str) -> tuple[int, bytes]:
    """Post a form with a picture and texts."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode() for name, text in fields.items()
    ]
    parts.append(b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture + b"\r\n--b--\r\n")
    return get(service.url + path, b"".join(parts), {"Content-Type": "multipart/form-data; boundary=b"})


def results(answer: tuple[int, bytes]) -> Any:
    assert answer[0] == 200, answer[1]
    return json.loads(answer[1])["results"]


def jpeg(picture: Image.Image) -> bytes:
    out = BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()


def photo(name: str) -> Image.Image:
    return Image.open(IMAGES / name).convert("RGB")


def metric(service: Running, line: str) -> float:
    """Return the value of a metric: name and labels as they stand on the page."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", service.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_one_face_is_found_on_the_astronaut_and_embedded(faces: Running) -> None:
    (face,) = results(send(faces, "/api/faces", (IMAGES / "astronaut.jpg").read_bytes()))
    left, top, right, bottom = face["box"]
    assert 150 < left < 200 < 250 < right < 300
    assert 40 < top < 90 < 170 < bottom < 240
    assert face["score"] > 0.95
    assert len(face["embedding"]) == 128
    assert metric(faces, "faces_found_total") >= 1


@pytest.mark.parametrize("name", ["coffee.jpg", "chelsea.jpg"])
def test_no_face_is_a_400_with_the_services_own_words(faces: Running, name: str) -> None:
    status, body = send(faces, "/api/faces", (IMAGES / name).read_bytes())
    answer = json.loads(body)
    assert (status, answer["error"], answer["reason"]) == (400, "no face found", "bad_input")


def test_the_same_face_seen_otherwise_is_near(faces: Running) -> None:
    whole = photo("astronaut.jpg")
    views = [whole, ImageOps.mirror(whole), whole.crop((80, 0, 400, 320)), whole.filter(ImageFilter.GaussianBlur(1))]
    vectors = [np.array(results(send(faces, "/api/faces", jpeg(view)))[0]["embedding"]) for view in views]
    assert max(np.linalg.norm(vectors[0] - vector) for vector in vectors) < 0.5


def test_faces_of_one_photo_are_rows_of_one_batch(faces: Running) -> None:
    one = photo("astronaut.jpg").crop((100, 0, 356, 256))
    both = Image.new("RGB", (512, 256))
    both.paste(one, (0, 0))
    both.paste(ImageOps.mirror(one), (256, 0))
    batches = metric(faces, 'monopod_batch_rows_count{model="faces"}')
    found = results(send(faces, "/api/faces", jpeg(both)))
    assert len(found) == 2
    assert metric(faces, 'monopod_batch_rows_count{model="faces"}') == batches + 1


def test_faces_of_several_requests_share_batches(faces: Running) -> None:
    picture = jpeg(photo("astronaut.jpg").crop((130, 30, 330, 230)))
    batches, rows = (metric(faces, f'monopod_batch_rows_{part}{{model="faces"}}') for part in ("count", "sum"))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: results(send(faces, "/api/faces", picture)), range(24)))
    assert all(answer[0]["embedding"] == pytest.approx(answers[0][0]["embedding"], abs=1e-4) for answer in answers)
    assert metric(faces, 'monopod_batch_rows_sum{model="faces"}') == rows + 24
    assert metric(faces, 'monopod_batch_rows_count{model="faces"}') < batches + 24


def test_each_of_the_models_answers_by_its_name_too(faces: Running) -> None:
    chip = np.zeros((1, 48, 48, 3)).tolist()
    status, answer = post_json(faces.url + "/api/faces/v1/models/onet:predict", {"instances": chip})
    assert status == 200
    assert set(answer["predictions"][0]) == {"dense_5", "dense_6", "softmax_2"}


def test_sizes_that_a_model_leaves_open_and_cannot_take_are_a_400(faces: Running) -> None:
    codes = []
    for width, height in ((1, 1), (12, 12), (5, 5), (33, 47)):
        tensor = {"name": "input_1", "datatype": "FP32", "shape": [1, width, height, 3], "data": [0] * width * height * 3}
        codes.append(post_json(faces.url + "/v2/models/pnet/infer", {"inputs": [tensor]})[0])
    assert codes == [400, 200, 400, 200]
    assert len(results(send(faces, "/api/faces", (IMAGES / "astronaut.jpg").read_bytes()))) == 1


def nuclei() -> bytes:
    """Bright discs on dark ground."""
    picture = Image.new("L", (256, 256), 20)
    draw = ImageDraw.Draw(picture)
    for x in range(40, 250, 60):
        for y in range(40, 250, 60):
            draw.ellipse((x - 12, y - 12, x + 12, y + 12), fill=180)
    return jpeg(picture.filter(ImageFilter.GaussianBlur(2)))


def loaded(service: Running) -> set[str]:
    return set(re.findall(r'monopod_model_info{[^}]*model="(\w+)"', service.metrics()))


def test_a_material_is_loaded_on_first_use_and_the_other_gives_way() -> None:
    coffee = (IMAGES / "coffee.jpg").read_bytes()
    with running(SERVICES / "masks") as masks:
        assert loaded(masks) == set()
        share = results(send(masks, "/api/masks/detect", nuclei(), material="nuclei"))["share"]
        assert 0.03 < share < 0.3
        assert loaded(masks) == {"nuclei"}
        found = results(send(masks, "/detect", coffee, material="objects"))
        assert 0.1 < found["share"] < 0.9
        assert loaded(masks) == {"objects"}
        assert results(send(masks, "/detect", nuclei(), material="nuclei"))["share"] == pytest.approx(share)
        assert loaded(masks) == {"nuclei"}
        assert sum("a model was unloaded" in line["message"] for line in masks.lines()) == 2
        status, body = send(masks, "/detect?as=png", coffee, material="objects")
        assert (status, Image.open(BytesIO(body)).size) == (200, (320, 320))
        status, body = send(masks, "/detect", coffee, material="gold")
        assert (status, json.loads(body)["error"]) == (400, "no material 'gold'; it may be nuclei or objects")


def test_requests_of_more_models_than_memory_holds_wait_for_room() -> None:
    pictures = {"nuclei": nuclei(), "objects": (IMAGES / "coffee.jpg").read_bytes()}
    with running(SERVICES / "masks") as masks, ThreadPoolExecutor(4) as pool:
        asked = ["nuclei", "objects"] * 4
        found = list(pool.map(lambda material: results(send(masks, "/detect", pictures[material], material=material)), asked))
        assert [answer["material"] for answer in found] == asked
        assert len(loaded(masks)) == 1


def test_within_their_memory_models_stay_loaded_and_requests_do_not_disturb_each_other() -> None:
    pictures = {"nuclei": nuclei(), "objects": (IMAGES / "coffee.jpg").read_bytes()}
    with running(SERVICES / "masks", {"MONOPOD_REGIONS": "hk", "MONOPOD_REGION": "hk"}) as masks, ThreadPoolExecutor(4) as pool:
        asked = ["nuclei", "objects"] * 4
        found = list(pool.map(lambda material: results(send(masks, "/detect", pictures[material], material=material)), asked))
        assert [answer["material"] for answer in found] == asked
        assert loaded(masks) == {"nuclei", "objects"}


def test_questions_are_answered_alone_and_together(search: Running) -> None:
    _, one = post_json(search.url + "/api/search/query", {"question": "What happens when a pod needs too much memory?"})
    assert one["results"][0]["text"].startswith("The pod is killed")
    questions = ["how is espresso brewed", "What happens when a pod needs too much memory?", "trains to the coast"]
    _, all_three = post_json(search.url + "/api/like/search/query/batch", {"questions": questions})
    assert [found[0]["text"].split()[0] for found in all_three["results"]] == ["Espresso", "The", "The"]
    assert all_three["results"][1] == one["results"]
    assert metric(search, 'search_questions_total{route="batch"}') == 3
    assert metric(search, "search_index_sentences") == 10


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "has no questions; send an array"),
    ({"questions": "a"}, "questions is 'a'; it must be an array"),
]
WRONG += [
    ({"questions": ["a", 1]}, "questions[1] is a number; it must be a text"),
    ({"questions": [""]}, "a question is empty"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_questions_that_are_none_are_told(search: Running, call: dict[str, Any], words: str) -> None:
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
    assert f"{folder}/model/corpus.txt: holds 1 sentences, must hold 3 or more, one a line" in text
    assert "Traceback" not in text
