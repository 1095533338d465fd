"""Instances are in pixels of the sent picture, whatever size the model saw."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parent))

from outlines import Grid, instances

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

LABELS = np.zeros((30, 40), np.int32)
LABELS[2:12, 3:13] = 1
LABELS[20:30, 30:40] = 2
LABELS[25, 35] = 0
CERTAINTY = np.where(LABELS == 2, 0.9, 0.6).astype(np.float32)


def test_the_surest_comes_first_with_its_mean_certainty() -> None:
    second, first = sorted(instances(LABELS, CERTAINTY), key=lambda each: each.score)
    assert [each.score for each in instances(LABELS, CERTAINTY)] == [first.score, second.score]
    assert first.score == pytest.approx(0.9)
    assert (first.rows, first.columns, int(first.mask.sum())) == (slice(20, 30), slice(30, 40), 99)


def test_of_very_many_the_surest_are_told() -> None:
    labels = np.arange(1, 6001, dtype=np.int32).reshape(60, 100)
    found = instances(labels, (labels / 6000).astype(np.float32))
    assert len(found) == 5000
    assert found[-1].score == pytest.approx(1001 / 6000)


def test_no_labels_are_no_instances() -> None:
    assert instances(np.zeros((5, 5), np.int32), np.zeros((5, 5), np.float32)) == []


@pytest.mark.parametrize("size", [(40, 30), (400, 300), (97, 71), (4000, 31), (20, 15)])
def test_box_area_and_run_lengths_agree_at_every_size(size: tuple[int, int]) -> None:
    grid = Grid(size, (40, 30))
    for found in instances(LABELS, CERTAINTY):
        told = grid.described(found, "thing", as_rle=True)
        rle = coco.frPyObjects(told["rle"], size[1], size[0])
        assert coco.area(rle) == told["area"]
        left, top, wide, high = coco.toBbox(rle)
        assert told["box"] == [left, top, left + wide, top + high]


def test_polygons_are_scaled_to_the_sent_picture() -> None:
    told = Grid((400, 300), (40, 30)).described(instances(LABELS, CERTAINTY)[1], "thing", as_rle=False)
    assert "rle" not in told
    polygon = told["polygon"]
    assert isinstance(polygon, list)
    (ring,) = polygon
    assert np.min(ring, 0).tolist() == [30, 20]
    assert np.max(ring, 0).tolist() == [130, 120]
    assert told["box"] == [30, 20, 130, 120]
