"""What both sides of decoding know: the wanted frames, which of a video's frames those are, and what passes between the sides.

Pure, and by the standard library alone: the server imports it without the libraries that decode.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

EXACT, FAST, KEYS = "exact", "fast", "keys"
SLOTS = 4  # places for frames in the memory that both sides map
MESSAGE = 2**16  # bytes at most
MAX_FRAMES = 100_000  # that a service may ask for
MAX_SECONDS = 10**9  # of a video
MAX_RATE = 240  # frames a second; a phone's slow motion has so many

# A container is recognised by its first bytes. No other file is ever opened, since playlists and scripts name further files.
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # an mp4 or mov begins with a length and one of these
PHOTOS = (b"hei", b"hev", b"mif1", b"msf1", b"avi")  # HEIC and AVIF have one after ftyp; they hold pictures, not videos
TS_PACKET = 188  # bytes of a packet of MPEG-TS, each of which begins with 0x47 (ISO/IEC 13818-1, 2.4.3.2)


@dataclass(frozen=True)
class Sampling:
    """The wanted frames: the first one from `start` on, and the first one of each step of `every` after it, until `end`.

    every, start, end: seconds of the video, from its first frame. 0 for every is each frame, and 0 for end is the video's own.
    at_most: frames. at_least: the width and height in pixels that suffice, upright. Frames are scaled down to the smallest size
    of their shape that has both, and never up; (0, 0) leaves their size.
    mode: EXACT, FAST, which takes a key frame within half a step instead, or KEYS, which takes key frames alone.
    Raises ValueError for anything else.
    """

    every: float = 1.0
    at_most: int = MAX_FRAMES
    at_least: tuple[int, int] = (0, 0)
    start: float = 0.0
    end: float = 0.0
    mode: str = EXACT

    def __post_init__(self) -> None:
        if self.mode not in (EXACT, FAST, KEYS):
            raise ValueError(f"sampling is {self.mode!r}; it must be {EXACT!r}, {FAST!r} or {KEYS!r}")
        for name, least in (("every", 0.0), ("start", 0.0), ("end", 0.0), ("at_most", 1)):
            found = getattr(self, name)
            if not least <= found <= MAX_SECONDS:
                raise ValueError(f"{name} is {found!r}; it must be a number from {least:g} to {MAX_SECONDS}")
        if len(self.at_least) != 2 or min(self.at_least) < 0:
            raise ValueError(f"at_least is {self.at_least!r}; it must be a width and a height in pixels, as (256, 256)")
        if self.at_most > MAX_FRAMES:
            raise ValueError(f"at_most is {self.at_most}; it must be at most {MAX_FRAMES}")
        if self.mode == FAST and not self.every:
            raise ValueError("sampling is 'fast' and every is 0; fast needs a step, as every=1.0")
        if self.end and self.end <= self.start:
            raise ValueError(f"end is {self.end:g} and start is {self.start:g}; the end must come after the start")

    def seconds(self, stated: float) -> float:
        """Return how much of a video is read, in seconds. stated: how long it is."""
        until = min(stated, self.end or stated, self.start + self.at_most * self.every if self.every else stated)
        return max(0.0, until - self.start)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of a frame of width x height pixels, upright, once it is scaled."""
        share = max(self.at_least[0] / width, self.at_least[1] / height)
        if not 0 < share < 1:
            return width, height
        return max(1, round(width * share)), max(1, round(height * share))


@dataclass(frozen=True)
class Job:
    """One video to decode. container: FFmpeg's name of it, which is never guessed. info: whether its header alone is wanted.

    max_pixels: of a frame. seconds_left: until the request's deadline. cost: seconds that a frame of a million pixels takes.
    """

    container: str
    wanted: Sampling = field(default_factory=Sampling)
    max_pixels: int = 50_000_000
    seconds_left: float = 3600.0
    cost: float = 0.0
    info: bool = False


@dataclass(frozen=True)
class Ending:
    """The end of a video. damaged: whether parts could not be read.

    seconds: when the last frame that was looked at ends. decoded: frames. pixels: of all of them.
    """

    damaged: bool
    seconds: float
    decoded: int
    pixels: int = 0


class Refused(Exception):
    """A video that is not read. reason: a word for it. words: the message to the client."""

    def __init__(self, reason: str, words: str):
        super().__init__(words)
        self.reason = reason


class Clock:
    """Says of each decoded frame whether it is wanted.

    The sender chooses the timestamps. A frame without one is assumed to come one frame's time after the last. A frame is also
    taken where a second of it would hold more than MAX_RATE others, so that timestamps that stand still, run backwards or creep
    cannot hide a part of a video. first: the time of the first frame, None where the first that comes is it.
    """

    def __init__(self, wanted: Sampling, frame_time: Fraction, first: Fraction | None = None):
        self._every, self._start, self._frame_time = Fraction(wanted.every), Fraction(wanted.start), frame_time
        self._first, self._mark = first, self._start
        self._most_between = MAX_RATE * max(1.0, wanted.every)
        self._since = 0  # packets since the last wanted frame
        self.now = Fraction(0)  # seconds from the first frame to the last one seen
        self.end = Fraction(0)  # seconds from the first frame to the end of the latest

    def passes_over(self, time: Fraction | None) -> bool:
        """Count a packet. Return whether its frame is certainly not wanted."""
        self._since += 1
        if time is None or self._first is None or self._too_many():
            return False
        return time - self._first < self._mark

    def wants(self, time: Fraction | None) -> bool:
        """Return whether a decoded frame is wanted; its seconds are `now`."""
        if self._first is None:
            self._first = time or Fraction(0)
        elif time is None:
            self.now += self._frame_time
        else:
            self.now = time - self._first
        self.end = max(self.end, self.now + self._frame_time)
        if self.now < self._mark and not self._too_many():
            return False
        if self._every:
            self._mark = max(self._mark, self._start + ((self.now - self._start) // self._every + 1) * self._every)
        self._since = 0
        return True

    def _too_many(self) -> bool:
        return not self._start and self._since > self._most_between


def steps(wanted: Sampling, keys: Sequence[float], last: float) -> dict[int, list[float]]:
    """Return which key frames FAST decodes: number of the key frame -> seconds of the steps that it and its followers answer.

    A key frame within half a step of a step's time answers it alone. Another step is answered by the frames behind the last key
    frame before it. keys: seconds of the key frames, ascending. last: seconds of the last frame.
    """
    found: dict[int, list[float]] = {}
    for number in range(wanted.at_most):
        at = wanted.start + number * wanted.every
        if at > last or (wanted.end and at >= wanted.end) or not keys:
            break
        before = max(0, bisect_right(keys, at) - 1)
        nearest = min((before, min(before + 1, len(keys) - 1)), key=lambda each: abs(keys[each] - at))
        if abs(keys[nearest] - at) <= wanted.every / 2:
            found.setdefault(nearest, []).insert(0, keys[nearest])
        else:
            found.setdefault(before, []).append(at)
    return {key: sorted(set(found[key])) for key in sorted(found)}


def container(video: bytes) -> str:
    """Return FFmpeg's name of a video's container, by its first bytes; "" for any other file."""
    if video[4:8] in BOXES:
        return "" if video[4:8] == b"ftyp" and video[8:12].startswith(PHOTOS) else "mov"
    if video[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if video[:4] == b"FLV\x01":
        return "flv"
    if len(video) > TS_PACKET and video[0] == video[TS_PACKET] == 0x47:
        return "mpegts"
    return "avi" if video[:4] == b"RIFF" and video[8:12] == b"AVI " else ""


def clock_words(seconds: float) -> str:
    """Return a time as video players show it: 0:07, 12:30, 3:00:00."""
    whole = int(seconds)
    minutes = f"{whole // 60}" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02}"
    return f"{minutes}:{whole % 60:02}"
