"""Prepares pictures for the model that turns them into vectors. The index's builder and the server share this module."""

import hashlib
from pathlib import Path

import numpy as np
from PIL.Image import Image, Resampling

from serving.api import Array, BadInput, Request

SIDE = 224  # pixels of a side of the model's input
SMALLEST = 32  # pixels of a picture's shorter side; in smaller pictures products cannot be told apart
WIDTH = 1280  # numbers of a vector
MIDDLE = 0.8  # part of a product's picture for its second vector, since clients hold the camera closer than the catalogue


def whole(request: Request) -> Array:
    """Return a request's picture as the model's input: float32 [3, 224, 224]. Raises BadInput, TooLarge."""
    return _pixels(_picture(request, SIDE), 1.0)


def whole_and_middle(request: Request) -> Array:
    """Return a product's picture twice, whole and its middle: float32 [2, 3, 224, 224]. Raises BadInput, TooLarge."""
    picture = _picture(request, round(SIDE / MIDDLE))
    return np.stack([_pixels(picture, 1.0), _pixels(picture, MIDDLE)])


def fingerprint(model: Path) -> str:
    """Return text that identifies a model's file, since vectors of two models cannot be compared."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _picture(request: Request, side: int) -> Image:
    picture = request.image(at_least=(side, side))
    if min(picture.size) < SMALLEST:
        raise BadInput(f"the picture is {picture.width} x {picture.height} pixels; send one of {SMALLEST} x {SMALLEST} or more")
    return picture


def _pixels(picture: Image, share: float) -> Array:
    """Return a picture stretched to the model's square, so that nothing of a tall bottle is cut off.

    share: the part of each side, around the middle, that is used.
    """
    x, y = picture.width * (1 - share) / 2, picture.height * (1 - share) / 2
    square = picture.resize((SIDE, SIDE), Resampling.BILINEAR, (x, y, picture.width - x, picture.height - y))
    return (np.asarray(square, np.float32).transpose(2, 0, 1) - 127) / 128
