"""open_nsfw's input, and what its scores mean. Pure.

Knows pixels, scores and the rule of the verdict. Does not know videos, requests or how the model is run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from sampling import SIDE, Sample

from serving.api import Array

MEAN = np.array([104, 117, 123], np.float32)  # blue, green, red: of the pictures that the model was trained on
CROP = 224  # pixels of a side, from the middle of SIDE


@dataclass(frozen=True)
class Rule:
    """What is nsfw: a frame, from a score of frame_from on; a video, of whose frames a share of video_share is, or one of which
    has a score of sure_from.

    Raises ValueError where one is not above 0 and up to 1.
    """

    frame_from: float = 0.8
    video_share: float = 0.1
    sure_from: float = 0.95

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str | bool) or not 0 < value <= 1:
                raise ValueError(f"{name} is {value!r}; it must be a number above 0, up to 1")

    def share(self, scores: Sequence[float]) -> float:
        """Return which part of the frames is nsfw, 0 to 1."""
        return sum(score >= self.frame_from for score in scores) / len(scores)

    def label(self, scores: Sequence[float]) -> str:
        """Return "nsfw" or "safe" for the scores of a video's frames, or for a picture's one."""
        return "nsfw" if self.share(scores) >= self.video_share or max(scores) >= self.sure_from else "safe"


def of_picture(picture: Image.Image) -> Array:
    """Return an RGB picture as the model's pixels, by open_nsfw's own way: uint8 [SIDE, SIDE, 3], blue, green, red."""
    return _by_jpeg(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def of_sample(sample: Sample) -> Array:
    """Return a video's sample as the model's pixels, upright: uint8 [SIDE, SIDE, 3], blue, green, red."""
    pixels = np.frombuffer(sample.pixels, np.uint8).reshape(SIDE, SIDE, 3)[..., ::-1]
    return _by_jpeg(Image.fromarray(np.ascontiguousarray(np.rot90(pixels, round(sample.turn / 90)))))


def _by_jpeg(picture: Image.Image) -> Array:
    """Return a picture's pixels after open_nsfw's detour: it saves what it has shrunk, and reads that. It moves a score."""
    saved = BytesIO()
    picture.save(saved, "JPEG")
    return np.asarray(Image.open(saved))[..., ::-1]


def rows(pixels: Sequence[Array]) -> Array:
    """Return the model's rows: float32 [n, CROP, CROP, 3], the middle of each, minus the mean."""
    edge = (SIDE - CROP) // 2
    return np.stack([each[edge : edge + CROP, edge : edge + CROP] for each in pixels]).astype(np.float32) - MEAN
