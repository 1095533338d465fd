"""Cuts many squares or turned chips out of a photo at once.

All crops of a stage are cut by a few numpy calls. A loop over crops would release and take Python's lock hundreds of times a
photo, and wait each time for another thread that computes.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from serving.api import Array

SMALLEST_LEVEL = 16  # pixels of the shorter side; halving ends there
AT_ONCE = 100_000  # places read by one call; its arrays take a hundred bytes a place, and should fit a processor's cache


@dataclass(frozen=True)
class Photo:
    """A picture and its smaller versions. picture: RGB. levels: uint8 [height, width, 3], each half the size of the last."""

    picture: Image.Image
    levels: tuple[Array, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size


def open_photo(picture: Image.Image) -> Photo:
    """Return a photo of an RGB picture."""
    halves = [picture]
    while min(halves[-1].size) >= 2 * SMALLEST_LEVEL:
        halves.append(halves[-1].reduce(2))
    return Photo(picture, tuple(np.asarray(half) for half in halves))


def sample(photo: Photo, x: Array, y: Array, step: Array) -> Array:
    """Return the colours at places of the photo: float32 [n, ..., 3], 0 to 255, black outside of it.

    Each is interpolated bilinearly in one level of the photo. The pixels of that level are at least half as far apart as the
    places: in a finer level, detail would become noise.

    x, y: [n, ...], in the photo's pixels, whose centres are at .5. step: [n], the distance of neighbouring places.
    """
    depth = np.log2(np.maximum(step, 1)).astype(int).clip(0, len(photo.levels) - 1)
    colours = np.empty((*x.shape, 3), np.float32)
    for level in np.unique(depth):
        rows = np.flatnonzero(depth == level)
        for some in np.array_split(rows, math.ceil(rows.size * x[0].size / AT_ONCE)):
            colours[some] = _bilinear(photo.levels[level], x[some] / 2.0**level, y[some] / 2.0**level)
    return colours


def _bilinear(pixels: Array, x: Array, y: Array) -> Array:
    height, width = pixels.shape[:2]
    flat = pixels.reshape(-1, 3)
    left, top = np.floor(x - 0.5), np.floor(y - 0.5)
    right_share = (x - 0.5 - left).astype(np.float32)[..., None]
    low_share = (y - 0.5 - top).astype(np.float32)[..., None]
    columns = [(left + more).clip(0, width - 1).astype(int) for more in (0, 1)]
    lines = [(top + more).clip(0, height - 1).astype(int) * width for more in (0, 1)]
    upper, lower = ((1 - right_share) * flat[line + columns[0]] + right_share * flat[line + columns[1]] for line in lines)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    colours: Array = ((1 - low_share) * upper + low_share * lower) * inside[..., None]
    return colours


def squares(photo: Photo, boxes: Array, side: int) -> Array:
    """Return each box scaled to side x side: float32 [n, side, side, 3], columns first. boxes: left, top, right, bottom."""
    at = (np.arange(side) + 0.5) / side
    width, height = (boxes[:, 2:4] - boxes[:, :2]).T[:, :, None]
    x, y = boxes[:, 0, None] + width * at, boxes[:, 1, None] + height * at
    full = (len(boxes), side, side)
    across, down = np.broadcast_to(x[:, :, None], full), np.broadcast_to(y[:, None, :], full)
    return sample(photo, across, down, width[:, 0] / side)
