"""Makes open_nsfw's input, and turns its scores into a verdict. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from serving.api import Array

MEAN = np.array([104, 117, 123], np.float32)  # mean blue, green and red of the training pictures
SIDE = 256  # pixels of a side of a shrunk picture
CROP = 224  # pixels of a side, cut from the middle of SIDE


@dataclass(frozen=True)
class Rule:
    """The thresholds that make a picture or a video nsfw.

    frame_from: the least score of an nsfw picture or frame. video_share: the least part of nsfw frames that makes a video
    nsfw. sure_from: the least score of a single frame that makes a video nsfw.
    Raises ValueError where one is not above 0 and at most 1.
    """

    frame_from: float = 0.8
    video_share: float = 0.1
    sure_from: float = 0.95

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str | bool) or not 0 < value <= 1:
                raise ValueError(f"{name} is {value!r}; it must be a number above 0, up to 1")

    def share(self, scores: Sequence[float]) -> float:
        """Return the part of the frames that is nsfw, 0 to 1."""
        return sum(score >= self.frame_from for score in scores) / len(scores)

    def label(self, scores: Sequence[float]) -> str:
        """Return "nsfw" or "safe" for a video or a picture. scores: of each frame of the video, or of the one picture."""
        return "nsfw" if self.share(scores) >= self.video_share or max(scores) >= self.sure_from else "safe"


def of_picture(picture: Image.Image) -> Array:
    """Return an RGB picture's pixels, prepared as open_nsfw does it: uint8 [SIDE, SIDE, 3], blue, green, red."""
    return _by_jpeg(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def of_frame(pixels: Array) -> Array:
    """Return a video's frame as `of_picture` returns a picture. pixels: uint8 [height, width, 3], RGB."""
    return of_picture(Image.fromarray(pixels))


def _by_jpeg(picture: Image.Image) -> Array:
    """Return a picture's pixels after it was saved as JPEG and read again.

    open_nsfw does this with each shrunk picture, and its scores depend on it.
    """
    saved = BytesIO()
    picture.save(saved, "JPEG")
    return np.asarray(Image.open(saved))[..., ::-1]


def rows(pixels: Sequence[Array]) -> Array:
    """Return the model's rows, the middle of each picture minus MEAN: float32 [n, CROP, CROP, 3]."""
    edge = (SIDE - CROP) // 2
    return np.stack([each[edge : edge + CROP, edge : edge + CROP] for each in pixels]).astype(np.float32) - MEAN
