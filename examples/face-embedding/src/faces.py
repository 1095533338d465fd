"""Holds the faces of one photo, and writes them as bytes for a cache and as JSON for an answer.

Knows the layout of both. Does not know how faces are found, nor which cache holds the bytes.

The bytes are "MFE1", a CRC-32 of the rest, the photo's width and height, the number of faces found (uint32, little-endian), and
the rows (float32, little-endian). Bytes from a cache are not trusted: they are read as numbers alone, never as pickle.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.api import Array

MOST_FACES = 64  # of one photo; the best-scored are kept
VECTOR = 128
BOX, POINTS, SCORE, QUALITY, EMBEDDING = slice(0, 4), slice(4, 14), 14, 15, slice(16, 16 + VECTOR)
ROW = 16 + VECTOR
HEAD = struct.Struct("<4sI")
COUNTS = struct.Struct("<III")
MAGIC = b"MFE1"
OBJECT_BYTES = 700  # of one photo in a cache, without its rows: key, table, objects
LARGEST = HEAD.size + COUNTS.size + MOST_FACES * ROW * 4  # bytes of one photo at most


@dataclass(frozen=True, eq=False)
class Faces:
    """A photo's faces, the best-scored first.

    width, height: of the upright photo as it was sent, in pixels. found: how many faces there were, kept or not.

    rows: float32 [n, ROW], read-only, since all requests of this photo share them. A row holds the box and the points in the
    photo's pixels, the score and the quality from 0 to 1, and the embedding.
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
    rows = np.concatenate(columns, axis=1).astype("<f4")
    rows.flags.writeable = False
    return Faces(*size, found, rows)


def none(size: tuple[int, int]) -> Faces:
    """Return the faces of a photo without any."""
    return make(size, 0, *(np.zeros((0, *shape)) for shape in ((4,), (5, 2), (), (), (VECTOR,))))


def size_of(faces: Faces) -> int:
    """Return the approximate bytes of memory of a photo's faces."""
    return faces.rows.nbytes + OBJECT_BYTES


def pack(faces: Faces) -> bytes:
    body = COUNTS.pack(faces.width, faces.height, faces.found) + faces.rows.tobytes()
    return HEAD.pack(MAGIC, zlib.crc32(body)) + body


def unpack(data: bytes) -> Faces | None:
    """Return the faces that `pack` made these bytes of, or None for any other bytes."""
    start = HEAD.size + COUNTS.size
    if not start <= len(data) <= LARGEST or (len(data) - start) % (ROW * 4):
        return None
    if HEAD.unpack_from(data) != (MAGIC, zlib.crc32(data[HEAD.size :])):
        return None
    width, height, found = COUNTS.unpack_from(data, HEAD.size)
    rows = np.frombuffer(data, "<f4", offset=start).reshape(-1, ROW)
    chances = rows[:, [SCORE, QUALITY]]
    if not np.isfinite(rows).all() or (chances < 0).any() or (chances > 1).any() or found < len(rows):
        return None
    return Faces(width, height, found, rows)


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


def largest(faces: Faces) -> int:
    """Return the index of the face with the largest box. There must be at least one face."""
    left, top, right, bottom = faces.rows[:, BOX].T
    return int(np.argmax((right - left) * (bottom - top)))
