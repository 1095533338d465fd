"""The rule of the verdict, and the model's rows."""

import io

import nsfw
import numpy as np
import pytest
from PIL import Image

RULE = nsfw.Rule(frame_from=0.8, video_share=0.1, sure_from=0.95)


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ([0.79], "safe"),
        ([0.8], "nsfw"),
        ([0.1] * 9 + [0.8], "nsfw"),
        ([0.1] * 10 + [0.94], "safe"),
        ([0.1] * 10 + [0.95], "nsfw"),
        ([0.79] * 100, "safe"),
    ],
)
def test_a_video_is_nsfw_by_the_share_of_such_frames_or_by_one_sure_frame(scores: list[float], label: str) -> None:
    assert RULE.label(scores) == label


def test_the_share_is_that_of_nsfw_frames() -> None:
    assert RULE.share([0.9, 0.1, 0.8, 0.2]) == 0.5


@pytest.mark.parametrize("value", [0, -1, 1.1, True, "0.5"])
def test_a_threshold_is_above_0_and_up_to_1(value: float) -> None:
    with pytest.raises(ValueError, match=r"video_share is .*; it must be a number above 0, up to 1"):
        nsfw.Rule(video_share=value)


def test_the_models_rows_are_the_middle_in_blue_green_red_minus_the_mean() -> None:
    pixels = np.zeros((2, nsfw.SIDE, nsfw.SIDE, 3), np.uint8)
    pixels[:, 16:240, 16:240] = 30, 20, 10
    rows = nsfw.rows(list(pixels))
    assert rows.shape == (2, 224, 224, 3)
    assert rows.dtype == np.float32
    assert (rows == (30 - 104, 20 - 117, 10 - 123)).all()


def test_a_picture_is_shrunk_saved_as_a_jpeg_and_read_again_as_open_nsfw_was_meant_to_be_used() -> None:
    assert nsfw.of_picture(Image.new("RGB", (512, 300), (10, 20, 30)))[0, 0] == pytest.approx([30, 20, 10], abs=1)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (nsfw.SIDE, nsfw.SIDE, 3), np.uint8))
    saved = io.BytesIO()
    noise.save(saved, "JPEG")
    assert np.array_equal(nsfw.of_picture(noise)[..., ::-1], np.asarray(Image.open(saved)))
