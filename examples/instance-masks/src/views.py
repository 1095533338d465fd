"""Cuts a picture into windows for a model, and joins the windows' results to one map."""

from typing import NamedTuple

import numpy as np

from serving.api import Array


class Window(NamedTuple):
    """A part of a picture: its rows and columns, and the weight of each of its pixels, [height, width]."""

    rows: slice
    columns: slice
    weight: Array


class Mosaic:
    """The weighted mean of the windows' maps, [kinds, height, width]. The windows cover the picture. One thread builds it."""

    def __init__(self, kinds: int, height: int, width: int):
        self._kinds = kinds
        self._sum = np.zeros((kinds, height, width), np.float32)
        self._weight = np.zeros((height, width), np.float32)

    def put(self, window: Window, maps: Array) -> None:
        """Add the maps of a window. Raises ValueError where they have another size."""
        wanted = (self._kinds, *window.weight.shape)
        if maps.shape != wanted:
            raise ValueError(f"a window's maps have shape {maps.shape}, not {wanted}: the model gives another kind of output")
        self._sum[:, window.rows, window.columns] += maps * window.weight
        self._weight[window.rows, window.columns] += window.weight

    def maps(self) -> Array:
        return np.asarray(self._sum / self._weight)


def tiles(height: int, width: int, side: int, halo: int) -> list[Window]:
    """Return windows of at most `side` that overlap by two halos or more. All but the halos of each counts.

    If a net's result depends on no pixel farther than the halo, it is the same as on the whole picture. Sides, halos and
    the windows' first rows and columns are multiples of 4, so that pooling joins the same pixels.
    """
    return [
        Window(slice(*rows), slice(*columns), np.outer(_kept(rows, height, halo), _kept(columns, width, halo)))
        for rows in _spans(height, side, halo)
        for columns in _spans(width, side, halo)
    ]


def grid(height: int, width: int, count: int, share: float) -> list[Window]:
    """Return count x count windows, evenly spread. share: a window's part of each side.

    The weights are a Hann window's. They fall to almost 0 at the edges, since a thing that an edge cuts is whole in the next
    window.
    """
    if count == 1:
        return [Window(slice(0, height), slice(0, width), np.ones((height, width), np.float32))]
    return [
        Window(slice(*rows), slice(*columns), np.outer(_hann(rows), _hann(columns)))
        for rows in _even(height, count, share)
        for columns in _even(width, count, share)
    ]


def _spans(length: int, side: int, halo: int) -> list[tuple[int, int]]:
    if length <= side:
        return [(0, length)]
    step = side - 2 * halo
    starts = range(0, length - side + step, step)
    return [(start, min(start + side, length)) for start in starts]


def _kept(span: tuple[int, int], length: int, halo: int) -> Array:
    weight = np.zeros(span[1] - span[0], np.float32)
    weight[halo if span[0] > 0 else 0 : len(weight) - halo if span[1] < length else None] = 1
    return weight


def _even(length: int, count: int, share: float) -> list[tuple[int, int]]:
    side = max(1, round(length * share))
    return [(start, start + side) for start in (int(s) for s in np.linspace(0, length - side, count).round())]


def _hann(span: tuple[int, int]) -> Array:
    side = span[1] - span[0]
    return (np.hanning(side + 2)[1:-1] + 1e-3).astype(np.float32)
