"""A photo's faces: where their boxes end, and their order in an answer."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import faces
from faces import Faces


def made(count: int) -> Faces:
    random = np.random.default_rng(count)
    boxes = random.uniform(-10, 700, (count, 4))
    scores, qualities = random.random((2, count))
    return faces.make(
        (640, 480), count + 3, boxes, random.random((count, 5, 2)), scores, qualities, random.random((count, 128))
    )


def test_boxes_end_where_the_photo_does() -> None:
    boxes = made(50).rows[:, faces.BOX]
    assert boxes.min() >= 0
    assert boxes[:, 0::2].max() <= 640
    assert boxes[:, 1::2].max() <= 480


def test_the_largest_face_is_told_from_the_best() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 100, 90], [0, 0, 50, 50]])
    three = faces.make((640, 480), 3, boxes, np.zeros((3, 5, 2)), np.array([0.9, 0.8, 0.7]), np.ones(3), np.zeros((3, 128)))
    shown = faces.shown(three)["faces"]
    assert faces.largest(shown) == 1
    assert [face["label"] for face in shown] == ["face 1", "face 2", "face 3"]
