"""The service over sockets: the faces that it finds and tells apart, its answers, and its limits."""

import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parent))

from asking import API, EXAMPLE, IMAGES, embed, file, jpeg, photo, post, vector

from serving.api import Array
from tests.browser import browser, console_errors, drop
from tests.running import Running, get, launch, running


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(EXAMPLE) as it:
        yield it


def test_the_astronaut_has_one_face_where_it_is(service: Running) -> None:
    results = embed(service, file("astronaut.jpg"))
    (face,) = results["faces"]
    left, top, right, bottom = face["box"]
    assert 150 < left < 200 < 250 < right < 300
    assert 40 < top < 90 < 150 < bottom < 200
    (x, y), (x2, _), (_, nose), *_ = face["landmarks"]
    assert left < x < x2 < right
    assert top < y < nose < bottom
    assert face["score"] > 0.95
    assert face["quality"] > 0.8
    assert len(face["embedding"]) == 128
    assert {key: results[key] for key in ("found", "left_out", "width", "height")} == {
        "found": 1,
        "left_out": 0,
        "width": 512,
        "height": 512,
    }


def test_the_services_own_route_says_the_same(service: Running) -> None:
    headers = {"Content-Type": "image/jpeg"}
    answers = [
        get(service.url + path, file("astronaut.jpg"), headers) for path in (API, "/api/like/face-embedding", API + "/embed")
    ]
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == 1


@pytest.mark.parametrize("name", ["coffee.jpg", "chelsea.jpg", "rocket.jpg", "coins.png", "china.jpg", "flower.jpg"])
def test_a_photo_without_a_face_is_an_answer_without_faces(service: Running, name: str) -> None:
    assert embed(service, file(name))["faces"] == []


def test_views_of_one_face_are_near_each_other(service: Running) -> None:
    whole = photo()
    views = {
        "as it is": jpeg(whole, 95),
        "mirrored": jpeg(ImageOps.mirror(whole)),
        "blurred": jpeg(whole.filter(ImageFilter.GaussianBlur(1.5))),
        "cropped": jpeg(whole.crop((100, 20, 400, 320))),
        "quality 60": jpeg(whole, 60),
        "half as large": jpeg(whole.resize((256, 256), Image.Resampling.LANCZOS)),
        "leaned": jpeg(whole.rotate(20, Image.Resampling.BICUBIC)),
    }
    vectors = np.array([vector(service, view) for view in views.values()])
    assert np.linalg.norm(vectors[:, None] - vectors, axis=2).max() < 0.4  # 0.33 was seen


def test_a_hundred_people_are_far_from_each_other(service: Running) -> None:
    """Each photo has 25 pixels a side, is enlarged to 160, and is surrounded by its mirror images."""
    tiles = np.asarray(photo("faces.png").convert("L")).reshape(10, 25, 10, 25).swapaxes(1, 2).reshape(100, 25, 25)

    def one(tile: Array) -> Any:
        large = np.asarray(Image.fromarray(tile).resize((160, 160), Image.Resampling.BICUBIC))
        faces = embed(service, jpeg(Image.fromarray(np.pad(large, 30, mode="reflect"))))["faces"]
        return faces[0]["embedding"] if faces else None

    with ThreadPoolExecutor(8) as pool:
        found = [each for each in pool.map(one, tiles) if each is not None]
    vectors = np.array(found)
    assert len(vectors) >= 98  # all 100 were seen
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)[np.triu_indices(len(vectors), 1)]
    assert np.median(distances) > 0.69  # 0.71 was seen; the nearest two, 0.40, look like one person
    assert (distances < 0.5).mean() < 0.006  # 0.4 % was seen
    to_astronaut = np.linalg.norm(vectors - vector(service, file("astronaut.jpg")), axis=1)
    assert to_astronaut.min() > 0.58  # 0.61 was seen
    assert np.median(to_astronaut) > 0.76  # 0.79 was seen


def test_blur_and_smallness_lower_the_quality(service: Running) -> None:
    whole = photo()
    changed = [whole, whole.filter(ImageFilter.GaussianBlur(2)), whole.resize((256, 256), Image.Resampling.LANCZOS)]
    sharp, blurred, small = (embed(service, jpeg(each, 95))["faces"][0]["quality"] for each in changed)
    assert blurred < sharp - 0.15
    assert small < sharp - 0.1


def test_a_face_far_below_the_smallest_is_not_looked_for(service: Running) -> None:
    tiny = photo().resize((64, 64), Image.Resampling.LANCZOS)  # its face: 11 x 14 pixels
    assert embed(service, jpeg(tiny, 95))["faces"] == []


def large(orientation: int) -> bytes:
    """Return a photo of 3600 x 2400 pixels, three times the astronaut at (600, 300), stored as a camera held so stores it."""
    wide = Image.new("RGB", (3600, 2400), "gray")
    wide.paste(photo().resize((1536, 1536)), (600, 300))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(wide.rotate({1: 0, 3: 180, 6: 90, 8: 270}[orientation], expand=True), exif=exif)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_are_in_upright_pixels_of_the_photo_as_it_was_sent(service: Running, orientation: int) -> None:
    results = embed(service, large(orientation))
    assert (results["width"], results["height"]) == (3600, 2400)
    (face,) = results["faces"]
    wanted = embed(service, file("astronaut.jpg"))["faces"][0]
    assert np.array(face["box"]) == pytest.approx(np.array(wanted["box"]) * 3 + [600, 300, 600, 300], abs=25)
    assert np.array(face["landmarks"]) == pytest.approx(np.array(wanted["landmarks"]) * 3 + [600, 300], abs=15)


def test_the_page_draws_the_box_on_the_face_of_a_large_turned_photo(service: Running, tmp_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(large(6))
    with browser() as chromium:
        page = chromium.new_page()
        errors = console_errors(page)
        page.goto(service.url)
        page.locator("#routes").select_option(label="/compare Whether the largest faces of two photos are one person's.")
        drop(page, IMAGES / "astronaut.jpg", "image/jpeg")
        drop(page, turned, "image/jpeg")
        expect(page.locator("#pictures circle")).to_have_count(10)
        expect(page.locator("#pictures svg").nth(1)).to_have_attribute("viewBox", "0 0 3600 2400")
        drawn = [it.get_attribute("points") or "" for it in page.locator("#pictures polygon").all()]
        expect(page.locator("#bars li").first).to_contain_text("same person")
        assert errors == []
    small, wide = ([float(number) for number in re.split("[, ]", points)] for points in drawn)
    assert wide == pytest.approx(np.array(small) * 3 + [600, 300] * 4, abs=25)


def test_of_a_crowd_the_best_are_kept_and_it_is_said(service: Running) -> None:
    crowd = photo("faces.png").crop((0, 0, 250, 200)).resize((1250, 1000), Image.Resampling.BICUBIC)  # 80 people
    results = embed(service, jpeg(crowd))
    assert len(results["faces"]) == 64
    assert results["left_out"] == results["found"] - 64 > 0
    scores = [face["score"] for face in results["faces"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (6000, 9), (12, 12), (30, 7)])
def test_photos_of_any_shape_are_answered(service: Running, size: tuple[int, int]) -> None:
    assert embed(service, jpeg(Image.effect_noise(size, 90)))["faces"] == []


def test_noise_that_proposes_thousands_of_boxes_is_answered(service: Running) -> None:
    random = np.random.default_rng(1)
    small = Image.fromarray(random.integers(0, 255, (256, 256, 3), np.uint8))
    status, _ = post(service, "/embed", jpeg(small.resize((2048, 2048), Image.Resampling.NEAREST)))
    assert status == 200


def test_one_person_in_two_photos_is_the_same_and_another_is_not(service: Running) -> None:
    other = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(other).rectangle((0, 0, 400, 20), "black")
    other.paste(photo("faces.png").crop((0, 0, 25, 25)).resize((200, 200), Image.Resampling.BICUBIC), (100, 100))
    mirrored = jpeg(ImageOps.mirror(photo()))
    status, answer = post(service, "/compare", file("astronaut.jpg"), mirrored)
    assert status == 200
    results = answer["results"]
    assert (results["same"], results["label"]) == (True, "same person by likeness")
    assert results["score"] == pytest.approx(1 - results["distance"], abs=1e-3)
    assert results["distance"] == pytest.approx(
        np.linalg.norm(vector(service, file("astronaut.jpg")) - vector(service, mirrored)), abs=1e-3
    )
    assert [face["label"] for face in results["faces"]] == ["first photo, its face", "second photo, its face"]
    status, answer = post(service, "/compare", file("astronaut.jpg"), jpeg(other))
    assert status == 200
    assert [answer["results"][key] for key in ("same", "label", "threshold")] == [False, "two persons by likeness", 0.5]
    assert answer["results"]["distance"] > 0.55


def test_of_several_faces_the_largest_is_compared_and_it_is_said(service: Running) -> None:
    two = photo().resize((1024, 1024))
    two.paste(photo("faces.png").crop((0, 0, 25, 25)).resize((120, 120), Image.Resampling.BICUBIC), (40, 40))
    status, answer = post(service, "/compare", jpeg(two), file("astronaut.jpg"))
    assert status == 200
    first = answer["results"]["faces"][0]
    assert first["label"] == "first photo, the largest of 2 faces"
    assert first["box"][2] - first["box"][0] > 130
    assert answer["results"]["same"] is True


def test_comparing_without_a_face_is_a_400_that_names_the_photo(service: Running) -> None:
    for pair, name in (("coffee.jpg", "astronaut.jpg"), "first"), (("astronaut.jpg", "coffee.jpg"), "second"):
        status, answer = post(service, "/compare", *map(file, pair))
        assert (status, answer["error"]) == (400, f"no face found in the {name} photo; send two photos that show a face each")


def test_comparing_a_broken_photo_is_a_400_that_names_it(service: Running) -> None:
    status, answer = post(service, "/compare", file("astronaut.jpg"), file("coffee.jpg")[:5000])
    assert status == 400
    assert answer["error"].startswith("the second photo: the JPEG picture is truncated")


@pytest.mark.parametrize("count", [1, 3])
def test_comparing_takes_two_photos(service: Running, count: int) -> None:
    status, answer = post(service, "/compare", *[file("astronaut.jpg")] * count)
    assert status == 400
    assert answer["error"].startswith(f"the request holds {count} pictures and must hold 2")


@pytest.mark.parametrize(
    ("picture", "words"),
    [(b"", "empty"), (b"no photo", "not a picture"), (file("astronaut.jpg")[:9000], "truncated")],
    ids=["empty", "text", "cut"],
)
def test_what_is_no_photo_is_the_clients_400(service: Running, picture: bytes, words: str) -> None:
    status, answer = post(service, "/embed", picture)
    assert (status, answer["reason"]) == (400, "bad_input")
    assert words in answer["error"]


def test_no_photo_at_all_and_two_of_them_are_a_400(service: Running) -> None:
    assert get(service.url + API + "/embed", b"{}", {"Content-Type": "application/json"})[0] == 400
    assert post(service, "/embed", file("astronaut.jpg"), file("coffee.jpg"))[0] == 400


def test_a_photo_over_max_image_pixels_is_a_413(service: Running) -> None:
    out = BytesIO()
    Image.new("L", (6001, 4000)).save(out, "PNG")
    status, answer = post(service, "/embed", out.getvalue())
    assert status == 413
    assert "24000000" in answer["error"]


def test_a_broken_model_file_ends_the_start_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "model/onet.onnx").write_bytes((EXAMPLE / "model/onet.onnx").read_bytes()[:100_000])
    service = launch(folder)
    assert service.process.wait(60) == 1
    said = service.log.read_text()
    service.log.unlink()
    assert "onet.onnx: not loaded as an ONNX model" in said
    assert "Traceback" not in said
