"""MTCNN: faces by three nets, each of which judges fewer boxes at a finer size (Zhang et al., 2016).

Knows boxes and pyramids. Does not know how the nets are run: each is a function from arrays to arrays.
The nets take pictures with the columns first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from serving.tensors import Array, Arrays

SMALLEST = 40  # pixels of a face's side
STEP = 0.709  # from one size of the pyramid to the next


@dataclass(frozen=True)
class Face:
    box: Array  # left, top, right, bottom
    score: Array
    points: Array  # eyes, nose, corners of the mouth: x and y


def detect(
    photo: Image.Image,
    pnet: Callable[[list[Arrays]], list[Arrays]],
    rnet: Callable[[Arrays], Arrays],
    onet: Callable[[Arrays], Arrays],
) -> list[Face]:
    scales = sizes(min(photo.size))
    outputs = pnet([{"input_1": pixels(photo, scale)} for scale in scales])
    boxes = np.concatenate([proposals(*zip_pnet(out), scale) for out, scale in zip(outputs, scales, strict=True)] or [empty()])
    boxes = square(boxes[keep(boxes, 0.7)])
    if not len(boxes):
        return []
    out = rnet({"input_2": crops(photo, boxes, 24)})
    boxes = square(refined(boxes, out["dense_2"], out["softmax_1"], 0.7)[0])
    if not len(boxes):
        return []
    out = onet({"input_3": crops(photo, boxes, 48)})
    points = out["dense_6"].reshape(-1, 2, 5).transpose(0, 2, 1) * (boxes[:, None, 2:4] - boxes[:, None, :2])
    points = points + boxes[:, None, :2]
    boxes, kept = refined(boxes, out["dense_5"], out["softmax_2"], 0.7, of_smaller=True)
    return [Face(box[:4], box[4], where) for box, where in zip(boxes, points[kept], strict=True)]


def empty() -> Array:
    return np.zeros((0, 5))


def sizes(shorter: int) -> list[float]:
    """Return the scales at which a face of SMALLEST pixels and more is 12 pixels large."""
    scales = [12 / SMALLEST]
    while shorter * scales[-1] * STEP >= 12:
        scales.append(scales[-1] * STEP)
    return scales


def pixels(photo: Image.Image, scale: float) -> Array:
    size = (max(12, round(photo.width * scale)), max(12, round(photo.height * scale)))
    return normal(np.asarray(photo.resize(size, Image.Resampling.BILINEAR))[None])


def normal(rgb: Array) -> Array:
    columns_first: Array = np.ascontiguousarray(((rgb.astype(np.float32) - 127.5) / 128).transpose(0, 2, 1, 3))
    return columns_first


def zip_pnet(out: Arrays) -> tuple[Array, Array]:
    return out["softmax"][0, ..., 1], out["conv2d_4"][0]


def proposals(scores: Array, moves: Array, scale: float) -> Array:
    """Return the boxes that the first net proposes at one scale: left, top, right, bottom, score."""
    x, y = np.nonzero(scores >= 0.6)
    corner = np.stack([x, y], 1) * 2
    boxes = np.concatenate([(corner + 1) / scale, (corner + 12) / scale], 1)
    boxes = np.concatenate([moved(boxes, moves[x, y]), scores[x, y, None]], 1)
    return np.asarray(boxes[keep(boxes, 0.5)])


def moved(boxes: Array, moves: Array) -> Array:
    """Return boxes with each side moved by so many of the box's own widths and heights."""
    size = boxes[:, 2:4] - boxes[:, :2]
    return np.asarray(boxes[:, :4] + moves * np.concatenate([size, size], 1))


def refined(boxes: Array, moves: Array, chances: Array, least: float, of_smaller: bool = False) -> tuple[Array, Array]:
    """Return what a net leaves of the boxes, and which those were."""
    good = np.flatnonzero(chances[:, 1] >= least)
    boxes = np.concatenate([moved(boxes, moves), chances[:, 1:]], 1)
    kept = good[keep(boxes[good], 0.7, of_smaller)]
    return boxes[kept], kept


def keep(boxes: Array, most: float, of_smaller: bool = False) -> list[int]:
    """Return the best boxes' places, without those that overlap a better one by more than so much."""
    left = list(np.argsort(-boxes[:, 4])) if len(boxes) else []
    area = (boxes[:, 2:4] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while left:
        best, rest = left[0], np.array(left[1:], int)
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:4], boxes[rest, 2:4]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        common = np.maximum(sides, 0).prod(1)
        whole = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - common
        left = list(rest[common <= most * whole])
    return kept


def square(boxes: Array) -> Array:
    middle, side = (boxes[:, :2] + boxes[:, 2:4]) / 2, (boxes[:, 2:4] - boxes[:, :2]).max(1, keepdims=True, initial=1) / 2
    return np.concatenate([middle - side, middle + side, boxes[:, 4:]], 1)


def crops(photo: Image.Image, boxes: Array, side: int) -> Array:
    """Return each box's pixels; what lies outside the photo is black."""
    cut = [photo.crop(tuple(np.round(box[:4]).astype(int).tolist())) for box in boxes]
    return normal(np.stack([np.asarray(c.resize((side, side), Image.Resampling.BILINEAR)) for c in cut]))
