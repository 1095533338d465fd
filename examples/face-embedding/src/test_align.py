"""Faces are turned upright, and small, blurred or turned ones have a lower quality."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).parent))

import align
from pixels import open_photo

from serving.api import Array
from tests.running import ROOT

POINTS = np.array([[[204.2, 100.8], [247.2, 103.1], [224.9, 128.7], [201.7, 139.8], [245.6, 141.6]]])  # of the astronaut


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    with Image.open(ROOT / "examples/images/astronaut.jpg") as picture:
        return picture.convert("RGB")


def quality(picture: Image.Image, points: Array) -> float:
    chips = align.chips(open_photo(picture), points)
    return float(align.quality(np.ones(1), points, chips)[0])


def test_a_face_that_lies_as_dlib_wants_it_is_its_own_chip(astronaut: Image.Image) -> None:
    picture = astronaut.crop((150, 40, 300, 190))
    (chip,) = align.chips(open_photo(picture), align.PLACES[None])
    assert np.abs(chip.transpose(1, 2, 0) - np.asarray(picture, np.float32)).max() < 0.01


@pytest.mark.parametrize("degrees", [-35, 20, 90, 180])
def test_a_turned_face_gives_the_chip_of_the_upright_one(astronaut: Image.Image, degrees: int) -> None:
    turned = astronaut.rotate(degrees, Image.Resampling.BICUBIC)
    turn = np.exp(-1j * np.radians(degrees))
    places = (POINTS @ np.array([1, 1j]) - (256 + 256j)) * turn + (256 + 256j)
    (one,) = align.chips(open_photo(astronaut), POINTS)
    (other,) = align.chips(open_photo(turned), np.stack([places.real, places.imag], -1))
    assert np.abs(one - other).mean() < 5


def test_a_large_face_is_scaled_down_without_noise(astronaut: Image.Image) -> None:
    large = astronaut.resize((4096, 4096), Image.Resampling.BICUBIC)
    (one,) = align.chips(open_photo(astronaut), POINTS)
    (other,) = align.chips(open_photo(large), POINTS * 8)
    assert np.abs(one - other).mean() < 5


def test_blur_lowers_the_quality(astronaut: Image.Image) -> None:
    found = [quality(astronaut.filter(ImageFilter.GaussianBlur(radius)), POINTS) for radius in (0, 1, 2, 4)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.85
    assert found[-1] < 0.5


def test_smallness_lowers_the_quality(astronaut: Image.Image) -> None:
    shares = (2.0, 1.0, 0.5, 0.25)
    found = [quality(astronaut.resize((int(512 * s), int(512 * s)), Image.Resampling.LANCZOS), POINTS * s) for s in shares]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.65 < 0.85 < found[0]


def test_darkness_does_not(astronaut: Image.Image) -> None:
    assert quality(astronaut.point(lambda value: value * 0.5), POINTS) == pytest.approx(quality(astronaut, POINTS), abs=0.02)


def test_a_head_that_turns_away_is_less_frontal() -> None:
    found = []
    for nose in (74.0, 80.0, 90.0, 100.0):
        points = np.array([[(47.5, 46.6), (100.5, 46.6), (nose, 76.6), (50.4, 103), (97.6, 103)]])
        found.append(float(align.frontal(points)[0]))
    assert found[0] == pytest.approx(1)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.05


def test_the_head_leaned_to_a_side_is_as_frontal_as_upright() -> None:
    leaned = align.PLACES @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    assert align.frontal(leaned[None])[0] == pytest.approx(align.frontal(align.PLACES[None])[0])


def test_quality_stays_between_0_and_1_for_points_that_are_one() -> None:
    points = np.full((1, 5, 2), 7.0)
    value = align.quality(np.ones(1), points, align.chips(open_photo(Image.new("RGB", (100, 100))), points))
    assert 0 <= value[0] <= 1
