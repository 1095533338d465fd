"""The detector's geometry, without its nets, and the pixels that it cuts out."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import mtcnn
from pixels import Photo, open_photo, sample, squares

from serving.api import Array
from tests.running import ROOT


@pytest.fixture(scope="module")
def astronaut() -> Photo:
    with Image.open(ROOT / "examples/images/astronaut.jpg") as picture:
        return open_photo(picture.convert("RGB"))


def overlap(one: Array, other: Array, of_smaller: bool) -> float:
    wide, high = np.minimum(one[2:4], other[2:4]) - np.maximum(one[:2], other[:2])
    common = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(common / (min(areas) if of_smaller else sum(areas) - common))


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_of_boxes_that_overlap_the_best_is_kept(seed: int, of_smaller: bool) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 100, (80, 2))
    boxes = np.concatenate([corner, corner + random.uniform(10, 60, (80, 2)), random.random((80, 1))], 1)
    wanted: list[int] = []
    for at in np.argsort(-boxes[:, 4]):
        if all(overlap(boxes[at], boxes[other], of_smaller) <= 0.5 for other in wanted):
            wanted.append(int(at))
    assert mtcnn.keep(boxes, 0.5, 80, of_smaller).tolist() == wanted


def test_no_more_boxes_are_looked_at_than_are_asked_for() -> None:
    corner = np.arange(1000)[:, None] * np.array([100.0, 0.0])
    boxes = np.concatenate([corner, corner + 50, np.linspace(0, 1, 1000)[:, None]], 1)
    assert mtcnn.keep(boxes, 0.5, 10).tolist() == list(range(999, 989, -1))
    assert mtcnn.keep(boxes[:0], 0.5, 10).tolist() == []


def test_the_pyramid_goes_from_the_smallest_face_to_the_whole_photo() -> None:
    scales = mtcnn.scales(640, 480)
    assert scales[0] * mtcnn.SMALLEST == pytest.approx(12)
    assert 12 <= 480 * scales[-1] < 12 / mtcnn.STEP
    assert mtcnn.scales(2048, 1536)[0] * 2048 == pytest.approx(mtcnn.scales(1024, 768)[0] * 1024)
    assert (
        max(len(mtcnn.scales(side, side)) for side in (1, 100, 1024, 2047, 100_000)) <= 16
    )  # the rows for which the queue is sized


def test_a_box_is_made_square_around_its_middle() -> None:
    assert mtcnn.square(np.array([[10.0, 20, 30, 60, 0.9]])).tolist() == [[0, 20, 40, 60, 0.9]]


def test_a_pixels_middle_has_the_pixels_colour_and_outside_is_black(astronaut: Photo) -> None:
    x, y = np.array([[0.5, 100.5, 511.5, -3, 513]]), np.array([[0.5, 200.5, 511.5, 10, 10]])
    colours = sample(astronaut, x, y, np.ones(1))
    assert colours[0, :3].tolist() == astronaut.levels[0][[0, 200, 511], [0, 100, 511]].tolist()
    assert (colours[0, 3:] == 0).all()


@pytest.mark.parametrize("side", [24, 48])
def test_squares_are_what_a_picture_library_cuts_out(astronaut: Photo, side: int) -> None:
    boxes = np.array([[180.0, 60, 290, 170], [10, 10, 40, 40], [5, 300, 205, 500], [101, 33, 149, 81]])
    ours = squares(astronaut, boxes, side).transpose(0, 2, 1, 3)
    for box, square in zip(boxes, ours, strict=True):
        theirs = astronaut.picture.resize((side, side), Image.Resampling.BILINEAR, tuple(box))
        assert np.abs(square - np.asarray(theirs, np.float32)).mean() < 8  # of 255, where rows beside each other differ by 11


def test_squares_over_the_edge_are_black_there(astronaut: Photo) -> None:
    (square,) = squares(astronaut, np.array([[-256.0, 256, 256, 768]]), 24)
    assert (square[:12] == 0).all()
    assert (square[:, 12:] == 0).all()
    assert (square[12:, :12] > 0).mean() > 0.9
