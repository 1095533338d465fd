"""Holds the faces of one photo, and writes them as JSON for an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.api import Array

MAX_FACES = 64  # of one photo; the best-scored are kept
VECTOR = 128
BOX, POINTS, SCORE, QUALITY, EMBEDDING = slice(0, 4), slice(4, 14), 14, 15, slice(16, 16 + VECTOR)


@dataclass(frozen=True, eq=False)
class Faces:
    """A photo's faces, the best-scored first.

    width, height: of the upright photo as it was sent, in pixels. found: how many faces there were, kept or not.

    rows: float32 [n, 16 + VECTOR]. A row holds the box and the points in the photo's pixels, the score and the quality from 0
    to 1, and the embedding.
    """

    width: int
    height: int
    found: int
    rows: Array


def make(
    size: tuple[int, int], found: int, boxes: Array, points: Array, scores: Array, qualities: Array, vectors: Array
) -> Faces:
    """Return a photo's faces from boxes [n, 4], points [n, 5, 2], scores [n], qualities [n] and vectors [n, 128]."""
    boxes = boxes.clip(0, [*size, *size])
    columns = (boxes, points.reshape(-1, 10), scores[:, None], qualities[:, None], vectors)
    return Faces(*size, found, np.concatenate(columns, axis=1).astype(np.float32))


def none(size: tuple[int, int]) -> Faces:
    """Return the faces of a photo without any."""
    return make(size, 0, *(np.zeros((0, *shape)) for shape in ((4,), (5, 2), (), (), (VECTOR,))))


def shown(faces: Faces) -> dict[str, Any]:
    """Return the answer for one photo."""
    several = [face(faces, at) | {"embedding": faces.rows[at, EMBEDDING]} for at in range(len(faces.rows))]
    return {
        "faces": several,
        "found": faces.found,
        "left_out": faces.found - len(several),
        "width": faces.width,
        "height": faces.height,
    }


def face(faces: Faces, at: int) -> dict[str, Any]:
    """Return one face without its embedding."""
    row = faces.rows[at]
    return {
        "label": f"face {at + 1}",
        "score": round(float(row[SCORE]), 4),
        "quality": round(float(row[QUALITY]), 4),
        "box": row[BOX].round(1),
        "landmarks": row[POINTS].reshape(5, 2).round(1),
    }


def largest(faces: Sequence[dict[str, Any]]) -> int:
    """Return the index of the face with the largest box, of the faces of an answer. There must be at least one face."""
    left, top, right, bottom = np.array([face["box"] for face in faces]).T
    return int(np.argmax((right - left) * (bottom - top)))
