"""Which frames of a video are looked at, and what a video may be. Pure: the standard library alone.

Knows timestamps and limits. Does not know containers, codecs, models or processes.
"""

from dataclasses import dataclass
from fractions import Fraction

SIDE = 256  # pixels of a sample's side
STEP = 1  # seconds between samples
LEAST_MIB = 160  # of decode_mib: the libraries take 125 before anything is decoded
MOST_BETWEEN = 240  # frames between samples, whatever their timestamps claim: a second of a phone's slow motion

# The first bytes of a container -> FFmpeg's name of it. What is not here is never opened: playlists and scripts name files.
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # one of them begins an mp4 or mov, after its length
PHOTOS = (b"hei", b"hev", b"mif1", b"msf1", b"avi")  # what follows ftyp in HEIC and AVIF: pictures, in a video's container


@dataclass(frozen=True)
class Limits:
    """What a video may be, by the names of value.py's options. Raises ValueError where one is not a whole number, or too small.

    most_pixels: of a frame. most_seconds: from its first frame. most_frames: that it has in all.
    decode_seconds: of one core. decode_mib: of memory, the libraries of its process counted in.
    """

    most_pixels: int = 1920 * 1088
    most_seconds: int = 600
    most_frames: int = 36_000
    decode_seconds: int = 30
    decode_mib: int = 384

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = LEAST_MIB if name == "decode_mib" else 1
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} on")


@dataclass(frozen=True)
class Sample:
    """One frame. seconds: since the first. turn: degrees counterclockwise until it is upright. pixels: SIDE x SIDE, BGR."""

    seconds: float
    turn: int
    pixels: bytes


@dataclass(frozen=True)
class Ending:
    """What is known of a video when all of it was read: whether parts could not be, and where its pictures end."""

    damaged: bool
    seconds: float


class Refused(Exception):
    """A video that is not judged. reason: one of few words, for metrics. The text is for who sent it."""

    def __init__(self, reason: str, words: str):
        super().__init__(words)
        self.reason = reason


class Clock:
    """Samples the first frame, and the first one of each second after it.

    Timestamps are the sender's claims. A frame without one comes a frame's time after the last; and where they stand still,
    run backwards or creep, a frame is taken after MOST_BETWEEN others, so that no part of a video can hide behind them.
    """

    def __init__(self, frame_time: Fraction):
        self._frame_time = frame_time
        self._first: Fraction | None = None
        self._mark = Fraction(0)
        self._since = 0  # packets since the last sample
        self.now = Fraction(0)  # of the last frame, since the first
        self.end = Fraction(0)  # of the latest frame so far

    def passes_over(self, time: Fraction | None) -> bool:
        """Count a packet. Return whether the frame in it is surely no sample."""
        self._since += 1
        if time is None or self._first is None or self._since > MOST_BETWEEN:
            return False
        return time - self._first < self._mark

    def samples(self, time: Fraction | None) -> bool:
        """Return whether a decoded frame is a sample; its seconds are `now`."""
        if self._first is None:
            self._first = time or Fraction(0)
        elif time is None:
            self.now += self._frame_time
        else:
            self.now = time - self._first
        self.end = max(self.end, self.now + self._frame_time)
        if self.now < self._mark and self._since <= MOST_BETWEEN:
            return False
        self._mark = max(self._mark, Fraction(self.now // STEP * STEP + STEP))
        self._since = 0
        return True


def container(video: bytes) -> str:
    """Return FFmpeg's name of a video's container, by its first bytes; "" for all but mp4, mov, webm, mkv and avi."""
    if video[4:8] in BOXES:
        return "" if video[4:8] == b"ftyp" and video[8:12].startswith(PHOTOS) else "mov"
    if video[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    return "avi" if video[:4] == b"RIFF" and video[8:12] == b"AVI " else ""


def clock_words(seconds: float) -> str:
    """Return a time as players show it: 0:07, 12:30, 3:00:00."""
    whole = int(seconds)
    minutes = f"{whole // 60}" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02}"
    return f"{minutes}:{whole % 60:02}"
