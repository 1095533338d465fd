"""The example's own tests: the real model and index behind the real server, over sockets."""

import io
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from augmented import view
from PIL import Image

from tests import waiting
from tests.running import ROOT, Running, launch, running
from tests.running import get as ask

until = partial(waiting.until, seconds=60)

EXAMPLE = Path(__file__).parents[1]
PRODUCTS = EXAMPLE / "model/products"
NAMES = sorted(file.stem for file in PRODUCTS.glob("*.jpg"))
JSON = {"Content-Type": "application/json"}
JPEG = {"Content-Type": "image/jpeg"}


def build(pictures: Path, service: Path) -> None:
    line = [sys.executable, str(EXAMPLE / "src/build_index.py"), str(pictures), "--service", str(service)]
    subprocess.run(line, check=True, capture_output=True, timeout=100)


def copy_of_the_example(folder: Path) -> Path:
    """Copy the example with its code, settings and model, but without its index."""
    (folder / "model").mkdir(parents=True)
    for name in ("src", "model/efficientnet-lite0.onnx"):
        (folder / name).symlink_to(EXAMPLE / name)
    (folder / "value.py").write_text((EXAMPLE / "value.py").read_text() + "drain_delay_second = 0.3\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's folder, with the index of the hundred products."""
    made = copy_of_the_example(tmp_path_factory.mktemp("sku") / "shop")
    build(PRODUCTS, made)
    return made


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Running]:
    with running(folder) as it:
        yield it


def picture(name: str) -> bytes:
    return (PRODUCTS / f"{name}.jpg").read_bytes()


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def recognize(shop: Running, body: bytes, query: str = "", route: str = "/recognize") -> tuple[int, Any]:
    status, answer = ask(f"{shop.url}/api/sku-recognition{route}{query}", body, JPEG)
    told = json.loads(answer)
    return status, told["results"] if status == 200 else told["error"]


def metric(shop: Running, name: str) -> float:
    return shop.metric(name, absent=math.nan)


def test_a_products_own_picture_is_recognised_on_both_routes(shop: Running) -> None:
    for route in ("", "/recognize"):
        status, found = recognize(shop, picture("china-01"), route=route)
        assert status == 200
        assert (found["product"], found["score"]) == ("china-01", found["top"][0]["score"])
        assert found["score"] > 0.99
        assert len(found["top"]) == 5
        scores = [one["score"] for one in found["top"]]
        assert scores == sorted(scores, reverse=True)


@pytest.fixture(scope="module")
def views(shop: Running) -> list[tuple[str, Any]]:
    """Five augmented views of each product: the product's name, and the answer with the nearest 20."""
    random = np.random.default_rng(20)
    sent = [(name, view(Image.open(PRODUCTS / f"{name}.jpg"), random)) for name in NAMES for _ in range(5)]
    with ThreadPoolExecutor(2) as clients:
        answers = list(clients.map(lambda one: recognize(shop, one[1], "?k=20")[1], sent))
    return [(name, answer) for (name, _), answer in zip(sent, answers, strict=True)]


def test_of_500_augmented_views_at_least_85_percent_are_recognised(views: list[tuple[str, Any]]) -> None:
    first = np.mean([answer["top"][0]["label"] == name for name, answer in views])
    among = np.mean([name in {one["label"] for one in answer["top"][:5]} for name, answer in views])
    print(f"recall@1 {first:.3f}, recall@5 {among:.3f} of {len(views)} views of {len(NAMES)} products")
    assert len(views) == 500
    assert first >= 0.85


def test_the_threshold_keeps_most_right_answers_and_few_products_that_are_not_in_the_catalogue(
    views: list[tuple[str, Any]],
) -> None:
    right = np.mean([answer["product"] == name for name, answer in views])
    none = np.mean([answer["product"] is None for _, answer in views])
    near = [(name, {one["label"] for one in answer["top"] if one["score"] >= 0.6}) for name, answer in views]
    photo = np.mean([all(label.split("-")[0] == name.split("-")[0] for label in labels) for name, labels in near])
    alone = np.mean([labels <= {name} for name, labels in near])
    print(f"right {right:.3f}, none {none:.3f}; without a view's product none {alone:.3f}, without its photo {photo:.3f}")
    assert right >= 0.8
    assert photo >= 0.95


@pytest.mark.parametrize(("k", "said"), [("0", "k is 0"), ("-3", "k is -3"), ("21", "k is 21"), ("many", "k"), ("1.5", "k")])
def test_a_k_that_cannot_be_is_the_clients_400(shop: Running, k: str, said: str) -> None:
    status, words = recognize(shop, picture(NAMES[0]), f"?k={k}")
    assert status == 400
    assert said in words


def test_so_many_products_are_told_as_are_asked_for(shop: Running) -> None:
    for k in (1, 20):
        top = recognize(shop, picture(NAMES[0]), f"?k={k}")[1]["top"]
        assert len({one["label"] for one in top}) == len(top) == k


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b"no picture", "picture"),
        (picture(NAMES[0])[:1500], "JPEG"),
        (encoded(Image.new("RGB", (8, 200))), "8 x 200 pixels; send one of 32 x 32 or more"),
    ],
    ids=["none", "text", "half", "tiny"],
)
def test_a_picture_that_cannot_be_read_is_the_clients_400(shop: Running, body: bytes, said: str) -> None:
    status, words = recognize(shop, body)
    assert status == 400
    assert said in words


def test_grey_transparent_and_sixteen_bit_pictures_are_taken(shop: Running) -> None:
    cup = Image.open(PRODUCTS / "coffee-12.jpg")
    transparent = cup.convert("RGBA")
    transparent.putalpha(Image.new("L", cup.size, 255))
    assert recognize(shop, encoded(transparent))[1]["product"] == "coffee-12"
    coins = Image.open(PRODUCTS / "coins-11.jpg").convert("L")
    sixteen = Image.fromarray(np.asarray(coins, np.uint16) * 256)
    for grey in (coins, sixteen, coins.convert("LA")):
        assert recognize(shop, encoded(grey))[1]["product"] == "coins-11"


def test_what_looks_like_no_product_is_unknown_and_counted(shop: Running) -> None:
    before = metric(shop, "sku_unknown_total"), metric(shop, "sku_searches_total")
    status, found = recognize(shop, encoded(Image.new("RGB", (100, 100), "white")))
    assert (status, found["product"]) == (200, None)
    assert found["score"] == found["top"][0]["score"] < 0.6
    assert (metric(shop, "sku_unknown_total"), metric(shop, "sku_searches_total")) == (before[0] + 1, before[1] + 1)


def test_the_statistics_tell_requests_percentiles_index_and_memory(shop: Running) -> None:
    recognize(shop, picture(NAMES[0]))
    status, body = ask(shop.url + "/api/sku-recognition/stats")
    told = json.loads(body)["results"]
    assert status == 200
    asked = told["requests"]["/recognize"]
    assert asked["requests"] >= 1
    assert 0 < asked["p50_ms"] <= asked["p95_ms"] <= asked["p99_ms"]
    assert "/api/sku-recognition" in told["requests"]
    assert told["index"] == told["index"] | {"products": 100, "vectors": 200, "bytes": 200 * 1280 * 4, "kind": "exact"}
    assert 2**26 < told["memory_bytes"] < told["memory_limit_bytes"] == 2**30


def test_the_search_alone_answers_the_open_inference_protocol(shop: Running) -> None:
    row = {"name": "vectors", "datatype": "FP32", "shape": [1, 1280], "data": [1.0] * 1280}
    status, body = ask(shop.url + "/v2/models/index/infer", json.dumps({"inputs": [row]}).encode(), JSON)
    outputs = {one["name"]: one["data"] for one in json.loads(body)["outputs"]}
    assert status == 200
    assert len(outputs["products"]) == len(outputs["scores"]) == 20
    assert set(outputs["products"]) <= set(NAMES)


def test_an_index_is_exchanged_under_load_without_one_failed_request(folder: Path, shop: Running, tmp_path: Path) -> None:
    hundred = (folder / "model/products.index").read_bytes()
    nuclei = Image.open(ROOT / "examples/images/nuclei.png").crop((0, 0, 128, 128))
    wider = tmp_path / "wider"
    wider.mkdir()
    for name in NAMES:
        (wider / f"{name}.jpg").symlink_to(PRODUCTS / f"{name}.jpg")
    nuclei.save(wider / "nuclei.png")
    ended = threading.Event()
    answers: list[tuple[int, Any]] = []

    def customer(name: str) -> None:
        while not ended.is_set():
            answers.append(recognize(shop, picture(name)))

    assert recognize(shop, encoded(nuclei))[1]["product"] != "nuclei"
    before, built = metric(shop, "monopod_reloads_total"), metric(shop, "sku_index_built_timestamp_seconds")
    with ThreadPoolExecutor(2) as customers:
        sent = [customers.submit(customer, name) for name in ("coins-11", "coffee-12")]
        try:
            build(wider, folder)
            until(lambda: metric(shop, "monopod_reloads_total") == before + 1)
            asked = len(answers)
            until(lambda: len(answers) > asked + 20)
        finally:
            ended.set()
        for each in sent:
            each.result()
    assert {status for status, _ in answers} == {200}
    assert {found["product"] for _, found in answers} == {"coins-11", "coffee-12"}
    assert recognize(shop, encoded(nuclei))[1]["product"] == "nuclei"
    assert metric(shop, "sku_index_products") == 101
    assert built < metric(shop, "sku_index_built_timestamp_seconds") <= time.time()
    replace(folder / "model/products.index", hundred)
    until(lambda: metric(shop, "sku_index_products") == 100)


def test_a_damaged_index_is_counted_and_the_old_one_stays(folder: Path, shop: Running) -> None:
    index = folder / "model/products.index"
    whole = index.read_bytes()
    before = metric(shop, "monopod_reload_failures_total")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    try:
        replace(index, bytes(damaged))
        until(lambda: metric(shop, "monopod_reload_failures_total") == before + 1)
        assert recognize(shop, picture("coffee-12"))[1]["product"] == "coffee-12"
        assert any("a damaged one" in line["message"] for line in shop.lines() if line["level"] == "error")
    finally:
        good = metric(shop, "monopod_reloads_total")
        replace(index, whole)
    until(lambda: metric(shop, "monopod_reloads_total") == good + 1)


def replace(file: Path, data: bytes) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(data)
    os.replace(other, file)


def test_a_start_without_a_good_index_model_or_option_fails_in_words(folder: Path, tmp_path: Path) -> None:
    good = (folder / "model/products.index").read_bytes()
    model = (EXAMPLE / "model/efficientnet-lite0.onnx").read_bytes()
    settings = (folder / "value.py").read_text()
    wrong = {
        "missing": ("model/products.index", None, "products.index: no such file; build it: make index"),
        "damaged": ("model/products.index", good[:5000], "products.index: no index, or a damaged one"),
        "other": ("model/efficientnet-lite0.onnx", model + b"\x1a\x00", "its vectors are another model's"),
        "broken": ("model/efficientnet-lite0.onnx", model[:9999], "efficientnet-lite0.onnx: not loaded as an ONNX model"),
        "option": (
            "value.py",
            settings.replace("0.6", '"high"').encode(),
            "threshold = 'high'; it must be a number from 0 to 1",
        ),
    }
    started = {}
    for name, (file, data, _) in wrong.items():
        made = copy_of_the_example(tmp_path / name)
        (made / "model/products.index").write_bytes(good)
        (made / file).unlink()
        if data is not None:
            (made / file).write_bytes(data)
        started[name] = launch(made)
    for name, (_, _, words) in wrong.items():
        try:
            assert started[name].process.wait(60) not in (0, None)
        finally:
            started[name].process.kill()
        said = started[name].log.read_text()
        started[name].log.unlink()
        assert words in said, said
        assert "Traceback" not in said, said
