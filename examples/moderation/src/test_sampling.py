"""The choice of the frames that are judged, with honest and dishonest timestamps."""

from fractions import Fraction

import pytest
from sampling import MAX_BETWEEN, Clock, Limits, clock_words, container

TWENTY_FIFTH = Fraction(1, 25)


def taken(times: list[float | None]) -> list[float]:
    """Return the seconds of the frames that a clock takes. times: of packets that hold one frame each."""
    clock, found = Clock(TWENTY_FIFTH), []
    for time in times:
        exact = None if time is None else Fraction(time).limit_denominator(1000)
        skipped = clock.passes_over(exact)
        if clock.samples(exact):
            assert not skipped, "a frame that is a sample would not have been decoded"
            found.append(float(clock.now))
    return found


def test_one_frame_a_second_is_taken_by_its_time_and_not_by_counts() -> None:
    assert taken([at / 25 for at in range(100)]) == [0, 1, 2, 3]
    assert taken([0, 0.04, 0.3, 0.31, 2.5, 2.6, 7.0, 7.3]) == [0, 2.5, 7]
    assert taken([0, 0.999, 1.001, 1.999, 2.0]) == [0, 1.001, 2]


@pytest.mark.parametrize("start", [-2, 5, 1000.5])
def test_seconds_count_from_the_first_frame(start: float) -> None:
    assert taken([start + at / 10 for at in range(25)]) == [0, 1, 2]


def test_frames_without_a_time_come_a_frames_time_after_the_last() -> None:
    assert taken([None] * 60) == [0, 1, 2]
    assert taken([0, None, 0.98, None, None]) == [0, 1.02]


def test_nothing_can_hide_behind_timestamps_that_stand_still_or_run_backwards() -> None:
    assert len(taken([5.0] * 1000)) == 1 + 999 // (MAX_BETWEEN + 1)
    assert len(taken([500 - at / 25 for at in range(1000)])) == 1 + 999 // (MAX_BETWEEN + 1)


def test_between_frames_that_follow_each_other_too_fast_to_be_seen_further_ones_are_taken() -> None:
    assert taken([at / 1000 for at in range(2000)]) == [0, 0.241, 0.482, 0.723, 0.964, 1, 1.241, 1.482, 1.723, 1.964]
    assert taken([at / 240 for at in range(720)]) == [0, 1, 2], "a phone's slow motion is sampled like any video"


def test_the_end_is_the_latest_frames_and_a_frame_is_as_long_as_the_rate_says() -> None:
    clock = Clock(TWENTY_FIFTH)
    for time in (0, Fraction(3, 2), 1):
        clock.samples(Fraction(time))
    assert clock.end == Fraction(3, 2) + TWENTY_FIFTH


def test_containers_are_told_by_their_first_bytes_and_nothing_else_is_opened() -> None:
    assert container(b"\0\0\0\x20ftypisom") == container(b"\0\0\0\x08wide\0\0\0\0mdat") == "mov"
    assert container(b"\x1aE\xdf\xa3\x01") == "matroska"
    assert container(b"RIFF\0\0\0\0AVI LIST") == "avi"
    for other in (b"", b"#EXTM3U\n", b"ffconcat version 1.0\n", b"RIFF\0\0\0\0WAVE", b"G" + bytes(187), b"FLV\1", b"v=0\r\n"):
        assert container(other) == ""


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"avif", b"avis"])
def test_a_phones_photo_is_no_video_though_it_begins_like_one(brand: bytes) -> None:
    assert container(b"\0\0\0\x18ftyp" + brand + bytes(20)) == ""


def test_times_are_written_as_players_do() -> None:
    assert [clock_words(s) for s in (0, 7.9, 750, 10800)] == ["0:00", "0:07", "12:30", "3:00:00"]


@pytest.mark.parametrize(
    ("name", "value"), [("most_seconds", 0), ("most_frames", True), ("most_pixels", 1.5), ("decode_mib", 50)]
)
def test_a_limit_is_a_whole_number_and_large_enough(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be a whole number from 1"):
        Limits(**{name: value})
