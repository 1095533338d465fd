"""Chooses the frames of a video that are judged, and bounds what a video may be. Uses the standard library alone."""

from dataclasses import dataclass
from fractions import Fraction

SIDE = 256  # pixels of a sample's side
STEP = 1  # seconds between samples
LEAST_MIB = 160  # the least decode_mib; the libraries take 125 MiB before anything is decoded
MAX_BETWEEN = 240  # frames between two samples at most, whatever their timestamps; a second of a phone's slow motion

# A container is recognised by its first bytes. No other file is ever opened, since playlists and scripts name further files.
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # an mp4 or mov begins with a length and one of these
PHOTOS = (b"hei", b"hev", b"mif1", b"msf1", b"avi")  # HEIC and AVIF have one after ftyp; they hold pictures, not videos


@dataclass(frozen=True)
class Limits:
    """The limits of a video, named like value.py's options.

    most_pixels: of one frame. most_seconds: from the first frame to the last. most_frames: of the whole video.
    decode_seconds: of one core, to decode it. decode_mib: MiB of memory of its process, libraries included.
    Raises ValueError where one is not a whole number or is too small.
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
    """One frame that is judged.

    seconds: since the first frame. turn: degrees counterclockwise that make it upright. pixels: SIDE * SIDE * 3 bytes, BGR.
    """

    seconds: float
    turn: int
    pixels: bytes


@dataclass(frozen=True)
class Ending:
    """The end of a video that was read. damaged: whether parts could not be read. seconds: when its last picture ends."""

    damaged: bool
    seconds: float


class Refused(Exception):
    """A video that is not judged. reason: a label for metrics. words: the message to the client."""

    def __init__(self, reason: str, words: str):
        super().__init__(words)
        self.reason = reason


class Clock:
    """Chooses as samples the first frame, and the first frame of each second after it.

    The sender chooses the timestamps. A frame without one is assumed to come one frame's time after the last. A frame is also
    taken after MAX_BETWEEN others, so that timestamps that stand still, run backwards or creep cannot hide part of a video.
    """

    def __init__(self, frame_time: Fraction):
        self._frame_time = frame_time
        self._first: Fraction | None = None
        self._mark = Fraction(0)
        self._since = 0  # packets since the last sample
        self.now = Fraction(0)  # seconds from the first frame to the last one seen
        self.end = Fraction(0)  # seconds from the first frame to the end of the latest

    def passes_over(self, time: Fraction | None) -> bool:
        """Count a packet. Return whether its frame is certainly no sample."""
        self._since += 1
        if time is None or self._first is None or self._since > MAX_BETWEEN:
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
        if self.now < self._mark and self._since <= MAX_BETWEEN:
            return False
        self._mark = max(self._mark, Fraction(self.now // STEP * STEP + STEP))
        self._since = 0
        return True


def container(video: bytes) -> str:
    """Return FFmpeg's name of the container of an mp4, mov, webm, mkv or avi, by its first bytes; "" for any other file."""
    if video[4:8] in BOXES:
        return "" if video[4:8] == b"ftyp" and video[8:12].startswith(PHOTOS) else "mov"
    if video[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    return "avi" if video[:4] == b"RIFF" and video[8:12] == b"AVI " else ""


def clock_words(seconds: float) -> str:
    """Return a time as video players show it: 0:07, 12:30, 3:00:00."""
    whole = int(seconds)
    minutes = f"{whole // 60}" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02}"
    return f"{minutes}:{whole % 60:02}"
