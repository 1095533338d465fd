"""Makes videos for the tests, small ones and hostile ones, with the encoders and muxers of av.

`python tests/films.py clip.mp4` writes a video to try a service with.
"""

import io
import os
import struct
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

PICTURES = next(each for folder in Path(__file__).parents if (each := folder / "examples/images").is_dir())
TICK = Fraction(1, 1000)
Packet = Any  # av.Packet is a generic class only for type checkers
QUICK = {"libvpx": {"deadline": "realtime", "cpu-used": "8"}, "libx264": {"preset": "ultrafast", "qp": "20"}}
QUICK |= {"libvpx-vp9": QUICK["libvpx"], "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"}}


def picture(name: str, size: tuple[int, int] = (320, 240)) -> Image.Image:
    return Image.open(PICTURES / name).convert("RGB").resize(size, Image.Resampling.BILINEAR)


def film(
    pictures: Sequence[Image.Image],
    times: Sequence[float],
    container: str = "mp4",
    codec: str = "libx264",
    streams: int = 1,
    encoder: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """Return a video that shows each picture from its time on.

    times: of each picture, seconds. streams: how many video streams hold them. encoder: options of the encoder.
    options: options of the muxer.
    """
    out = io.BytesIO()
    with av.open(out, "w", container, options) as file:
        file.metadata["title"] = "A film"
        targets: list[Any] = [file.add_stream(codec, rate=25, options=encoder or QUICK.get(codec, {})) for _ in range(streams)]
        for target in targets:
            _set_up(target, codec, pictures[0].size)
            target.time_base = TICK
        for shown, time in zip(pictures, times, strict=True):
            for target in targets:
                file.mux(target.encode(_frame(shown, time, target.pix_fmt)))
        for target in targets:
            file.mux(target.encode(None))
    # SVT-AV1 makes root's calling thread a real-time one, and so all that it starts later, which lets nothing else run.
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return out.getvalue()


def packets_of(shown: Image.Image, codec: str, count: int = 1) -> list[Packet]:
    """Return the packets of a picture that is shown `count` times. codec: one that needs no separate header."""
    encoder: Any = av.CodecContext.create(codec, "w")
    _set_up(encoder, codec, shown.size)
    encoder.time_base, encoder.framerate, encoder.options = TICK, 25, QUICK.get(codec, {})
    packets = [packet for at in range(count) for packet in encoder.encode(_frame(shown, at / 10, encoder.pix_fmt))]
    return packets + list(encoder.encode(None))


def mux(packets: Iterable[Packet], container: str, codec: str, size: tuple[int, int], rate: int) -> bytes:
    """Return a file of packets. rate: packets per second."""
    out = io.BytesIO()
    with av.open(out, "w", container) as file:
        target: Any = file.add_stream(codec, rate=rate)
        _set_up(target, codec, size)
        for number, packet in enumerate(packets):
            copy: Any = av.Packet(bytes(packet))
            copy.pts = copy.dts = number
            copy.time_base, copy.is_keyframe, copy.stream = Fraction(1, rate), packet.is_keyframe, target
            file.mux(copy)
    return out.getvalue()


def _set_up(target: Any, codec: str, size: tuple[int, int]) -> None:
    target.width, target.height = size
    target.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"


def _frame(shown: Image.Image, time: float, pix_fmt: str) -> Any:
    frame = av.VideoFrame.from_ndarray(np.asarray(shown)).reformat(format=pix_fmt)
    frame.pts, frame.time_base = round(time / TICK), TICK
    return frame


def sound() -> bytes:
    """Return an mp4 that holds only sound."""
    out = io.BytesIO()
    with av.open(out, "w", "mp4") as file:
        _add_sound(file, file.add_stream("aac", rate=48000))
    return out.getvalue()


def with_sound(container: str, codec: str, sound_codec: str) -> bytes:
    """Return 1.8 seconds of one picture with sound. A Matroska file also holds subtitles and an attached font."""
    out, shown = io.BytesIO(), picture("coffee.jpg")
    with av.open(out, "w", container) as file:
        target: Any = file.add_stream(codec, rate=25, options=QUICK.get(codec, {}))
        _set_up(target, codec, shown.size)
        heard = file.add_stream(sound_codec, rate=48000)
        if container == "matroska":
            file.add_stream("ass")
            file.add_attachment("font.ttf", "application/x-truetype-font", bytes(2000))
        for number in range(45):
            file.mux(target.encode(_frame(shown, number / 25, target.pix_fmt)))
        file.mux(target.encode(None))
        _add_sound(file, heard)
    return out.getvalue()


def _add_sound(file: Any, stream: Any) -> None:
    for number in range(84):
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, number * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


@cache
def fast(count: int, rate: int) -> bytes:
    """Return a video that repeats one tiny key frame. count: frames. rate: frames per second."""
    return mux(packets_of(picture("coffee.jpg", (16, 16)), "mpeg4") * count, "matroska", "mpeg4", (16, 16), rate)


@cache
def heavy(count: int = 6000) -> bytes:
    """Return a still picture in 1080p at 100 frames a second. A frame takes 2 KB, and 3 ms to decode. count: frames."""
    first, *_, last = packets_of(picture("coffee.jpg", (1920, 1080)), "mpeg4", 4)
    return mux([first] + [last] * count, "matroska", "mpeg4", (1920, 1080), 100)


@cache
def growing(small: tuple[int, int], large: tuple[int, int]) -> bytes:
    """Return a webm whose frames change their size midway and back. Its header names only the first size."""
    one, other = (packets_of(picture("coffee.jpg", size), "libvpx", 3) for size in (small, large))
    return mux([*one, *other, *one], "webm", "libvpx", small, 3)


def patched(video: bytes, box: bytes, at: int, value: bytes) -> bytes:
    """Return an mp4 with some bytes of a box replaced. box: the box's type; its first one counts. at: bytes after the type."""
    start = video.index(box) + 4 + at
    return video[:start] + value + video[start + len(value) :]


def bomb(samples: int = 60_000_000) -> bytes:
    """Return an mp4 of about 1,000 bytes whose index claims `samples` frames. FFmpeg takes 72 bytes for each of them."""
    video = film([picture("coffee.jpg", (16, 16))], [0], codec="mpeg4")
    video = patched(video, b"stsz", 4, struct.pack(">II", 1, samples))
    video = patched(video, b"stsc", 4, struct.pack(">IIII", 1, 1, samples, 1))
    return patched(video, b"stts", 4, struct.pack(">II", 1, samples))


def sideways(video: bytes) -> bytes:
    """Return an mp4 with a flag to turn it clockwise by 90 degrees, as a phone held upright writes it."""
    fixed = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    return patched(video, b"tkhd", 40, struct.pack(">9i", *fixed))


def elsewhere(video: bytes, path: str) -> bytes:
    """Return an mp4 whose frames are declared to be in another file, by an alias in QuickTime's form."""
    alias = bytes(10) + b"\0" + bytes(27 + 12) + b"\0" + bytes(63 + 16) + struct.pack(">hh", 1, 1) + bytes(16)
    alias += struct.pack(">hH", 2, len(path)) + path.encode() + bytes(len(path) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = video.index(b"dref") + 12
    grown = len(entry) - 12
    video = video[:at] + entry + video[at + 12 :]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = video.index(box) - 4
        size = struct.unpack(">I", video[start : start + 4])[0]
        video = video[:start] + struct.pack(">I", size + grown) + video[start + 4 :]
    return video


def clip() -> bytes:
    """Return six seconds of photos, at 25 frames a second."""
    names = ("astronaut.jpg", "coffee.jpg", "chelsea.jpg", "rocket.jpg", "china.jpg", "flower.jpg")
    shown = [picture(name, (640, 426)) for name in names]
    return film([shown[at // 25] for at in range(150)], [at / 25 for at in range(150)])


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(clip())
