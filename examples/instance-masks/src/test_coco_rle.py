"""Run lengths are what pycocotools reads."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parent))

import coco_rle

from serving.api import Array

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def read(rle: dict[str, list[int]]) -> Array:
    return np.asarray(coco.decode(coco.frPyObjects(rle, *rle["size"])), bool)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(7, 5, 0, 0), (7, 5, 2, 3), (1, 9, 6, 1), (10, 12, 0, 0), (1, 1, 9, 11)]
)
def test_a_mask_anywhere_in_a_picture_comes_back(density: float, height: int, width: int, top: int, left: int) -> None:
    mask = np.random.default_rng(7).random((height, width)) < density
    whole = np.zeros((10, 12), bool)
    whole[top : top + height, left : left + width] = mask
    rle = coco_rle.encode(mask, left, top, 10, 12)
    assert rle["size"] == [10, 12]
    assert sum(rle["counts"]) == 120
    assert all(count > 0 for count in rle["counts"][1:])
    assert (read(rle) == whole).all()


def test_the_runs_are_those_that_pycocotools_writes_itself() -> None:
    mask = np.random.default_rng(3).random((30, 40)) < 0.4
    ours = coco.frPyObjects(coco_rle.encode(mask, 0, 0, 30, 40), 30, 40)
    assert ours["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def test_an_empty_mask_is_one_run() -> None:
    assert coco_rle.encode(np.zeros((2, 2), bool), 1, 1, 5, 4) == {"size": [5, 4], "counts": [20]}
