"""Turns a face upright, scales it as the embedding needs it, and measures the quality of the face's picture.

The quality is the geometric mean of four values from 0 to 1: (score * size * sharpness * turn) ** (1 / 4).

score is the detector's. size is min(1, pixels of the photo on a side of the chip / 150); a smaller face is enlarged.

sharpness is v / (v + 0.02). v is the variance of the Laplacian of the chip's grey middle, over the variance of that grey. It
measures how much of the contrast is fine detail, however dark or bright the photo is.

turn is 1 - |d|. d is the distance of the nose from the middle between the eyes, in halves of the eyes' distance. It is 0 for a
face seen from the front, and 1 when the nose covers an eye.
"""

import numpy as np
from pixels import Photo, sample

from serving.api import Array

CHIP = 150  # pixels of dlib's chip
# x and y of the eyes, the nose and the corners of the mouth in the chip, as dlib's model expects them.
PLACES = np.array([(47.55, 46.6), (100.48, 46.6), (74.01, 76.56), (50.41, 103), (97.61, 103)])
HALF_SHARP = 0.02  # the relative variance of the Laplacian that counts as half sharp
MIDDLE = slice(30, 120)  # of the chip: skin, eyes and mouth; the corners are hair and background


def turns(points: Array) -> tuple[Array, Array]:
    """Return the similarity that maps PLACES to each face's points with the least squared error: complex turn [n], shift [n].

    A place p = x + iy of the chip lies at turn * p + shift of the photo. `|turn|` is the number of the photo's pixels
    that a pixel of the chip covers. points: [n, 5, 2].
    Source: least squares over a complex line, Umeyama (1991) in two dimensions without reflection.
    """
    places = PLACES @ np.array([1, 1j])
    there = points @ np.array([1, 1j])
    centred = places - places.mean()
    turn = (there * centred.conj()).sum(1) / (np.abs(centred) ** 2).sum()
    return turn, there.mean(1) - turn * places.mean()


def chips(photo: Photo, points: Array) -> Array:
    """Return each face's chip: float32 [n, 3, 150, 150], RGB, 0 to 255, black outside the photo. points: [n, 5, 2]."""
    turn, shift = turns(points)
    at = np.arange(CHIP) + 0.5
    grid = at[None, :] + 1j * at[:, None]
    there = turn[:, None, None] * grid + shift[:, None, None]
    return np.ascontiguousarray(sample(photo, there.real, there.imag, np.abs(turn)).transpose(0, 3, 1, 2))


def quality(scores: Array, points: Array, faces: Array) -> Array:
    """Return the quality of each face, 0 to 1, by the module's formula. scores: [n]. points: [n, 5, 2]. faces: chips."""
    size = np.minimum(1, np.abs(turns(points)[0]))
    parts = scores.clip(0, 1) * size * sharpness(faces) * frontal(points)
    return np.asarray(parts**0.25)


def sharpness(faces: Array) -> Array:
    """Return the sharpness of each chip, 0 to 1. faces: chips, float32 [n, 3, 150, 150]."""
    grey = faces[:, :, MIDDLE, MIDDLE].mean(1)
    inner = grey[:, 1:-1, 1:-1]
    edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    relative = edges.var((1, 2)) / (inner.var((1, 2)) + 1)
    return np.asarray(relative / (relative + HALF_SHARP))


def frontal(points: Array) -> Array:
    """Return 1 for a face seen from the front, down to 0 where the nose covers an eye. points: [n, 5, 2]."""
    left, right, nose = points[:, 0], points[:, 1], points[:, 2]
    half = (right - left) / 2
    off = ((nose - (left + right) / 2) * half).sum(1) / np.maximum((half**2).sum(1), 1e-9)
    return np.asarray((1 - np.abs(off)).clip(0, 1))
