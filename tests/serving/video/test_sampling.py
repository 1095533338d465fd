"""The choice of the frames that are judged, with honest and dishonest timestamps."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from serving.video.sampling import FAST, MAX_RATE, Clock, Sampling, clock_words, container, steps

TWENTY_FIFTH = Fraction(1, 25)


def taken(times: Sequence[float | None], wanted: Sampling | None = None) -> list[float]:
    """Return the seconds of the frames that a clock takes. times: of packets that hold one frame each."""
    clock, found = Clock(wanted or Sampling(), TWENTY_FIFTH), []
    for time in times:
        exact = None if time is None else Fraction(time).limit_denominator(1000)
        skipped = clock.passes_over(exact)
        if clock.wants(exact):
            assert not skipped, "a frame that is a sample would not have been decoded"
            found.append(float(clock.now))
    return found


def test_one_frame_a_second_is_taken_by_its_time_and_not_by_counts() -> None:
    assert taken([at / 25 for at in range(100)]) == [0, 1, 2, 3]
    assert taken([0, 0.04, 0.3, 0.31, 2.5, 2.6, 7.0, 7.3]) == [0, 2.5, 7]
    assert taken([0, 0.999, 1.001, 1.999, 2.0]) == [0, 1.001, 2]


def test_the_step_and_the_start_may_be_others_and_every_frame_may_be_wanted() -> None:
    ten = [at / 10 for at in range(25)]
    assert taken(ten, Sampling(every=0.5)) == [0, 0.5, 1, 1.5, 2]
    assert taken(ten, Sampling(every=1, start=0.7)) == [0.7, 1.7]
    assert taken(ten, Sampling(every=0)) == ten
    assert len(taken([at / 60 for at in range(1200)], Sampling(every=10))) == 2, "a long step hides no frame"


@pytest.mark.parametrize("start", [-2, 5, 1000.5])
def test_seconds_count_from_the_first_frame(start: float) -> None:
    assert taken([start + at / 10 for at in range(25)]) == [0, 1, 2]


def test_frames_without_a_time_come_a_frames_time_after_the_last() -> None:
    assert taken([None] * 60) == [0, 1, 2]
    assert taken([0, None, 0.98, None, None]) == [0, 1.02]


def test_nothing_can_hide_behind_timestamps_that_stand_still_or_run_backwards() -> None:
    assert len(taken([5.0] * 1000)) == 1 + 999 // (MAX_RATE + 1)
    assert len(taken([500 - at / 25 for at in range(1000)])) == 1 + 999 // (MAX_RATE + 1)


def test_between_frames_that_follow_each_other_too_fast_to_be_seen_further_ones_are_taken() -> None:
    assert taken([at / 1000 for at in range(2000)]) == [0, 0.241, 0.482, 0.723, 0.964, 1, 1.241, 1.482, 1.723, 1.964]
    assert taken([at / 240 for at in range(720)]) == [0, 1, 2], "a phone's slow motion is sampled like any video"


def test_the_end_is_the_latest_frames_and_a_frame_is_as_long_as_the_rate_says() -> None:
    clock = Clock(Sampling(), TWENTY_FIFTH)
    for time in (0, Fraction(3, 2), 1):
        clock.wants(Fraction(time))
    assert clock.end == Fraction(3, 2) + TWENTY_FIFTH


def test_containers_are_told_by_their_first_bytes_and_nothing_else_is_opened() -> None:
    assert container(b"\0\0\0\x20ftypisom") == container(b"\0\0\0\x08wide\0\0\0\0mdat") == "mov"
    assert container(b"\x1aE\xdf\xa3\x01") == "matroska"
    assert container(b"RIFF\0\0\0\0AVI LIST") == "avi"
    assert (container(b"FLV\1\5"), container(b"G" + bytes(187) + b"G" + bytes(187))) == ("flv", "mpegts")
    for other in (b"", b"#EXTM3U\n", b"ffconcat version 1.0\n", b"RIFF\0\0\0\0WAVE", b"G" + bytes(300), b"FLV\2", b"v=0\r\n"):
        assert container(other) == ""


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"avif", b"avis"])
def test_a_phones_photo_is_no_video_though_it_begins_like_one(brand: bytes) -> None:
    assert container(b"\0\0\0\x18ftyp" + brand + bytes(20)) == ""


def test_times_are_written_as_players_do() -> None:
    assert [clock_words(s) for s in (0, 7.9, 750, 10800)] == ["0:00", "0:07", "12:30", "3:00:00"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": -1}, "every is -1; it must be a number from 0 to 1000000000"),
        ({"every": float("nan")}, "every is nan"),
        ({"at_most": 0}, "at_most is 0; it must be a number from 1 to"),
        ({"at_most": 100_001}, "at_most is 100001; it must be at most 100000"),
        ({"at_least": (256,)}, "it must be a width and a height in pixels"),
        ({"start": 5, "end": 5}, "the end must come after the start"),
        ({"mode": "slow"}, "sampling is 'slow'; it must be 'exact', 'fast' or 'keys'"),
        ({"mode": "fast", "every": 0}, "fast needs a step, as every=1.0"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Sampling(**arguments)


def test_a_frame_is_scaled_to_the_smallest_size_of_its_shape_that_suffices() -> None:
    assert Sampling(at_least=(256, 256)).size(1920, 1080) == (455, 256)
    assert Sampling(at_least=(256, 256)).size(1080, 1920) == (256, 455)
    assert Sampling(at_least=(256, 256)).size(200, 1000) == (200, 1000), "never up"
    assert Sampling().size(1920, 1080) == (1920, 1080)


def test_the_part_that_is_read_follows_from_its_limits() -> None:
    assert Sampling().seconds(60) == 60
    assert Sampling(at_most=10).seconds(60) == 10
    assert Sampling(start=50, end=55).seconds(60) == 5
    assert Sampling(start=70).seconds(60) == 0


def test_a_key_frame_within_half_a_step_answers_it_and_else_the_frames_behind_the_last_one() -> None:
    second, half = Sampling(every=1, mode=FAST), Sampling(every=0.5, mode=FAST)
    assert steps(second, [0, 1.04, 2.1, 2.9], 3.5) == {0: [0], 1: [1.04], 2: [2.1], 3: [2.9]}
    assert steps(second, [0, 4], 5) == {0: [0, 1, 2, 3], 1: [4, 5]}
    assert steps(half, [0, 0.9], 1.2) == {0: [0, 0.5], 1: [0.9]}
    assert steps(Sampling(every=1, mode=FAST, start=2, end=4), [0, 4], 9) == {0: [2, 3]}
    assert steps(Sampling(every=1, at_most=2, mode=FAST), [0, 4], 9) == {0: [0, 1]}
