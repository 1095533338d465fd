"""Makes views of a product's picture for the tests, as a customer might photograph it.

For each view, every change is drawn evenly:

    window      75 to 100 % of each side, anywhere in the picture

    rotation    -15 to 15 degrees, with one random colour in the corners

    scale       0.6 to 1.5 of the window's pixels, so that small views lose detail

    brightness  0.7 to 1.3

    contrast    0.7 to 1.3

    blur        Gaussian, with a radius of 0 to 1.2 pixels

    JPEG        quality 40 to 90

Views are not flipped: the writing on a product can be read only one way, and two products may be mirror images.
"""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from PIL.Image import Resampling

PART = (0.75, 1.0)
DEGREES = (-15.0, 15.0)
SCALE = (0.6, 1.5)
BRIGHTNESS = CONTRAST = (0.7, 1.3)
BLUR = (0.0, 1.2)
QUALITY = (40, 90)


def view(picture: Image.Image, random: np.random.Generator) -> bytes:
    """Return one view of a picture, as a JPEG."""
    width, height = np.array(picture.size) * random.uniform(*PART)
    x, y = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
    corners = tuple(int(value) for value in random.integers(0, 256, 3))
    turned = picture.rotate(
        random.uniform(*DEGREES), Resampling.BICUBIC, center=(x + width / 2, y + height / 2), fillcolor=corners
    )
    scale = random.uniform(*SCALE)
    size = (round(width * scale), round(height * scale))
    seen = turned.resize(size, Resampling.BICUBIC, (x, y, x + width, y + height))
    seen = ImageEnhance.Brightness(seen).enhance(random.uniform(*BRIGHTNESS))
    seen = ImageEnhance.Contrast(seen).enhance(random.uniform(*CONTRAST))
    seen = seen.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR)))
    file = io.BytesIO()
    seen.save(file, "JPEG", quality=int(random.integers(QUALITY[0], QUALITY[1] + 1)))
    return file.getvalue()
