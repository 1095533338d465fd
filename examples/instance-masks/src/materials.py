"""The materials: which model looks for each, what it is shown, and how things are told apart in what it answers.

Knows pixels and the two models. Does not know requests, files or customers. Every function is pure.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapes
from views import Window, grid, tiles

from serving.api import Array

CONTRAST = 8  # grey levels of 256; a flatter picture is empty, and stretching it would show noise
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # of ImageNet


class Sight(Protocol):
    """A model, as far as it looks at pictures."""

    @property
    def longest(self) -> int:
        """Pixels of the longer side at most; a larger picture is shown smaller."""

    @property
    def kinds(self) -> int:
        """How many maps of the model's first output are used."""

    def prepared(self, picture: Array) -> Array:
        """Return what windows are cut from, [height, width, ...], of an RGB picture uint8 [height, width, 3].

        It may have grown a margin at the right and below.
        """

    def windows(self, height: int, width: int) -> list[Window]:
        """Return what is shown at a time."""

    def row(self, pixels: Array, window: Window) -> Array:
        """Return the model's input for a window: float32 [1, channels, height, width]."""

    def seen(self, output: Array, window: Window) -> Array:
        """Return the maps [kinds, height, width] of a window, of the model's first output."""

    def told_apart(self, maps: Array) -> tuple[Array, Array]:
        """Return labels, int32 [height, width], 0 for none; and how likely each pixel belongs to a thing, 0 to 1."""


@dataclass(frozen=True)
class Unet:
    """Background, inside, boundary: what is inside, taken apart at its necks and grown into the boundary.

    The net pools twice, so sides are multiples of 4; it sees 24 pixels far. `inside`, `depth` and `grow` were chosen on the
    left half of nuclei.png, which it was trained on: half of the boundary class lies without, so it is not taken whole.
    """

    inside: float = 0.7
    depth: float = 0.7
    grow: float = 1.0  # pixels, as the model is shown it
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
    """One mask of what stands out: its connected parts, or where depth is set those taken apart at their necks.

    count and share: windows a side, and their part of it. A window is shown as 320 x 320 whatever its shape, as in training.
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
    """label: what one thing of it is called. file: of its common model, in model/."""

    label: str
    file: str
    sight: Sight


MATERIALS = {
    "coins": Material("coin", "u2netp-dyn.onnx", Salient(count=3, share=0.5, depth=0.5, least=0.002)),
    "nuclei": Material("nucleus", "unet.onnx", Unet()),
    "objects": Material("object", "u2netp-dyn.onnx", Salient()),
}
