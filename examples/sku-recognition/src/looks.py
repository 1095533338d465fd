"""Prepares pictures for the model that turns them into vectors. The index's builder and the server share this module."""

import hashlib
from pathlib import Path

import numpy as np
from PIL.Image import Image

from serving.api import Array, BadInput, Request

SIDE = 224  # pixels of a side of the model's input
MEAN, STD = 127, 128  # of a colour, with which the model was trained
SMALLEST = 32  # pixels of a picture's shorter side; in smaller pictures products cannot be told apart
WIDTH = 1280  # numbers of a vector
MIDDLE = 0.8  # part of a product's picture for its second vector, since clients hold the camera closer than the catalogue


def whole(request: Request) -> Array:
    """Return a request's picture as the model's input: float32 [1, 3, 224, 224]. Raises BadInput, TooLarge."""
    return request.pixels((SIDE, SIDE), MEAN, STD, picture=_picture(request, SIDE))


def whole_and_middle(request: Request) -> Array:
    """Return a product's picture twice, whole and its middle: float32 [2, 3, 224, 224]. Raises BadInput, TooLarge."""
    picture = _picture(request, round(SIDE / MIDDLE))
    return np.concatenate([request.pixels((SIDE, SIDE), MEAN, STD, crop=crop, picture=picture) for crop in (1.0, MIDDLE)])


def fingerprint(model: Path) -> str:
    """Return text that identifies a model's file, since vectors of two models cannot be compared."""
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _picture(request: Request, side: int) -> Image:
    picture = request.image(at_least=(side, side))
    if min(picture.size) < SMALLEST:
        raise BadInput(f"the picture is {picture.width} x {picture.height} pixels; send one of {SMALLEST} x {SMALLEST} or more")
    return picture
