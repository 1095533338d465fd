"""A photo's faces as bytes: `unpack` returns what `pack` wrote, and rejects any other bytes."""

import pickle
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize("count", [0, 1, 5, faces.MOST_FACES])
def test_what_was_packed_is_unpacked(count: int) -> None:
    one = made(count)
    data = faces.pack(one)
    other = faces.unpack(data)
    assert other is not None
    assert (other.width, other.height, other.found) == (640, 480, count + 3)
    assert np.array_equal(one.rows, other.rows)
    assert len(data) <= faces.LARGEST


def test_any_bit_that_turned_makes_it_nothing() -> None:
    data = faces.pack(made(2))
    for at in range(0, len(data), 7):
        turned = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        assert faces.unpack(turned) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b'{"faces": []}', pickle.dumps([1, 2]), faces.pack(made(3))[:-4], faces.pack(made(64)) + bytes(576)],
    ids=["nothing", "garbage", "JSON", "a pickle", "cut", "too long"],
)
def test_a_strangers_bytes_are_nothing(data: bytes) -> None:
    assert faces.unpack(data) is None


@pytest.mark.parametrize(("place", "value"), [(0, np.nan), (faces.SCORE, 7.0), (faces.QUALITY, -1.0), (20, np.inf)])
def test_numbers_that_cannot_be_are_nothing_even_with_a_good_checksum(place: int, value: float) -> None:
    data = bytearray(faces.pack(made(1)))
    start = faces.HEAD.size + faces.COUNTS.size + 4 * place
    data[start : start + 4] = np.float32(value).tobytes()
    data[4:8] = zlib.crc32(data[faces.HEAD.size :]).to_bytes(4, "little")
    assert faces.unpack(bytes(data)) is None


def test_boxes_end_where_the_photo_does_and_nobody_may_change_them() -> None:
    boxes = made(50).rows[:, faces.BOX]
    assert boxes.min() >= 0
    assert boxes[:, 0::2].max() <= 640
    assert boxes[:, 1::2].max() <= 480
    with pytest.raises(ValueError, match="read-only"):
        boxes[0, 0] = 1


def test_the_largest_face_is_told_from_the_best() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 100, 90], [0, 0, 50, 50]])
    three = faces.make((640, 480), 3, boxes, np.zeros((3, 5, 2)), np.array([0.9, 0.8, 0.7]), np.ones(3), np.zeros((3, 128)))
    assert faces.largest(three) == 1
    assert [face["label"] for face in faces.shown(three)["faces"]] == ["face 1", "face 2", "face 3"]
