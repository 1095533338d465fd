"""Decodes a video to its samples. It is a program of its own, and the only module of the service that uses av.

The module reading.py runs this one as a process for each video. Only a process can be limited and ended, and a file of 1,000
bytes can make FFmpeg take gigabytes in one call. Its standard input is the video, and must be seekable. Its standard output has
one of these lines for each event:

    {"seconds": 3.0, "turn": 0}

A sample. SIDE * SIDE * 3 bytes follow it: blue, green, red of each pixel. The other lines are the last one.

    {"damaged": false, "end": 9.96}                           the whole video was read
    {"refused": "too_long", "words": "the video lasts ..."}   the video is not judged
    {"failed": "Traceback ..."}                               this program is wrong
"""

import json
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.subtitles.codeccontext  # av imports them when a container is opened, but by then this process may open no file
import av.subtitles.stream
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from sampling import SIDE, STEP, Clock, Ending, Limits, Refused, Sample, clock_words

CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg")
DECODERS = (*CODECS, "libdav1d")  # by FFmpeg's names
ADVICE = "convert it, for example with ffmpeg -i video -c:v libx264 video.mp4"
PROBED = 2**20  # bytes that FFmpeg may read to learn what the streams are
# The same filter as for pictures, at full colour resolution: FFmpeg's default shortcuts make pixels darker by 1 in 255.
SHRINKING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
NICENESS = 10  # like the platform's other threads that compute


def samples(file: BinaryIO, container: str, limits: Limits) -> Iterator[Sample | Ending]:
    """Yield a video's samples, then its ending.

    file: the video, seekable. container: FFmpeg's name of its container, which is never guessed.
    Raises Refused, MemoryError.
    """
    with _opened(file, container) as opened:
        yield from _sampled(opened, _stream(opened, limits), limits)


def _opened(file: BinaryIO, container: str) -> InputContainer:
    """Open a container with the decoders in DECODERS alone, and so that it can open no other file."""
    own = {"format_whitelist": av.ContainerFormat(container, "r").name, "codec_whitelist": ",".join(DECODERS)}
    own |= {"protocol_whitelist": "none", "probesize": str(PROBED)}
    if container == "mov":  # FFmpeg copies parts of the index for each edit, so that a small file can take gigabytes
        own |= {"advanced_editlist": "0", "enable_drefs": "0"}
    try:
        return av.open(file, "r", container, container_options=own, metadata_errors="replace", io_open=_open_nothing)
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        raise Refused("broken", f"the video cannot be opened: its header is damaged or cut off; {ADVICE}") from error


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> None:
    raise Refused("broken", "the video names another file to read from, which is never done; send it whole")


def _stream(container: InputContainer, limits: Limits) -> VideoStream:
    """Return the one video stream, ready to decode. Raises Refused."""
    cover = av.stream.Disposition.attached_pic
    found = [stream for stream in container.streams.video if not stream.disposition & cover]
    if len(found) != 1:
        words = f"{len(found)} streams of pictures; send a video with one" if found else "no stream of pictures; send a video"
        raise Refused("streams", f"the video holds {words}")
    stream = found[0]
    context: VideoCodecContext | None = stream.codec_context  # None where FFmpeg has no decoder
    codec = "not known" if context is None else context.codec.canonical_name
    if context is None or codec not in CODECS:
        raise Refused("codec", f"the video's codec is {codec}; it may be {', '.join(CODECS)}: {ADVICE}")
    _check_size(context.width, context.height, limits)
    stated = _stated_seconds(container)
    if stated > limits.most_seconds:
        raise _too_long(f"lasts {clock_words(stated)} by its header", limits)
    context.thread_count = 1
    return stream


def _sampled(container: InputContainer, stream: VideoStream, limits: Limits) -> Iterator[Sample | Ending]:
    rate = stream.average_rate or stream.guessed_rate
    clock, shrink = Clock(min(1 / rate, Fraction(STEP)) if rate else Fraction(1, 25)), VideoReformatter()
    packets = _Packets(container, stream)
    for frame in _frames(packets, clock, limits):
        _check_size(frame.width, frame.height, limits)
        is_sample = clock.samples(_time(frame))
        if clock.now > limits.most_seconds:
            raise _too_long(f"has a frame at {clock_words(float(clock.now))}, whatever its header says", limits)
        packets.damaged |= frame.is_corrupt
        if is_sample:
            small = shrink.reformat(frame, SIDE, SIDE, "bgr24", interpolation=SHRINKING, threads=1)
            yield Sample(max(0.0, float(clock.now)), round(frame.rotation), _pixels(small))
    if not clock.end:
        codec = stream.codec_context.codec.canonical_name
        raise Refused("no_frame", f"the video says it is {codec}, but no frame of it can be decoded; {ADVICE}")
    yield Ending(packets.damaged or packets.ends_early(), float(clock.end))


class _Packets:
    """Iterates over the packets of one stream, and notes the times of all packets of the container."""

    def __init__(self, container: InputContainer, stream: VideoStream):
        self._container, self.stream = container, stream
        self.damaged = False
        self._begin = self._end = 0.0  # time without pictures before the first one counts, as it does in the header

    def __iter__(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux():
                time = _time(packet) or Fraction(0)
                self._begin = min(self._begin, float(time))
                self._end = max(self._end, float(time + (packet.duration or 0) * packet.time_base))
                if packet.stream is self.stream:
                    yield packet
        except MemoryError:
            raise
        except av.error.FFmpegError:
            self.damaged = True
            yield av.Packet()  # what the decoder still holds comes out

    def ends_early(self) -> bool:
        """Return whether the header states a longer time than the packets cover."""
        return _stated_seconds(self._container) - (self._end - self._begin) > STEP


def _frames(packets: _Packets, clock: Clock, limits: Limits) -> Iterator[VideoFrame]:
    """Yield the frames that may be samples, in the order in which they are shown.

    A frame that is certainly no sample is not decoded if no other frame refers to it. FFmpeg calls such frames NONREF.
    """
    context = packets.stream.codec_context
    for number, packet in enumerate(packets):
        if number > limits.most_frames:
            raise Refused("too_many_frames", f"the video has over {limits.most_frames} frames, the limit; send a part of it")
        context.skip_frame = "NONREF" if clock.passes_over(_time(packet)) else "DEFAULT"
        try:
            yield from context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            packets.damaged = True


def _time(of: Any) -> Fraction | None:
    """Return the time of a packet or frame in seconds: when it is shown, else when it is decoded, else None."""
    stamp = of.dts if of.pts is None else of.pts
    return None if stamp is None or not of.time_base else stamp * of.time_base


def _stated_seconds(container: InputContainer) -> float:
    return (container.duration or 0) / av.time_base


def _pixels(frame: VideoFrame) -> bytes:
    plane, row = frame.planes[0], SIDE * 3
    view = memoryview(plane)
    return b"".join(view[start : start + row] for start in range(0, SIDE * plane.line_size, plane.line_size))


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.most_pixels:
        words = f"the video's frames are {width} x {height} pixels, over the limit of {limits.most_pixels}; send it smaller"
        raise Refused("too_many_pixels", words)


def _too_long(what: str, limits: Limits) -> Refused:
    return Refused("too_long", f"the video {what}; it may last {clock_words(limits.most_seconds)}, so send a part of it")


def confine(limits: Limits) -> None:
    """Limit the memory and time of this process, and let it open no further file or socket and write no core dump."""
    memory = limits.decode_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.decode_seconds, limits.decode_seconds + 1))
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(kind, (0, 0))
    os.nice(NICENESS)


def main(container: str, limits: Limits, out: BinaryIO) -> None:
    """Decode the video on standard input, and write the lines that the module's docstring lists."""

    def say(pixels: bytes = b"", **line: Any) -> None:
        out.write(json.dumps(line).encode() + b"\n" + pixels)
        out.flush()

    try:
        confine(limits)
        for found in samples(sys.stdin.buffer, container, limits):
            if isinstance(found, Sample):
                say(found.pixels, seconds=found.seconds, turn=found.turn)
            else:
                say(damaged=found.damaged, end=found.seconds)
    except Refused as refused:
        say(refused=refused.reason, words=str(refused))
    except MemoryError:
        say(refused="memory", words=f"the video needs more memory to decode than {limits.decode_mib} MiB, the limit for one")
    except Exception:
        say(failed=traceback.format_exc())


if __name__ == "__main__":
    main(sys.argv[1], Limits(**json.loads(sys.argv[2])), sys.stdout.buffer)
