"""A face turned upright and scaled as the embedding wants it, and how good a picture of the face that is.

Knows five points of a face and the pixels around them. Does not know who finds faces or what is made of them.

    quality = (score * size * sharpness * turn) ** (1 / 4), the geometric mean of four values from 0 to 1:

    score      what the detector gave
    size       min(1, pixels of the photo on a side of the chip / 150): less was blown up
    sharpness  v / (v + 0.02), v the variance of the Laplacian of the chip's grey middle over the variance of that grey:
               how much of the contrast is fine detail, however dark or bright the photo
    turn       1 - |d|, d how far the nose is off the middle between the eyes, in halves of the eyes' distance: 0 seen from
               the front, 1 when the nose covers an eye
"""

import numpy as np
from pixels import Photo, sample

from serving.api import Array

CHIP = 150  # pixels of dlib's chip
# Where dlib's model wants eyes, nose and corners of the mouth in it: x and y.
PLACES = np.array([(47.55, 46.6), (100.48, 46.6), (74.01, 76.56), (50.41, 103), (97.61, 103)])
HALF_SHARP = 0.02  # the variance of the Laplacian, relative, that counts as half sharp
MIDDLE = slice(30, 120)  # of the chip: skin, eyes and mouth; the corners are hair and background


def turns(points: Array) -> tuple[Array, Array]:
    """Return the similarity that takes PLACES to each face's points with the least squared error, in complex numbers.

    points: [n, 5, 2]. Returns turn [n] and shift [n]: a place p of the chip, as x + iy, lies at turn * p + shift of the photo;
    |turn| is how many pixels of the photo one of the chip covers.
    Source: least squares over a complex line, Umeyama (1991) in two dimensions without reflection.
    """
    places = PLACES @ np.array([1, 1j])
    there = points @ np.array([1, 1j])
    centred = places - places.mean()
    turn = (there * centred.conj()).sum(1) / (np.abs(centred) ** 2).sum()
    return turn, there.mean(1) - turn * places.mean()


def chips(photo: Photo, points: Array) -> Array:
    """Return each face's chip: float32 [n, 3, 150, 150], RGB, 0 to 255, black where the photo ends. points: [n, 5, 2]."""
    turn, shift = turns(points)
    at = np.arange(CHIP) + 0.5
    grid = at[None, :] + 1j * at[:, None]
    there = turn[:, None, None] * grid + shift[:, None, None]
    return np.ascontiguousarray(sample(photo, there.real, there.imag, np.abs(turn)).transpose(0, 3, 1, 2))


def quality(scores: Array, points: Array, faces: Array) -> Array:
    """Return how good each face's picture is, 0 to 1, as said above. scores: [n]; points: [n, 5, 2]; faces: the chips."""
    size = np.minimum(1, np.abs(turns(points)[0]))
    parts = scores.clip(0, 1) * size * sharpness(faces) * frontal(points)
    return np.asarray(parts**0.25)


def sharpness(faces: Array) -> Array:
    """Return 0 to 1 for each chip: float32 [n, 3, 150, 150]."""
    grey = faces[:, :, MIDDLE, MIDDLE].mean(1)
    inner = grey[:, 1:-1, 1:-1]
    edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    relative = edges.var((1, 2)) / (inner.var((1, 2)) + 1)
    return np.asarray(relative / (relative + HALF_SHARP))


def frontal(points: Array) -> Array:
    """Return 1 for a face seen from the front, down to 0 for one whose nose covers an eye. points: [n, 5, 2]."""
    left, right, nose = points[:, 0], points[:, 1], points[:, 2]
    half = (right - left) / 2
    off = ((nose - (left + right) / 2) * half).sum(1) / np.maximum((half**2).sum(1), 1e-9)
    return np.asarray((1 - np.abs(off)).clip(0, 1))
