"""The verdict's rule, and the model's rows."""

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
    picture = Image.new("RGB", (512, 512), (10, 20, 30))
    picture.paste((200, 0, 0), (0, 0, 20, 512))  # the left 10 of 256 pixels: cut away
    rows = nsfw.rows([nsfw.of_picture(picture)] * 2)
    assert rows.shape == (2, 224, 224, 3)
    assert rows.dtype == np.float32
    assert rows.reshape(-1, 3).min(0).tolist() == rows.reshape(-1, 3).max(0).tolist() == [30 - 104, 20 - 117, 10 - 123]
