"""The service's answers and refusals over sockets, with real models, real pictures, and customers' own models."""

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parent))

import shapes

from serving.api import Array
from tests import waiting
from tests.running import ROOT, Running, get, post_form, post_json, running

until = partial(waiting.until, seconds=10)

EXAMPLE, IMAGES = ROOT / "examples/instance-masks", ROOT / "examples/images"
OWN = "/api/like/instance-masks"
NUCLEI = (IMAGES / "nuclei.png").read_bytes()

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The example with two customers. acme's nuclei model is a copy of the common one; wrong's is of another kind."""
    folder = tmp_path_factory.mktemp("masks") / "service"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for customer, file in (("acme", "unet.onnx"), ("wrong", "u2netp-dyn.onnx")):
        (folder / "model/customers" / customer).mkdir(parents=True)
        shutil.copy(folder / "model" / file, folder / "model/customers" / customer / "nuclei.onnx")
    with running(folder) as it:
        yield it


def ask(service: Running, picture: bytes, route: str = OWN + "/detect", **fields: str) -> tuple[int, Any]:
    status, body = get(f"{service.url}{route}?{urlencode(fields)}", picture, {"Content-Type": "application/octet-stream"})
    return status, json.loads(body)


def found(service: Running, picture: bytes, **fields: str) -> dict[str, Any]:
    status, answer = ask(service, picture, **fields)
    assert status == 200, answer
    results: dict[str, Any] = answer["results"]
    return results


def refused(service: Running, picture: bytes, **fields: str) -> str:
    status, answer = ask(service, picture, **fields)
    assert (status, answer["reason"]) == (400, "bad_input")
    words: str = answer["error"]
    return words


def encoded(pixels: Array, kind: str = "PNG", **more: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **more)
    return out.getvalue()


def test_the_platforms_own_route_does_the_same(service: Running) -> None:
    detected = ask(service, NUCLEI, material="nuclei")
    assert detected == ask(service, NUCLEI, OWN, material="nuclei")
    results = detected[1]["results"]
    assert (results["material"], results["model"]) == ("nuclei", "unet")
    assert (results["width"], results["height"]) == (512, 512)
    assert len(results["instances"]) > 100


def test_fields_come_in_json_in_a_form_and_in_the_url(service: Running) -> None:
    wanted = found(service, NUCLEI, material="nuclei", masks="rle")
    body = {"image": base64.b64encode(NUCLEI).decode(), "material": "nuclei", "masks": "rle"}
    assert post_json(service.url + OWN + "/detect", body)[1]["results"] == wanted
    status, answer = post_form(service.url + OWN, ("image", NUCLEI), ("material", "nuclei"), ("masks", "rle"))
    assert (status, answer["results"]) == (200, wanted)


def test_without_a_material_the_default_is_looked_for(service: Running) -> None:
    results = found(service, (IMAGES / "coffee.jpg").read_bytes())
    assert (results["material"], results["model"]) == ("objects", "u2netp-dyn")
    (cup,) = results["instances"]
    assert cup["label"] == "object"
    assert 0.9 < cup["score"] <= 1
    left, top, right, bottom = cup["box"]
    assert 60 < left < 100 < 380 < right < 520
    assert 0 <= top < 30
    assert 380 < bottom <= 400


def test_polygon_run_lengths_box_and_area_say_the_same_of_every_instance(service: Running) -> None:
    outlined = found(service, NUCLEI, material="nuclei", masks="polygon")["instances"]
    masked = found(service, NUCLEI, material="nuclei", masks="rle")["instances"]
    assert len(outlined) == len(masked)
    scores = [each["score"] for each in outlined]
    assert scores == sorted(scores, reverse=True)
    for a, b in zip(outlined, masked, strict=True):
        assert [a[k] for k in ("label", "score", "area", "box")] == [b[k] for k in ("label", "score", "area", "box")]
        rle = coco.frPyObjects(b["rle"], 512, 512)
        assert coco.area(rle) == a["area"] >= 20
        left, top, wide, high = coco.toBbox(rle)
        assert a["box"] == [left, top, left + wide, top + high]
        drawn = coco.merge(coco.frPyObjects([np.ravel(ring).tolist() for ring in a["polygon"]], 512, 512))
        assert coco.iou([drawn], [rle], [0])[0, 0] > (0.9 if a["area"] > 50 else 0.6)  # a sliver is mostly edge
    everything = np.sum([coco.decode(coco.frPyObjects(each["rle"], 512, 512)) for each in masked], 0)
    assert everything.max() == 1  # no pixel belongs to two things


def test_coordinates_are_the_sent_pictures_however_small_the_model_was_shown_it(service: Running) -> None:
    with Image.open(IMAGES / "coffee.jpg") as opened:
        large = np.asarray(opened.resize((2400, 1600), Image.Resampling.BICUBIC))
    wanted = found(service, (IMAGES / "coffee.jpg").read_bytes())["instances"][0]["box"]
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown after a quarter turn
    for body in (encoded(large), encoded(np.rot90(large), "JPEG", exif=turned)):
        results = found(service, body, masks="rle")
        assert (results["width"], results["height"]) == (2400, 1600)
        (cup,) = results["instances"]
        assert np.abs(np.array(cup["box"]) - np.array(wanted) * 4).max() < 40
        assert cup["rle"]["size"] == [1600, 2400]
    (cup,) = found(service, encoded(large, "JPEG"))["instances"]
    assert np.abs(np.array([*np.min(cup["polygon"][0], 0), *np.max(cup["polygon"][0], 0)]) - cup["box"]).max() < 10


def test_as_a_picture_the_outlines_are_drawn(service: Running) -> None:
    status, body = get(f"{service.url}{OWN}/detect?material=nuclei&as=picture", NUCLEI, {"Content-Type": "image/png"})
    assert (status, body[:4]) == (200, b"\x89PNG")
    drawn = np.asarray(Image.open(BytesIO(body)).convert("RGB")).astype(int)
    assert drawn.shape == (512, 512, 3)
    coloured = np.ptp(drawn, axis=2) > 60
    edges = np.zeros((512, 512), bool)
    for each in found(service, NUCLEI, material="nuclei", masks="rle")["instances"]:
        without = np.pad(coco.decode(coco.frPyObjects(each["rle"], 512, 512)) == 0, 1, constant_values=True)
        edges |= (~without & (shapes.grown(without.astype(np.int32), 1.5) > 0))[1:-1, 1:-1]
    near = shapes.grown(edges.astype(np.int32), 2.5) > 0
    assert coloured.sum() > 3000
    assert (coloured & ~near).sum() == 0
    assert (edges & (shapes.grown(coloured.astype(np.int32), 2.5) == 0)).sum() < 0.02 * edges.sum()  # holes have no outline


@pytest.mark.parametrize("material", ["nuclei", "objects"])
def test_a_picture_of_nothing_has_no_instances(service: Running, material: str) -> None:
    before = service.metric(f'instance_masks_empty_total{{material="{material}",model="common"}}')
    results = found(service, encoded(np.full((120, 160, 3), 90, np.uint8)), material=material)
    assert results["instances"] == []
    assert service.metric(f'instance_masks_empty_total{{material="{material}",model="common"}}') == before + 1
    url = f"{service.url}{OWN}/detect?material={material}&as=picture"
    assert get(url, encoded(np.zeros((9, 9), np.uint8)), {"Content-Type": "image/png"})[0] == 200


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (700, 3), (2, 3000)])
def test_the_smallest_and_the_longest_pictures_are_answered(service: Running, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (*size, 3)).astype(np.uint8)
    for masks in ("rle", "polygon"):
        assert found(service, encoded(noise), material="nuclei", masks=masks)["height"] == size[0]


def test_a_customers_own_model_answers_and_others_get_the_common_one(service: Running) -> None:
    own, common = (found(service, NUCLEI, material="nuclei", customer_id=name) for name in ("acme", "nobody"))
    assert (own["model"], common["model"]) == ("acme.nuclei", "unet")
    assert own["instances"] == common["instances"]
    assert 'monopod_model_info{instances="1",model="acme.nuclei"' in service.metrics()
    assert found(service, NUCLEI, customer_id="acme")["model"] == "u2netp-dyn"  # it has none for objects


def test_strange_customers_leave_no_series_behind(service: Running) -> None:
    def series() -> set[str]:
        return {line.rsplit(" ", 1)[0] for line in service.metrics().splitlines() if line[0] != "#"}

    small = encoded(np.zeros((20, 20), np.uint8))
    found(service, small, material="nuclei", customer_id="first")
    before = series()
    for number in range(20):
        found(service, small, material="nuclei", customer_id=f"c-{number}_X")
    assert series() == before


def test_a_customers_model_of_something_else_is_no_fault_of_the_client(service: Running) -> None:
    status, answer = ask(service, NUCLEI, material="nuclei", customer_id="wrong")
    assert (status, answer["reason"]) == (500, "service_failed")
    assert "u2net" not in answer["error"]
    until(lambda: "model wrong.nuclei does not take what it is shown" in service.log.read_text())
    assert found(service, NUCLEI, material="nuclei")["model"] == "unet"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"material": "gold"}, "no material 'gold'; it may be coins or nuclei or objects"),
        ({"material": ""}, "no material ''; it may be coins or nuclei or objects"),
        ({"customer_id": "../acme"}, "customer_id must be 1 to 64 letters, digits, - and _"),
        ({"customer_id": "x" * 65}, "customer_id must be 1 to 64 letters, digits, - and _"),
        ({"masks": "bitmap"}, "masks must be polygon or rle, not 'bitmap'"),
        ({"as": "pdf"}, "as must be json or picture, not 'pdf'"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_words(service: Running, fields: dict[str, str], words: str) -> None:
    assert refused(service, NUCLEI, **fields) == words


def test_a_picture_is_needed_and_must_be_whole(service: Running) -> None:
    assert "no picture in the request" in post_json(service.url + OWN + "/detect", {"material": "coins"})[1]["error"]
    assert "PNG" in refused(service, NUCLEI[:2000], material="nuclei")
    assert "picture" in refused(service, b"no picture at all")
    status, answer = ask(service, encoded(np.zeros((5000, 5000), np.uint8)))
    assert (status, answer["reason"]) == (413, "too_large")
    assert "over the limit of 24000000" in answer["error"]


def test_pictures_and_instances_are_counted_by_material(service: Running) -> None:
    names = [
        f'instance_masks_{it}_total{{material="nuclei"{more}}}'
        for it, more in (("pictures", ',model="common"'), ("instances", ""))
    ]
    before = [service.metric(name) for name in names]
    count = len(found(service, NUCLEI, material="nuclei")["instances"])
    assert [service.metric(name) for name in names] == [before[0] + 1, before[1] + count]
    assert service.metric('instance_masks_cold_total{material="nuclei"}') >= 1
