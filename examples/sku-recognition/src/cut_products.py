"""Cuts the pictures of the example's hundred products: `python cut_products.py examples/images FOLDER`.

Each picture is cut into squares that do not overlap, and the hundred with the most detail are kept, so that the same pictures
give the same products. A product shows whatever lies in its square, such as a petal, a roof or an ear.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SIDE = 96  # pixels of a product's picture
PRODUCTS = 100
PHOTOS = ("astronaut.jpg", "chelsea.jpg", "china.jpg", "coffee.jpg", "coins.png", "flower.jpg", "rocket.jpg")


def squares(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Yield the squares of a grid in the photo's middle, each with its row and column."""
    columns, rows = photo.width // SIDE, photo.height // SIDE
    left, top = (photo.width - columns * SIDE) // 2, (photo.height - rows * SIDE) // 2
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * SIDE, top + row * SIDE
            yield f"{row}{column}", photo.crop((x, y, x + SIDE, y + SIDE))


def detail(square: Image.Image) -> float:
    """Return the mean slope of the brightness after grain is smoothed away. It is 0 for a blank square."""
    grey = np.asarray(square.convert("L").filter(ImageFilter.GaussianBlur(1)), np.float64)
    return float(np.hypot(*np.gradient(grey)).mean())


def products(folder: Path) -> dict[str, Image.Image]:
    """Return the products by name."""
    found = {
        f"{photo.split('.')[0]}-{place}": square
        for photo in PHOTOS
        for place, square in squares(Image.open(folder / photo).convert("RGB"))
    }
    best = sorted(found, key=lambda name: -detail(found[name]))[:PRODUCTS]
    return {name: found[name] for name in sorted(best)}


if __name__ == "__main__":
    for product, picture in products(Path(sys.argv[1])).items():
        picture.save(Path(sys.argv[2]) / f"{product}.jpg", quality=90)
