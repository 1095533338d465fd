"""Windows cover a picture, and their maps are one map again."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from views import Mosaic, Window, grid, tiles

SIZES = [(1, 1), (64, 64), (65, 300), (1000, 68), (511, 513)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    "make", [lambda h, w: tiles(h, w, 64, 8), lambda h, w: grid(h, w, 3, 0.5), lambda h, w: grid(h, w, 1, 1)]
)
def test_what_is_cut_is_put_together_again(height: int, width: int, make: object) -> None:
    assert callable(make)
    whole = np.random.default_rng(1).random((2, height, width), np.float32)
    mosaic = Mosaic(2, height, width)
    for window in make(height, width):
        mosaic.put(window, whole[:, window.rows, window.columns])
    assert np.allclose(mosaic.maps(), whole, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_each_pixel_counts_in_one_tile_alone_and_far_from_its_edges(height: int, width: int) -> None:
    total = np.zeros((height, width))
    for rows, columns, weight in tiles(height, width, 64, 8):
        total[rows, columns] += weight
        assert rows.start % 4 == columns.start % 4 == 0
        assert max(weight.shape) <= 64
        inner = weight[8 if rows.start else 0 : -8 if rows.stop < height else None]
        assert inner.sum() == weight.sum()
    assert (total == 1).all()


def test_maps_of_another_size_are_refused_in_words() -> None:
    window = Window(slice(0, 4), slice(0, 4), np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\), not \(2, 4, 4\): the model gives another kind of output"):
        Mosaic(2, 8, 8).put(window, np.zeros((1, 4, 4), np.float32))
