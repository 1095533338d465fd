"""The builder of the index: the pictures that it accepts, and its messages for folders and pictures that it rejects."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cut_products import products
from looks import fingerprint
from PIL import Image
from product_index import read

from tests.running import ROOT

EXAMPLE = Path(__file__).parents[1]
PRODUCTS = EXAMPLE / "model/products"


def build(pictures: Path, service: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, str(EXAMPLE / "src/build_index.py"), str(pictures), "--service", str(service), *more]
    return subprocess.run(line, capture_output=True, text=True, timeout=100)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the example whose model folder holds the model alone."""
    folder = tmp_path / "shop"
    (folder / "model").mkdir(parents=True)
    for name in ("value.py", "src", "model/efficientnet-lite0.onnx"):
        (folder / name).symlink_to(EXAMPLE / name)
    return folder


def test_the_committed_products_are_those_that_the_script_cuts() -> None:
    cut = products(ROOT / "examples/images")
    assert sorted(cut) == sorted(file.stem for file in PRODUCTS.glob("*.jpg"))
    for name, picture in cut.items():
        kept = Image.open(PRODUCTS / f"{name}.jpg")
        greys = [np.asarray(each.convert("L"), np.float32) for each in (kept, picture)]
        assert np.abs(greys[0] - greys[1]).mean() < 5, name  # JPEG's own loss; two products differ by 18 and more


def test_both_ways_of_naming_a_product_are_taken_and_a_products_views_belong_together(tmp_path: Path, shop: Path) -> None:
    pictures = tmp_path / "my pictures"
    (pictures / "blue cup").mkdir(parents=True)
    for name, source in (("blue cup/front.JPG", "coffee-00"), ("blue cup/.hidden", "coffee-01"), ("jam.jpg", "coins-00")):
        (pictures / name).write_bytes((PRODUCTS / f"{source}.jpg").read_bytes())
    Image.open(PRODUCTS / "coffee-02.jpg").convert("L").save(pictures / "blue cup/back.png")
    done = build(pictures, shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{shop}/model/products.index: 2 products of 3 pictures, exact search\n"
    made = read(shop / "model/products.index", fingerprint(shop / "model/efficientnet-lite0.onnx"), 1)
    assert made.names == ("blue cup", "jam")
    assert made.owners.tolist() == [0, 0, 0, 0, 1, 1]


def test_broken_pictures_are_all_named_and_left_out_only_when_that_is_asked_for(tmp_path: Path, shop: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    whole = (PRODUCTS / "coffee-00.jpg").read_bytes()
    (pictures / "cup.jpg").write_bytes(whole)
    (pictures / "half.jpg").write_bytes(whole[:1500])
    (pictures / "text.jpg").write_text("no picture")
    Image.new("RGB", (31, 200)).save(pictures / "thin.png")
    done = build(pictures, shop)
    assert done.returncode == 1
    for words in ("half.jpg: ", "text.jpg: ", "thin.png: the picture is 31 x 200 pixels; send one of 32 x 32 or more"):
        assert f"{pictures}/{words}" in done.stderr
    assert "3 broken pictures, and nothing was written" in done.stderr
    assert os.listdir(shop / "model") == ["efficientnet-lite0.onnx"]
    done = build(pictures, shop, "--skip-broken")
    assert (done.returncode, done.stderr.count("\n")) == (0, 3)
    assert "1 products of 1 pictures" in done.stdout


def test_nothing_is_built_of_broken_pictures_alone(tmp_path: Path, shop: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/cup.jpg").write_text("no picture")
    done = build(tmp_path / "pictures", shop, "--skip-broken")
    assert done.returncode == 1
    assert "none of the 1 pictures can be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_taken_is_told_in_words(tmp_path: Path, shop: Path) -> None:
    empty, odd = tmp_path / "empty", tmp_path / "odd"
    (odd / "cup").mkdir(parents=True)
    (odd / "tea/inside").mkdir(parents=True)
    (odd / "prices.txt").write_text("cup 3")
    empty.mkdir()
    said = {folder: build(folder, shop) for folder in (tmp_path / "none", empty, odd)}
    assert [done.returncode for done in said.values()] == [1, 1, 1]
    assert f"{tmp_path}/none: no such folder" in said[tmp_path / "none"].stderr
    assert f"{empty}: holds no pictures; put them there as <product>/<view>.jpg or <product>.jpg" in said[empty].stderr
    for words in ("cup: a product without a picture", "tea/inside: no picture", "prices.txt: no picture; only .jpg"):
        assert f"{odd}/{words}" in said[odd].stderr
    assert os.listdir(shop / "model") == ["efficientnet-lite0.onnx"]


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("missing/products.index", "/missing: no folder that can be written to; the index is written there"),
        (7, "options says index = 7; it must be a text"),
    ],
)
def test_a_place_where_no_index_can_lie_is_told_before_the_work(index: object, said: str, shop: Path) -> None:
    settings = (EXAMPLE / "value.py").read_text()
    (shop / "value.py").unlink()
    (shop / "value.py").write_text(settings.replace('"model/products.index"', repr(index)))
    (shop / "model/efficientnet-lite0.onnx").unlink()  # it would be asked for next
    done = build(PRODUCTS, shop)
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_a_name_is_one_product_however_its_accents_are_written(tmp_path: Path, shop: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"  # the second as some Macs and archives write it
    pictures = tmp_path / "pictures"
    (pictures / apart).mkdir(parents=True)
    for name in (f"{composed}.jpg", f"{apart}/view.jpg"):
        (pictures / name).write_bytes((PRODUCTS / "coffee-00.jpg").read_bytes())
    assert "1 products of 2 pictures" in build(pictures, shop).stdout
    made = read(shop / "model/products.index", fingerprint(shop / "model/efficientnet-lite0.onnx"), 1)
    assert made.names == (composed,)


def test_make_asks_for_the_pictures(tmp_path: Path) -> None:
    for words, said in (
        (("SERVICE=examples/sku-recognition",), "PICTURES is not given"),
        ((f"SERVICE={tmp_path}", "PICTURES=x"), "has no model/Makefile"),
    ):
        done = subprocess.run(["make", "index", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert said in done.stderr


def test_ctrl_c_ends_the_work_without_a_word_and_leaves_nothing_behind(shop: Path) -> None:
    # The second batch of pictures is interrupted while the model still works on the first.
    code = (
        "import itertools, sys, build_index, looks; whole, calls = looks.whole_and_middle, itertools.count()\n"
        "def interrupted(request):\n    if next(calls) > 8: raise KeyboardInterrupt\n    return whole(request)\n"
        f"looks.whole_and_middle = interrupted; sys.exit(build_index.main([{str(PRODUCTS)!r}, '--service', {str(shop)!r}]))"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=EXAMPLE / "src", capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert os.listdir(shop / "model") == ["efficientnet-lite0.onnx"]


def test_a_model_that_is_missing_or_broken_is_told_in_words(shop: Path) -> None:
    model = shop / "model/efficientnet-lite0.onnx"
    model.unlink()
    done = build(PRODUCTS, shop)
    assert (done.returncode, "efficientnet-lite0.onnx: no such file" in done.stderr) == (1, True)
    model.write_bytes((EXAMPLE / "model/efficientnet-lite0.onnx").read_bytes()[:100_000])
    done = build(PRODUCTS, shop)
    assert (done.returncode, "is the file whole?" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
