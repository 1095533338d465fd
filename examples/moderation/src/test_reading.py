"""A video in a process of its own: its samples, the limits of the process, and how it ends."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import av
import films
import nsfw
import numpy as np
import psutil
import pytest
from PIL import Image
from reading import PROGRAM, Reading
from sampling import SIDE, Ending, Limits, Refused, Sample
from video import SHRINKING

from serving.api import ClientGone, DeadlinePassed
from serving.testing import make_request

COFFEE, ASTRONAUT, CHINA = (films.picture(name) for name in ("coffee.jpg", "astronaut.jpg", "china.jpg"))
SIX = [COFFEE, COFFEE, ASTRONAUT, ASTRONAUT, CHINA, CHINA]
HALVES = [0, 0.5, 1, 1.5, 2, 2.5]


def read(video: bytes, limits: Limits | None = None, seconds: float = 30) -> tuple[list[Sample], Ending]:
    with Reading(video, limits or Limits(), make_request(seconds=seconds).life) as reading:
        *samples, ending = reading
    assert isinstance(ending, Ending)
    return [sample for sample in samples if isinstance(sample, Sample)], ending


def decoders() -> list[psutil.Process]:
    """Return the decoder processes that this process has started."""
    return [child for child in psutil.Process().children() if str(PROGRAM) in child.cmdline()]


@contextlib.contextmanager
def refused(reason: str, words: str) -> Iterator[None]:
    with pytest.raises(Refused, match=words) as caught:
        yield
    assert caught.value.reason == reason


def likeness(sample: Sample, picture: Image.Image) -> float:
    """Return how far a sample is from a picture: the mean difference of their values, 0 to 255."""
    wanted = nsfw.of_picture(picture)
    return float(np.abs(nsfw.of_sample(sample).astype(float) - wanted).mean())


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"),
        ("mp4", "libx265"),
        ("mov", "mpeg4"),
        ("mov", "mjpeg"),
        ("matroska", "libx264"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("webm", "libsvtav1"),
        ("avi", "mpeg4"),
        ("avi", "mjpeg"),
    ],
)
def test_each_second_of_a_video_is_the_picture_that_was_shown_then(container: str, codec: str) -> None:
    samples, ending = read(films.film(SIX, HALVES, container, codec))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # an encoder may have changed it
    assert [sample.seconds for sample in samples] == pytest.approx([0, 1, 2], abs=0.01)
    assert not ending.damaged
    for sample, picture in zip(samples, (COFFEE, ASTRONAUT, CHINA), strict=True):
        assert likeness(sample, picture) < 8, "another moment's picture differs by 50 and more"


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_the_frames_that_are_not_decoded_change_none_that_is(codec: str) -> None:
    """Only frames that no other frame refers to are skipped. An encoder makes half of a video of them."""
    turning = [COFFEE.rotate(at) for at in range(75)]
    video = films.film(
        turning, [at / 25 for at in range(75)], codec=codec, encoder={"bf": "3", "x265-params": "log-level=none"}
    )
    file: Any = av.open(io.BytesIO(video))
    with file:
        every = list(file.decode(video=0))
    assert {frame.pict_type for frame in every} >= {av.video.frame.PictureType.P, av.video.frame.PictureType.B}
    samples, _ = read(video)
    assert [sample.seconds for sample in samples] == [0, 1, 2]
    for sample, frame in zip(samples, every[::25], strict=True):
        shrunk = frame.reformat(SIDE, SIDE, "bgr24", interpolation=SHRINKING).to_ndarray()
        assert np.array_equal(np.frombuffer(sample.pixels, np.uint8).reshape(SIDE, SIDE, 3), shrunk)


def test_a_video_may_start_anywhere_and_come_in_fragments_or_without_a_length() -> None:
    late = films.film(SIX, [at + 7 for at in HALVES])
    before = films.film(SIX, [at - 1.5 for at in HALVES])
    fragments = films.film(SIX, HALVES, movflags="frag_keyframe+empty_moov")
    live = films.film(SIX, HALVES, "webm", "libvpx", live="1")
    for video in (late, before, fragments, live):
        samples, ending = read(video)
        assert [sample.seconds for sample in samples] == pytest.approx([0, 1, 2], abs=0.05)
        assert not ending.damaged


@pytest.mark.parametrize(
    ("container", "codec", "sound"),
    [("mp4", "libx264", "aac"), ("matroska", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("avi", "mpeg4", "libmp3lame")],
)
def test_sound_and_subtitles_and_files_beside_the_pictures_change_nothing(container: str, codec: str, sound: str) -> None:
    samples, ending = read(films.with_sound(container, codec, sound))
    assert [sample.seconds for sample in samples] == pytest.approx([0, 1], abs=0.05)
    assert (ending.damaged, likeness(samples[0], COFFEE) < 8) == (False, True)


def test_a_phones_video_is_turned_upright() -> None:
    video = films.sideways(films.film([ASTRONAUT.rotate(90, expand=True)], [0]))
    (sample,), _ = read(video)
    assert sample.turn == -90
    assert likeness(sample, ASTRONAUT) < 8


def test_a_frame_may_change_its_size_within_the_limit() -> None:
    samples, _ = read(films.growing((320, 240), (640, 480)))
    assert [likeness(sample, COFFEE) < 8 for sample in samples] == [True] * 3


def test_a_title_may_be_in_any_alphabet() -> None:
    video = films.film(SIX, HALVES).replace(b"A film", b"\xc4 film")
    assert len(read(video)[0]) == 3


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    whole = films.film([COFFEE.rotate(at) for at in range(40)], [at / 5 for at in range(40)], "webm", "libvpx")
    samples, ending = read(whole[: len(whole) // 2])
    assert ending.damaged
    assert 2 <= len(samples) <= 6
    assert samples[-1].seconds < ending.seconds < 6


def test_a_video_whose_middle_is_damaged_is_read_around_it() -> None:
    video = bytearray(films.film([COFFEE.rotate(at) for at in range(40)], [at / 5 for at in range(40)], "mov", "mjpeg"))
    middle = len(video) // 2
    video[middle : middle + 30_000] = bytes(30_000)
    samples, ending = read(bytes(video))
    assert ending.damaged
    assert (samples[0].seconds, round(samples[-1].seconds)) == (0, 7)


def test_a_file_of_1000_bytes_that_claims_60_million_frames_takes_no_more_than_its_process_may() -> None:
    bomb = films.bomb()
    assert len(bomb) < 1200
    most = 0

    def watch() -> None:
        nonlocal most
        while watching:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                most = max([most, *(child.memory_info().rss for child in decoders())])

    watching, watcher = True, Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(Refused):
            read(bomb)
    finally:
        watching = False
        watcher.join()
    assert 0 < most < Limits().decode_mib * 2**20


def test_what_takes_more_memory_than_the_limit_is_refused_in_words() -> None:
    film = films.film([films.picture("coffee.jpg", (3840, 2160))] * 4, range(4), codec="mpeg4")
    with refused("memory", "needs more memory to decode than 160 MiB"):
        read(film, Limits(decode_mib=160, most_pixels=10**8))


def test_what_takes_more_time_than_the_limit_is_refused_in_words() -> None:
    with refused("too_heavy", "takes more than 1 s to decode; send it smaller, or a part of it"):
        read(films.heavy(), Limits(decode_seconds=1), seconds=100)


def test_a_decoder_that_crashes_is_a_broken_video() -> None:
    with Reading(films.heavy(), Limits(), make_request(seconds=30).life) as reading:
        found = iter(reading)
        next(found)
        decoders()[0].send_signal(signal.SIGSEGV)
        with refused("crash", "ends its decoder .SIGSEGV."):
            list(found)


@pytest.mark.parametrize(
    ("end", "error"), [(lambda life: life.abandon(), ClientGone), (lambda life: life.shorten(0.001), DeadlinePassed)]
)
def test_nothing_is_decoded_for_whom_nobody_waits(end: Callable[..., None], error: type[Exception]) -> None:
    request = make_request(seconds=30)
    with pytest.raises(error), Reading(films.heavy(), Limits(), request.life) as reading:  # noqa: PT012
        next(iter(reading))
        end(request.life)
        list(reading)
    assert decoders() == []


def test_a_process_whose_reader_is_gone_ends_by_itself() -> None:
    """When the service is killed, nobody is left to end the process."""
    out, into = os.pipe()
    with open(os.memfd_create("video"), "w+b") as file:
        file.write(films.heavy(2000))
        file.seek(0)
        process = subprocess.Popen(
            [sys.executable, PROGRAM, "matroska", "{}"], stdin=file, stdout=into, stderr=subprocess.DEVNULL
        )
    os.close(into)
    os.read(out, 10)
    os.close(out)
    assert process.wait(60) != 0


def test_an_mp4_whose_pictures_are_in_another_file_has_none() -> None:
    video, asked = films.elsewhere(films.film([COFFEE], [0]), "/etc/passwd"), []

    def note(url: str, flags: int, options: dict[str, str]) -> None:
        asked.append(url)
        raise PermissionError

    with contextlib.suppress(PermissionError):
        av.open(io.BytesIO(video), format="mov", options={"enable_drefs": "1"}, io_open=note)
    assert asked == ["passwd"], "FFmpeg would open it, were it allowed to"
    with refused("no_frame", "no frame of it can be decoded"):
        read(video)


def test_the_process_can_open_no_file_and_no_socket() -> None:
    program = (
        "import socket, sys; sys.path.insert(0, sys.argv[1]); import video; video.confine(video.Limits())\n"
        "for attempt in (lambda: open('/etc/passwd'), socket.socket):\n"
        "    try: attempt()\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    command = [sys.executable, "-c", program, str(PROGRAM.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Too many open files"] * 2


def test_the_process_is_not_told_the_services_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    with Reading(films.heavy(), Limits(), make_request(seconds=30).life) as reading:
        next(iter(reading))
        assert decoders()[0].environ() == {}


def test_a_reading_leaves_no_process_and_no_open_file() -> None:
    video, before = films.film(SIX, HALVES), psutil.Process().num_fds()
    for _ in range(5):
        read(video)
    assert decoders() == []
    assert psutil.Process().num_fds() == before
