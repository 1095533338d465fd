"""MTCNN finds faces by three nets, each of which judges fewer boxes at a finer size (Zhang et al., 2016, arXiv:1604.02878).

Each net is a function from arrays to arrays. It takes pictures with the columns first. The nets see a face as a square of 12,
24 and 48 pixels. Boxes are float [n, 4 or more]: left, top, right, bottom, in the photo's pixels.

One step differs from the paper: in the first two stages boxes are moved before the overlapping ones are dropped, not after.
Fewer boxes then describe the same face, so the limits below leave out fewer faces of a crowd.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pixels import Photo, squares

from serving.api import Array, Arrays

LONGEST = 1024  # pixels of the longer side that the first net sees at most; a larger photo is scaled down for it

# Pixels of the smallest square that is judged, in a photo of up to LONGEST pixels. In a larger photo the square grows with it.
# A face is found if it fills two thirds of the square.
SMALLEST = 40
STEP = 0.709  # from one size of the pyramid to the next: half the area
THRESHOLDS = (0.6, 0.7, 0.7)  # the least probability of a face for each net, as the paper's authors chose them
# The most boxes of one size of the pyramid, for the second net and for the third. Noise or a crowd gives thousands.
MOST = (500, 400, 200)


@dataclass(frozen=True)
class Found:
    """The n faces that were found, the best first. boxes: [n, 4]. scores: [n], 0 to 1.

    points: [n, 5, 2], x and y of the eyes, the nose and the corners of the mouth, left before right. Left and right are the
    picture's, not the person's.
    """

    boxes: Array
    scores: Array
    points: Array


def find(
    photo: Photo,
    pnet: Callable[[list[Arrays]], list[Arrays]],
    rnet: Callable[[Arrays], Arrays],
    onet: Callable[[Arrays], Arrays],
) -> Found:
    """Return the photo's faces. pnet: called once, with all sizes of the photo. rnet, onet: called with all their boxes."""
    boxes = _proposed(photo, pnet)
    if len(boxes):
        out = rnet({"input_2": _normal(squares(photo, boxes, 24))})
        chances = out["softmax_1"][:, 1]
        boxes = _moved(boxes, out["dense_2"], chances)[chances >= THRESHOLDS[1]]
        boxes = square(boxes[keep(boxes, 0.7, MOST[2])])
    if not len(boxes):
        return Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))
    out = onet({"input_3": _normal(squares(photo, boxes, 48))})
    chances = out["softmax_2"][:, 1]
    points = boxes[:, None, :2] + out["dense_6"].reshape(-1, 2, 5).transpose(0, 2, 1) * _sides(boxes)[:, None]
    sure = np.flatnonzero(chances >= THRESHOLDS[2])
    faces = _moved(boxes, out["dense_5"], chances)
    best = sure[keep(faces[sure], 0.7, len(sure), of_smaller=True)]
    return Found(faces[best, :4], faces[best, 4], points[best])


def scales(width: int, height: int) -> list[float]:
    """Return the scales of the pyramid, at which faces from SMALLEST pixels up to the whole photo are 12 pixels large."""
    found = [12 / SMALLEST * min(1.0, LONGEST / max(width, height))]
    while min(width, height) * found[-1] * STEP >= 12:
        found.append(found[-1] * STEP)
    return found


def keep(boxes: Array, most: float, count: int, of_smaller: bool = False) -> Array:
    """Return the indices of the best `count` boxes, best first, without boxes that a better one overlaps by more than `most`.

    boxes: [n, 5], the fifth is a score. of_smaller: measure overlap as the share of the smaller box, not of the union.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")[:count]
    chosen = boxes[order]
    common = np.minimum(chosen[:, None, 2:4], chosen[None, :, 2:4]) - np.maximum(chosen[:, None, :2], chosen[None, :, :2])
    area, shared = _sides(chosen).prod(1), np.maximum(common, 0).prod(2)
    whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - shared
    too_near = shared > most * whole
    good = np.ones(len(order), bool)
    for at in range(len(order)):
        if good[at]:
            good[at + 1 :] &= ~too_near[at, at + 1 :]
    return np.asarray(order[good])


def square(boxes: Array) -> Array:
    """Return squares around the middles of the boxes, with their longer sides."""
    middle, half = (boxes[:, :2] + boxes[:, 2:4]) / 2, _sides(boxes).max(1, keepdims=True, initial=1) / 2
    return np.concatenate([middle - half, middle + half, boxes[:, 4:]], 1)


def _proposed(photo: Photo, pnet: Callable[[list[Arrays]], list[Arrays]]) -> Array:
    """Return the boxes that the first net proposes: square, each with its score."""
    sizes = scales(*photo.size)
    outputs = pnet([{"input_1": _scaled(photo.picture, scale)} for scale in sizes])
    boxes = np.concatenate([_of_one_size(out, scale) for out, scale in zip(outputs, sizes, strict=True)])
    return square(boxes[keep(boxes, 0.7, MOST[1])])


def _of_one_size(out: Arrays, scale: float) -> Array:
    """Return the boxes of one size of the pyramid. The first net judges squares of 12 pixels, two pixels apart."""
    chances, moves = out["softmax"][0, ..., 1], out["conv2d_4"][0]
    x, y = np.nonzero(chances >= THRESHOLDS[0])
    corner = np.stack([x, y], 1) * 2
    boxes = _moved(np.concatenate([corner + 1, corner + 12], 1) / scale, moves[x, y], chances[x, y])
    return np.asarray(boxes[keep(boxes, 0.5, MOST[0])])


def _scaled(picture: Image.Image, scale: float) -> Array:
    size = (max(12, round(picture.width * scale)), max(12, round(picture.height * scale)))
    small = np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), np.float32)
    return np.ascontiguousarray(_normal(small.transpose(1, 0, 2)[None]))


def _normal(colours: Array) -> Array:
    return (colours - np.float32(127.5)) / np.float32(128)


def _moved(boxes: Array, moves: Array, chances: Array) -> Array:
    """Return moved boxes. moves: of each side, in the box's widths and heights. chances: the scores of the boxes."""
    sides = _sides(boxes)
    return np.concatenate([boxes[:, :4] + moves * np.concatenate([sides, sides], 1), chances[:, None]], 1)


def _sides(boxes: Array) -> Array:
    return np.asarray(boxes[:, 2:4] - boxes[:, :2])
