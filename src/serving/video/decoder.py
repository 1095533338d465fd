"""Decodes one video to the wanted frames. The only module that imports av.

It runs in a process that can open no file and is limited in memory: a file of 1,000 bytes can make FFmpeg take gigabytes in one
call.
"""

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice
from typing import Any, BinaryIO, cast

import av
import av.subtitles.codeccontext  # av imports them when a container is opened, but by then this process may open no file
import av.subtitles.stream
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from serving.video.sampling import EXACT, FAST, KEYS, MAX_RATE, Clock, Ending, Job, Refused, clock_words, steps

CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "mjpeg")
DECODERS = (*CODECS, "libdav1d")  # by FFmpeg's names
ADVICE = "convert it, for example with ffmpeg -i video -c:v libx264 video.mp4"
UNREADABLE = (av.error.FFmpegError, OSError)  # the latter for a place before the file's beginning
USUAL_RATE = 60  # frames a second at most, where the file does not count them: browsers' recordings say 1,000
PROBED = 2**20  # bytes that FFmpeg may read to learn what the streams are
# The same filter as for pictures, at full colour resolution: FFmpeg's default shortcuts make pixels darker by 1 in 255.
SHRINKING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Give = Callable[[float, Pixels], None]  # of a wanted frame: its seconds, and its pixels as uint8 [height, width, 3]


def info(file: BinaryIO, job: Job) -> dict[str, Any]:
    """Return what a video's header says: seconds, width, height (upright), rate (frames a second) and codec.

    A number that it leaves out is 0. Raises as `decode` does.
    """
    with _opened(file, job.container) as opened:
        stream = _stream(opened, job)
        context = stream.codec_context
        size = context.width, context.height
        packets = _Packets(opened, stream)
        rotation = next((round(frame.rotation) for frame in _decoded(packets, stream, packets)), 0)
        width, height = size[::-1] if rotation % 180 else size
        seconds, rate = _stated_seconds(opened), float(stream.average_rate or 0)
        return {"seconds": seconds, "width": width, "height": height, "rate": rate, "codec": context.codec.canonical_name}


def decode(file: BinaryIO, job: Job, give: Give) -> Ending:
    """Give the wanted frames in the order in which they are shown, and return the video's ending.

    file: the video, seekable. Raises Refused, and MemoryError where the process may take no more.
    """
    with _opened(file, job.container) as opened:
        stream = _stream(opened, job)
        _check_cost(opened, stream, job)
        if job.wanted.mode != FAST:
            return _in_order(opened, stream, job, give)
        keys, last = _key_frames(opened, stream)
    with _opened(file, job.container) as opened:
        return _by_key_frames(opened, _stream(opened, job), job, give, keys, last)


def _opened(file: BinaryIO, container: str) -> InputContainer:
    """Open a container with the decoders in DECODERS alone, and so that it can open no other file."""
    own = {"format_whitelist": av.ContainerFormat(container, "r").name, "codec_whitelist": ",".join(DECODERS)}
    own |= {"protocol_whitelist": "none", "probesize": str(PROBED)}
    if container == "mov":  # FFmpeg copies parts of the index for each edit, so that a small file can take gigabytes
        own |= {"advanced_editlist": "0", "enable_drefs": "0"}
    file.seek(0)
    try:
        return av.open(file, "r", container, container_options=own, metadata_errors="replace", io_open=_open_nothing)
    except MemoryError:
        raise
    except UNREADABLE as error:
        raise Refused("broken", f"the video cannot be opened: its header is damaged or cut off; {ADVICE}") from error


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> None:
    raise Refused("broken", "the video names another file to read from, which is never done; send it whole")


def _stream(container: InputContainer, job: Job) -> VideoStream:
    """Return the one video stream, ready to decode. Raises Refused."""
    cover = av.stream.Disposition.attached_pic
    found = [stream for stream in container.streams.video if not stream.disposition & cover]
    if len(found) != 1:
        words = f"{len(found)} streams of pictures; send a video with one" if found else "no stream of pictures; send a video"
        raise Refused("streams", f"the video holds {words}")
    stream = found[0]
    context = cast(VideoCodecContext | None, stream.codec_context)  # None where FFmpeg has no decoder
    codec = "not known" if context is None else context.codec.canonical_name
    if context is None or codec not in CODECS:
        raise Refused("codec", f"the video's codec is {codec}; it may be {', '.join(CODECS)}: {ADVICE}")
    _check_size(context.width, context.height, job)
    context.thread_count = 1
    return stream


def _check_cost(container: InputContainer, stream: VideoStream, job: Job) -> None:
    """Raise Refused where a video says that it takes longer to decode than the request may take."""
    stated, context = _stated_seconds(container), stream.codec_context
    rate = (
        min(stream.frames / stated, MAX_RATE) if stream.frames and stated else min(float(stream.average_rate or 0), USUAL_RATE)
    )
    a_second = rate * context.width * context.height / 1e6 * job.cost
    seconds = job.wanted.start + job.wanted.seconds(stated)
    if job.wanted.mode == EXACT and a_second * seconds > job.seconds_left:
        fits = clock_words(job.seconds_left / a_second)
        words = f"to decode {clock_words(seconds)} of the video takes longer than the request may take; about {fits} would fit"
        raise Refused("too_long", f"{words}: send a part of it, or a smaller one, or allow more time")


def _in_order(container: InputContainer, stream: VideoStream, job: Job, give: Give) -> Ending:
    """Decode the frames up to the last wanted one, for EXACT and KEYS."""
    wanted, origin = job.wanted, None
    if wanted.start and stream.start_time is not None and stream.time_base:
        origin = stream.start_time * stream.time_base
        with contextlib.suppress(*UNREADABLE):  # then all that comes before is decoded too
            container.seek(int((origin + Fraction(wanted.start)) / stream.time_base), backward=True, stream=stream)
    clock, out, packets = Clock(wanted, _frame_time(stream), origin), _Output(job, give), _Packets(container, stream)
    for frame in _frames(packets, stream, wanted.mode == KEYS, clock):
        packets.damaged |= frame.is_corrupt
        wants = clock.wants(_time(frame))
        if (wanted.end and clock.now >= wanted.end) or out.add(frame, float(clock.now), wants):
            break
    else:
        if not out.decoded and not wanted.start:
            raise _no_frame(stream)
        packets.damaged |= packets.ends_early() and not wanted.start
    return Ending(packets.damaged, float(clock.end), out.decoded, out.pixels)


def _key_frames(container: InputContainer, stream: VideoStream) -> tuple[list[Fraction], Fraction]:
    """Return when each key frame is shown, and the last frame of all, in seconds as the container counts them."""
    keys, last = list[Fraction](), Fraction(0)
    for packet in _Packets(container, stream):
        time = _time(packet)
        if packet.is_keyframe and packet.size:
            keys.append(max(time or last, keys[-1] if keys else Fraction(-(2**62))))
        last = max(last, time or last)
    return keys, last


def _by_key_frames(
    container: InputContainer, stream: VideoStream, job: Job, give: Give, keys: list[Fraction], last: Fraction
) -> Ending:
    """Decode each key frame that answers a step, and the frames behind it where a step needs them, for FAST."""
    out, packets, context = _Output(job, give), _Packets(container, stream), stream.codec_context
    seconds_of = [float(key - keys[0]) for key in keys]
    wanted = steps(job.wanted, seconds_of, float(last - keys[0])) if keys else {}
    for number, group in groupby(packets, _counting_key_frames()):
        times = wanted.get(number, [])
        if not times:
            continue
        context.flush_buffers()
        shown, seconds = None, 0.0
        for frame in _decoded(chain(islice(group, 1) if times == [seconds_of[number]] else group, (None,)), stream, packets):
            shown, seconds = frame, float((_time(frame) or keys[number]) - keys[0])
            answers = bisect_right(times, seconds)
            del times[:answers]
            if out.add(frame, seconds, answers > 0):
                return Ending(packets.damaged, seconds, out.decoded, out.pixels)
            if not times:
                break
        if times and shown is not None:  # steps behind the last frame of the group, which is shown until the next one begins
            out.give(shown, seconds)
    if not out.decoded:
        raise _no_frame(stream)
    return Ending(packets.damaged, float(last - keys[0] + _frame_time(stream)), out.decoded, out.pixels)


def _counting_key_frames() -> Callable[[Any], int]:
    """Return a function that returns how many key frames came before a packet, itself included, less one."""
    count = -1

    def number(packet: Any) -> int:
        nonlocal count
        count += bool(packet.is_keyframe and packet.size)
        return count

    return number


class _Output:
    """Scales and turns the wanted frames, and gives them. decoded: frames so far. pixels: of all of them."""

    def __init__(self, job: Job, give: Give):
        self._job, self._give, self._scale = job, give, VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._given = self.decoded = self.pixels = 0

    def add(self, frame: VideoFrame, seconds: float, wanted: bool) -> bool:
        """Count a decoded frame, and give it where it is wanted. Return whether these are all."""
        self.decoded += 1
        self.pixels += frame.width * frame.height
        _check_size(frame.width, frame.height, self._job)
        if wanted:
            self.give(frame, seconds)
        return self._given >= self._job.wanted.at_most

    def give(self, frame: VideoFrame, seconds: float) -> None:
        turns = round(frame.rotation / 90) % 4  # counterclockwise, that make it upright
        upright = (frame.width, frame.height)[:: -1 if turns % 2 else 1]
        self._size = self._size or self._job.wanted.size(*upright)
        width, height = self._size[:: -1 if turns % 2 else 1]
        found = self._scale.reformat(frame, width, height, "rgb24", interpolation=SHRINKING, threads=1)
        plane = found.planes[0]
        pixels = np.ndarray((height, width, 3), np.uint8, cast(Any, plane), strides=(plane.line_size, 3, 1))
        self._given += 1
        self._give(max(0.0, seconds), np.rot90(pixels, turns))


class _Packets:
    """Iterates over the packets of one stream, and notes the times of all packets of the container."""

    def __init__(self, container: InputContainer, stream: VideoStream):
        self._container, self._stream = container, stream
        self.damaged = False
        self._begin = self._end = 0.0  # time without pictures before the first one counts, as it does in the header

    def __iter__(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux():
                time = _time(packet) or Fraction(0)
                self._begin = min(self._begin, float(time))
                self._end = max(self._end, float(time + (packet.duration or 0) * packet.time_base))
                if packet.stream is self._stream:
                    yield packet
        except MemoryError:
            raise
        except UNREADABLE:
            self.damaged = True
            yield av.Packet()  # what the decoder still holds comes out

    def ends_early(self) -> bool:
        """Return whether the header states a longer time than the packets cover."""
        return _stated_seconds(self._container) - (self._end - self._begin) > 1


def _frames(packets: _Packets, stream: VideoStream, keys_alone: bool, clock: Clock) -> Iterator[VideoFrame]:
    """Yield the frames that may be wanted, in the order in which they are shown.

    A frame that is certainly not wanted is not decoded if no other frame refers to it. FFmpeg calls such frames NONREF.
    """

    def chosen() -> Iterator[Any]:
        for packet in packets:
            passes = clock.passes_over(_time(packet))
            stream.codec_context.skip_frame = "NONKEY" if keys_alone else "NONREF" if passes else "DEFAULT"
            yield packet

    return _decoded(chosen(), stream, packets)


def _decoded(some: Iterable[Any], stream: VideoStream, packets: _Packets) -> Iterator[VideoFrame]:
    """Yield the frames of some packets. A packet that cannot be decoded is damage."""
    for packet in some:
        try:
            yield from stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            packets.damaged = True


def _time(of: Any) -> Fraction | None:
    """Return the time of a packet or frame in seconds: when it is shown, else when it is decoded, else None."""
    stamp = of.dts if of.pts is None else of.pts
    return None if stamp is None or not of.time_base else stamp * of.time_base


def _frame_time(stream: VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    return min(1 / rate, Fraction(1)) if rate else Fraction(1, 25)


def _stated_seconds(container: InputContainer) -> float:
    return (container.duration or 0) / av.time_base


def _check_size(width: int, height: int, job: Job) -> None:
    if width * height > job.max_pixels:
        words = f"the video's frames are {width} x {height} pixels, over the limit of {job.max_pixels}; send it smaller"
        raise Refused("too_many_pixels", words)


def _no_frame(stream: VideoStream) -> Refused:
    codec = stream.codec_context.codec.canonical_name
    return Refused("no_frame", f"the video says it is {codec}, but no frame of it can be decoded; {ADVICE}")
