"""Parts of masks, their necks and their outlines."""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import shapes

from serving.api import Array


def discs(*where: tuple[int, int, int]) -> Array:
    """Return a mask of 100 x 100 with discs at x, y of a radius."""
    y, x = np.mgrid[:100, :100]
    return np.asarray(np.logical_or.reduce([(x - cx) ** 2 + (y - cy) ** 2 <= r * r for cx, cy, r in where]))


def test_two_discs_that_touch_are_two() -> None:
    mask = discs((30, 50, 18), (64, 50, 18))
    assert shapes.parts(mask).max() == 1
    labels = shapes.larger(shapes.parted(mask, 0.5), 1)
    assert labels.max() == 2
    assert ((labels > 0) == mask).all()
    left, right = labels == labels[50, 30], labels == labels[50, 64]
    assert np.abs(np.nonzero(left)[1].max() - 47) <= 1  # the chord is midway
    assert abs(int(left.sum()) - int(right.sum())) < 30


def test_one_disc_stays_one_and_others_keep_their_pixels_beside_it() -> None:
    mask = discs((50, 40, 25), (50, 71, 4))
    labels = shapes.parted(mask, 0.7)
    assert len(np.unique(labels)) == 3
    assert (labels[40, 50] == labels[mask & (np.arange(100)[:, None] <= 65)]).all()


def test_seeds_grow_by_so_many_pixels_and_stop_where_they_meet() -> None:
    seeds = np.zeros((9, 30), np.int32)
    seeds[4, 5], seeds[4, 20] = 7, 3
    grown = shapes.grown(seeds, 3)
    assert {7, 3} == set(np.unique(grown)) - {0}
    assert np.nonzero(grown[4])[0].tolist() == [*range(2, 9), *range(17, 24)]
    everywhere = shapes.grown(seeds, np.inf)
    assert (everywhere[:, :12] == 7).all()
    assert (everywhere[:, 13:] == 3).all()
    assert (shapes.grown(np.zeros((4, 4), np.int32), 3) == 0).all()


def test_small_parts_go_and_the_rest_is_numbered_without_gaps() -> None:
    labels = np.array([[1, 1, 0, 2, 0, 5, 5, 5]], np.int32)
    assert shapes.larger(labels, 2).tolist() == [[1, 1, 0, 0, 0, 2, 2, 2]]


def test_outlines_run_between_pixels() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:6] = True
    (ring,) = shapes.rings(mask, 0)
    assert {tuple(point) for point in ring.tolist()} >= {(2, 1), (6, 1), (6, 3), (2, 3)}
    assert cv2.contourArea(ring.astype(np.float32)) == 8
    (one,) = shapes.rings(np.ones((1, 1), bool), 0.8)
    assert cv2.contourArea(one.astype(np.float32)) == 1


def test_parts_have_a_ring_each_and_holes_none() -> None:
    mask = discs((20, 20, 15), (70, 70, 20)) & ~discs((70, 70, 8))
    assert len(shapes.rings(mask, 0.8)) == 2


def test_no_corner_of_a_mask_is_further_from_its_polygon_than_stated() -> None:
    mask = discs((30, 50, 18), (64, 50, 23), (50, 20, 9))
    exact, simple = shapes.rings(mask, 0)[0], shapes.rings(mask, 0.8)[0]
    assert len(simple) < len(exact) / 4
    far = [abs(cv2.pointPolygonTest(simple.astype(np.float32), tuple(map(float, point)), True)) for point in exact]
    assert max(far) <= 0.8 + 1e-6
    net = np.pad(mask, 1)
    corners = np.argwhere(sum(net[y : y + 101, x : x + 101].astype(int) for y in (0, 1) for x in (0, 1)) % 4 > 0)
    far = [abs(cv2.pointPolygonTest(simple.astype(np.float32), (float(x), float(y)), True)) for y, x in corners]
    assert max(far) <= 1.2


def test_a_picture_is_made_smaller_and_never_larger() -> None:
    picture = np.zeros((10, 4000, 3), np.uint8)
    assert shapes.within(picture, 1000).shape == (2, 1000, 3)
    assert shapes.within(picture, 10).shape == (1, 10, 3)
    assert shapes.within(picture, 4000) is picture


def test_opencv_computes_on_the_callers_thread() -> None:
    assert cv2.getNumThreads() == 1
