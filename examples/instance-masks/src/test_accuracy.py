"""The accuracy of the models on the committed pictures, through the real server.

Nuclei are judged on the right half of nuclei.png, since unet was trained on the left half. F1 counts a pair as found where its
intersection over union is over 0.5, which makes pairs one to one. The masks of the coins were made by hand, see
tests/README.md.
"""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]

from serving.api import Array
from tests.running import ROOT, Running, get, running

EXAMPLE, IMAGES = ROOT / "examples/instance-masks", ROOT / "examples/images"
MIDDLE = 256  # of nuclei.png, in pixels

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(EXAMPLE) as it:
        yield it


def pixels(path: Path) -> Array:
    with Image.open(path) as picture:
        return np.asarray(picture)


def masks_found(service: Running, picture: Array, material: str) -> list[Array]:
    out = BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    url = f"{service.url}/api/like/instance-masks/detect?masks=rle&material={material}"
    status, body = get(url, out.getvalue(), {"Content-Type": "image/png"})
    assert status == 200, body
    results = json.loads(body)["results"]
    assert (results["height"], results["width"]) == picture.shape
    return [coco.decode(coco.frPyObjects(each["rle"], *picture.shape)) > 0 for each in results["instances"]]


def masks_of(labels: Array) -> list[Array]:
    return [labels == number for number in range(1, int(labels.max()) + 1) if (labels == number).any()]


def matched(found: list[Array], true: list[Array]) -> int:
    """Return how many true masks are matched by one that was found, with an intersection over union of more than 0.5."""
    return sum(max(((f & t).sum() / (f | t).sum() for f in found if (f & t).any()), default=0) > 0.5 for t in true)


def f1(found: list[Array], true: list[Array]) -> float:
    return 2 * matched(found, true) / (len(found) + len(true))


def test_nuclei_of_the_right_half_sent_alone(service: Running) -> None:
    """The right half is sent as a picture of its own. Nuclei that its edge cuts are cut in the true masks too."""
    found = masks_found(service, pixels(IMAGES / "nuclei.png")[:, MIDDLE:], "nuclei")
    true = masks_of(pixels(IMAGES / "nuclei-mask.png")[:, MIDDLE:])
    assert len(true) == 57
    assert f1(found, true) >= 0.9  # 0.93 was seen: 54 of 57, among 59 found


def test_nuclei_of_the_right_half_of_the_whole_picture(service: Running) -> None:
    """A nucleus, true or found, belongs to the half in which its centre of mass lies."""

    def right(masks: list[Array]) -> list[Array]:
        return [mask for mask in masks if np.nonzero(mask)[1].mean() >= MIDDLE]

    found = right(masks_found(service, pixels(IMAGES / "nuclei.png"), "nuclei"))
    true = right(masks_of(pixels(IMAGES / "nuclei-mask.png")))
    assert len(true) == 54
    assert f1(found, true) >= 0.9  # 0.94 was seen: 51 of 54, among 55 found


def test_all_coins_are_found_and_nothing_else(service: Running) -> None:
    true = masks_of(pixels(EXAMPLE / "tests/coins-mask.png"))
    assert len(true) == 24
    assert min(mask.sum() for mask in true) == 1065  # the smallest instance that is told has 0.2 % of the picture: 233
    found = masks_found(service, pixels(IMAGES / "coins.png"), "coins")
    assert (matched(found, true), len(found)) == (24, 24)


def test_as_objects_the_model_sees_four_coins_as_one(service: Running) -> None:
    """Coins are a material of their own since one look at the whole picture misses coins that nine windows find."""
    found = masks_found(service, pixels(IMAGES / "coins.png"), "objects")
    assert (matched(found, masks_of(pixels(EXAMPLE / "tests/coins-mask.png"))), len(found)) == (20, 21)
