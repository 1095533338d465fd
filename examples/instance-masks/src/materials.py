"""Defines the materials: the model of each, the model's input, and how things are told apart in its output.

Every function is pure.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapes
from views import Window, grid, tiles

from serving.api import Array

CONTRAST = 8  # grey levels of 256; a flatter picture counts as empty, since stretching it would amplify noise
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # of ImageNet


class Sight(Protocol):
    """The use of a model: how its input is made of a picture, and its output turned into labels."""

    @property
    def longest(self) -> int:
        """Return the most pixels of the longer side; a larger picture is shrunk."""

    @property
    def kinds(self) -> int:
        """Return how many maps of the model's first output are used."""

    def prepared(self, picture: Array) -> Array:
        """Return the array that windows are cut from, [height, width, ...]. picture: RGB, uint8 [height, width, 3].

        The array may have an additional margin at the right and below.
        """

    def windows(self, height: int, width: int) -> list[Window]:
        """Return the windows that are shown to the model one by one."""

    def row(self, pixels: Array, window: Window) -> Array:
        """Return the model's input for a window: float32 [1, channels, height, width]."""

    def seen(self, output: Array, window: Window) -> Array:
        """Return the maps of a window, [kinds, height, width]. output: the model's first output."""

    def told_apart(self, maps: Array) -> tuple[Array, Array]:
        """Return labels, int32 [height, width], 0 for none, and the probability that a pixel belongs to a thing, 0 to 1."""


@dataclass(frozen=True)
class Unet:
    """Finds things by three classes: background, inside and boundary. The inside is taken apart at necks, then grown.

    The net pools twice, so sides are multiples of 4, and a pixel's result depends on pixels up to 24 away. `inside`, `depth`
    and `grow` were chosen on the left half of nuclei.png, the training data. Half of the boundary class lies outside the
    things, so the inside grows into only a part of it.
    """

    inside: float = 0.7
    depth: float = 0.7
    grow: float = 1.0  # pixels of the picture that the model sees
    least: int = 20  # pixels of an instance
    longest: int = 2048
    side: int = 512
    halo: int = 24
    kinds: int = 2

    def prepared(self, picture: Array) -> Array:
        """Stretch the grey picture so that its 1st percentile is 0 and its 99.8th is 1, as in training."""
        grey = shapes.grey(picture).astype(np.float32)
        low, high = np.percentile(grey, (1, 99.8))
        grey = (grey - low) / max(high - low, 1) if high - low >= CONTRAST else np.zeros_like(grey)
        height, width = grey.shape
        return np.pad(grey.astype(np.float32), ((0, -height % 4), (0, -width % 4)), mode="edge")

    def windows(self, height: int, width: int) -> list[Window]:
        return tiles(height, width, self.side, self.halo)

    def row(self, pixels: Array, window: Window) -> Array:
        return np.asarray(pixels[None, None, window.rows, window.columns])

    def seen(self, output: Array, window: Window) -> Array:
        return np.asarray(output[0, :2])

    def told_apart(self, maps: Array) -> tuple[Array, Array]:
        background, inside = maps
        seeds = shapes.parted(inside > self.inside, self.depth)
        return shapes.larger(shapes.grown(seeds, self.grow), self.least), 1 - background


@dataclass(frozen=True)
class Salient:
    """Finds things by one mask of what stands out: its connected parts, taken apart at necks where depth is set.

    A window is shown as 320 x 320 whatever its shape, as in training. count: windows a side. share: a window's part of a side.
    least: an instance's part of the picture's pixels.
    """

    count: int = 1
    share: float = 1.0
    depth: float = 0.0
    least: float = 0.001
    longest: int = 1024
    kinds: int = 1

    def prepared(self, picture: Array) -> Array:
        return picture

    def windows(self, height: int, width: int) -> list[Window]:
        return grid(height, width, self.count, self.share)

    def row(self, pixels: Array, window: Window) -> Array:
        """Divide by the largest value, then centre by ImageNet's mean and deviation, as U2-Net was trained."""
        square = shapes.resized(pixels[window.rows, window.columns], 320, 320).astype(np.float32)
        square = (square / max(square.max(), 1) - MEAN) / DEVIATION
        return np.ascontiguousarray(square.transpose(2, 0, 1)[None])

    def seen(self, output: Array, window: Window) -> Array:
        height, width = window.weight.shape
        return shapes.resized(np.asarray(output[0, 0]), width, height)[None]

    def told_apart(self, maps: Array) -> tuple[Array, Array]:
        certainty = maps[0]
        mask = certainty > 0.5
        labels = shapes.parted(mask, self.depth) if self.depth else shapes.parts(mask)
        return shapes.larger(labels, self.least * mask.size), certainty


@dataclass(frozen=True)
class Material:
    """A material. label: the name of one thing of it. file: its common model, in model/. sight: how the model is used."""

    label: str
    file: str
    sight: Sight


MATERIALS = {
    "coins": Material("coin", "u2netp-dyn.onnx", Salient(count=3, share=0.5, depth=0.5, least=0.002)),
    "nuclei": Material("nucleus", "unet.onnx", Unet()),
    "objects": Material("object", "u2netp-dyn.onnx", Salient()),
}
