"""A video's frames, decoded by a confined process: which they are, what the process may do, and how it ends."""

import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Thread, Timer
from typing import Any

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from serving.api import BadInput, ClientGone, DeadlinePassed, Lifetime, TooLarge
from serving.base.errors import DecoderLost, ServingError
from serving.telemetry.metrics import Metrics
from serving.testing import make_request
from serving.video.decoder import SHRINKING
from serving.video.frames import OWN_SLOTS, Decoders, Frame
from serving.video.sampling import Ending, Sampling
from tests import films
from tests.waiting import until

COFFEE, ASTRONAUT, CHINA = (films.picture(name) for name in ("coffee.jpg", "astronaut.jpg", "china.jpg"))
SIX = [COFFEE, COFFEE, ASTRONAUT, ASTRONAUT, CHINA, CHINA]
HALVES = [0, 0.5, 1, 1.5, 2, 2.5]
MIB = 2**20
SECOND = Sampling(every=1)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(2, 768 * MIB, 1920 * 1088, Metrics())
    yield made
    made.close()


def read(
    decoders: Decoders, video: bytes, wanted: Sampling = SECOND, life: Lifetime | None = None
) -> tuple[list[Frame], Ending]:
    found = decoders.open(video, wanted, life or make_request(seconds=30).life)
    frames = list(found)
    assert found.ending is not None
    return frames, found.ending


def processes(decoders: Decoders) -> list[psutil.Process]:
    """Return the processes that decode a video now."""
    assert decoders._process is not None
    return psutil.Process(decoders._process.pid).children()


@contextlib.contextmanager
def refused(decoders: Decoders, cause: str, kind: type[ServingError], words: str) -> Iterator[None]:
    """Expect an error, and that it is counted once by its cause."""
    counted = decoders.refused.labels(cause)._value
    before = counted.get()
    with pytest.raises(kind, match=words):
        yield
    assert counted.get() == before + 1


def likeness(frame: Frame, picture: Image.Image) -> float:
    """Return how far a frame is from a picture: the mean difference of their values, 0 to 255."""
    size = frame.pixels.shape[1::-1]
    return float(np.abs(frame.pixels.astype(float) - np.asarray(picture.resize(size))).mean())


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
        ("flv", "libx264"),
        ("mpegts", "libx264"),
        ("mpegts", "mpeg2video"),
    ],
)
def test_each_second_of_a_video_is_the_picture_that_was_shown_then(decoders: Decoders, container: str, codec: str) -> None:
    frames, ending = read(decoders, films.film(SIX, HALVES, container, codec))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # an encoder may have changed it
    assert [frame.seconds for frame in frames] == pytest.approx([0, 1, 2], abs=0.01)
    assert not ending.damaged
    for frame, picture in zip(frames, (COFFEE, ASTRONAUT, CHINA), strict=True):
        assert likeness(frame, picture) < 8, "another moment's picture differs by 50 and more"


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_the_frames_that_are_not_decoded_change_none_that_is(decoders: Decoders, codec: str) -> None:
    """Only frames that no other frame refers to are skipped. An encoder makes half of a video of them."""
    turning = [COFFEE.rotate(at) for at in range(75)]
    video = films.film(
        turning, [at / 25 for at in range(75)], codec=codec, encoder={"bf": "3", "x265-params": "log-level=none"}
    )
    file: Any = av.open(io.BytesIO(video))
    with file:
        every = list(file.decode(video=0))
    assert {frame.pict_type for frame in every} >= {av.video.frame.PictureType.P, av.video.frame.PictureType.B}
    frames, ending = read(decoders, video, Sampling(every=1, at_least=(160, 120)))
    assert ending.decoded < 75
    assert [frame.seconds for frame in frames] == [0, 1, 2]
    for frame, wanted in zip(frames, every[::25], strict=True):
        shrunk = wanted.reformat(160, 120, "rgb24", interpolation=SHRINKING).to_ndarray()
        assert np.array_equal(frame.pixels, shrunk)


def test_a_video_may_start_anywhere_and_come_in_fragments_or_without_a_length(decoders: Decoders) -> None:
    late = films.film(SIX, [at + 7 for at in HALVES])
    before = films.film(SIX, [at - 1.5 for at in HALVES])
    fragments = films.film(SIX, HALVES, movflags="frag_keyframe+empty_moov")
    live = films.film(SIX, HALVES, "webm", "libvpx", live="1")
    for video in (late, before, fragments, live):
        frames, ending = read(decoders, video)
        assert [frame.seconds for frame in frames] == pytest.approx([0, 1, 2], abs=0.05)
        assert not ending.damaged


@pytest.mark.parametrize(
    ("container", "codec", "sound"),
    [("mp4", "libx264", "aac"), ("matroska", "libx264", "aac"), ("webm", "libvpx", "libopus"), ("avi", "mpeg4", "libmp3lame")],
)
def test_sound_and_subtitles_and_files_beside_the_pictures_change_nothing(
    decoders: Decoders, container: str, codec: str, sound: str
) -> None:
    frames, ending = read(decoders, films.with_sound(container, codec, sound))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 1], abs=0.05)
    assert (ending.damaged, likeness(frames[0], COFFEE) < 8) == (False, True)


def test_a_phones_video_is_turned_upright(decoders: Decoders) -> None:
    video = films.sideways(films.film([ASTRONAUT.rotate(90, expand=True)], [0]))
    (frame,), _ = read(decoders, video)
    assert frame.pixels.shape[:2] == ASTRONAUT.size[::-1]
    assert likeness(frame, ASTRONAUT) < 8


def test_a_frame_may_change_its_size_within_the_limit(decoders: Decoders) -> None:
    frames, _ = read(decoders, films.growing((320, 240), (640, 480)))
    assert [likeness(frame, COFFEE) < 8 for frame in frames] == [True] * 3


def test_a_title_may_be_in_any_alphabet(decoders: Decoders) -> None:
    video = films.film(SIX, HALVES).replace(b"A film", b"\xc4 film")
    assert len(read(decoders, video)[0]) == 3


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes(decoders: Decoders) -> None:
    whole = films.film([COFFEE.rotate(at) for at in range(40)], [at / 5 for at in range(40)], "webm", "libvpx")
    frames, ending = read(decoders, whole[: len(whole) // 2])
    assert ending.damaged
    assert 2 <= len(frames) <= 6
    assert frames[-1].seconds < ending.seconds < 6


def test_a_video_whose_middle_is_damaged_is_read_around_it(decoders: Decoders) -> None:
    video = bytearray(films.film([COFFEE.rotate(at) for at in range(40)], [at / 5 for at in range(40)], "mov", "mjpeg"))
    middle = len(video) // 2
    video[middle : middle + 30_000] = bytes(30_000)
    frames, ending = read(decoders, bytes(video))
    assert ending.damaged
    assert (frames[0].seconds, round(frames[-1].seconds)) == (0, 7)


@pytest.mark.parametrize("mode", ["exact", "fast", "keys"])
def test_every_way_of_sampling_shows_the_moment_that_it_names(decoders: Decoders, mode: str) -> None:
    shown = [(COFFEE, ASTRONAUT, CHINA)[at // 25] for at in range(75)]
    video = films.film(shown, [at / 25 for at in range(75)], encoder={"preset": "ultrafast", "g": "25", "keyint_min": "25"})
    frames, ending = read(decoders, video, Sampling(every=1, mode=mode))
    assert [frame.seconds for frame in frames] == [0, 1, 2]
    assert [likeness(frame, picture) < 8 for frame, picture in zip(frames, (COFFEE, ASTRONAUT, CHINA), strict=True)] == [
        True
    ] * 3
    assert ending.decoded == 3 if mode != "exact" else 50 < ending.decoded <= 75


def test_fast_sampling_decodes_what_lies_behind_a_key_frame_where_there_is_none_nearby(decoders: Decoders) -> None:
    shown = [(COFFEE, ASTRONAUT, CHINA)[at // 25] for at in range(75)]
    video = films.film(shown, [at / 25 for at in range(75)], encoder={"preset": "ultrafast", "g": "500", "sc_threshold": "0"})
    for every, times in ((1.0, [0, 1, 2]), (0.52, [0, 0.52, 1.04, 1.56, 2.08, 2.6])):
        frames, _ = read(decoders, video, Sampling(every=every, mode="fast"))
        assert [frame.seconds for frame in frames] == times
        assert [likeness(each, (COFFEE, ASTRONAUT, CHINA)[int(each.seconds)]) < 8 for each in frames] == [True] * len(times)


def test_a_part_of_a_video_is_read_and_no_more_frames_than_are_wanted(decoders: Decoders) -> None:
    video = films.film([COFFEE.rotate(at) for at in range(100)], [at / 10 for at in range(100)], encoder={"g": "10"})
    for mode in ("exact", "fast"):
        assert [each.seconds for each in read(decoders, video, Sampling(every=1, start=4, end=7, mode=mode))[0]] == [4, 5, 6]
    frames, ending = read(decoders, video, Sampling(every=0, at_most=5))
    assert [each.seconds for each in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.03)
    assert ending.decoded == 5
    assert read(decoders, video, Sampling(every=1, start=20))[0] == []


def test_frames_stay_as_they_were_while_further_ones_come(decoders: Decoders) -> None:
    video = films.film([COFFEE.rotate(at) for at in range(20)], range(20))
    kept = read(decoders, video)[0]
    assert len(kept) == 20
    for at, frame in enumerate(decoders.open(video, SECOND, make_request().life)):
        assert np.array_equal(frame.pixels, kept[at].pixels)
        assert not frame.pixels.flags.writeable
    half = [each.pixels[::2, ::2] for each in decoders.open(video, SECOND, make_request().life)]
    gc.collect()
    assert all(np.array_equal(part, frame.pixels[::2, ::2]) for part, frame in zip(half, kept, strict=True))
    assert len(kept) > OWN_SLOTS


def test_the_header_tells_what_the_video_is(decoders: Decoders) -> None:
    video = films.sideways(films.film([COFFEE] * 50, [at / 25 for at in range(50)]))
    request = make_request(video=video)
    request.video_decoders = decoders
    info = request.video_info()
    assert (info["width"], info["height"], info["rate"], info["codec"]) == (240, 320, 25, "h264")
    assert info["seconds"] == pytest.approx(2, abs=0.05)
    with pytest.raises(BadInput, match=r"no video in the request; send one"):
        make_request().video_info()
    assert [round(each.seconds) for each in request.frames()] == [0, 1]


REFUSED: dict[str, tuple[Callable[[], bytes], type[ServingError], str, str]] = {
    "noise": (lambda: bytes(range(256)) * 40, BadInput, "container", "first bytes are of no accepted container; it may be"),
    "nothing": (bytes, BadInput, "container", "first bytes are of no accepted container"),
    "a header cut off": (lambda: films.film([COFFEE] * 5, range(5))[:9000], BadInput, "broken", "header is damaged or cut off"),
    "a header of noise": (lambda: b"\0\0\0\x20ftypisom" + bytes(5000), BadInput, "broken", "header is damaged or cut off"),
    "matroska of nothing": (lambda: b"\x1aE\xdf\xa3" + bytes(500), BadInput, "broken", "its header is damaged or cut off"),
    "sound": (films.sound, BadInput, "streams", "the video holds no stream of pictures; send a video"),
    "two videos": (lambda: films.film([COFFEE], [0], streams=2), BadInput, "streams", "holds 2 streams of pictures"),
    "a codec": (
        lambda: films.film([COFFEE], [0], "matroska", "ffv1"), BadInput, "codec", "codec is ffv1; it may be h264, hevc, vp8"
    ),
    "no frame": (
        lambda: (v := films.film([COFFEE] * 3, range(3)))[:48] + bytes(len(v) - 48 - 2000) + v[-2000:],
        BadInput, "no_frame", "no frame of it can be decoded",
    ),
    "a bomb": (films.bomb, BadInput, "no_frame", "no frame of it can be decoded"),
    "4K": (lambda: films.film([films.picture("coffee.jpg", (3840, 2160))], [0]), TooLarge, "too_many_pixels", "3840 x 2160"),
    "4K midway": (
        lambda: films.growing((320, 240), (3840, 2160)),
        TooLarge, "too_many_pixels", "frames are 3840 x 2160 pixels, over the limit of 2088960; send it smaller",
    ),
    "three hours": (
        lambda: films.heavy(900_000), TooLarge, "too_long", "of the video takes longer than the request may take",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_video_that_cannot_be_read_is_refused_in_words_and_counted(decoders: Decoders, what: str) -> None:
    make, kind, cause, words = REFUSED[what]
    with refused(decoders, cause, kind, words):
        read(decoders, make())


def test_a_file_of_1000_bytes_that_claims_60_million_frames_takes_no_more_than_its_process_may(decoders: Decoders) -> None:
    bomb = films.bomb()
    assert len(bomb) < 1200
    most = 0

    def watch() -> None:
        nonlocal most
        while watching:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                most = max([most, *(child.memory_info().rss for child in processes(decoders))])

    decoders.start()
    watching, watcher = True, Thread(target=watch)
    watcher.start()
    try:
        while most == 0:  # one that is refused at once ends before it is seen
            with pytest.raises(BadInput):
                read(decoders, bomb)
    finally:
        watching = False
        watcher.join()
    assert 0 < most < 500 * MIB


def test_what_takes_more_memory_than_the_limit_is_refused_in_words() -> None:
    film = films.film([films.picture("coffee.jpg", (3840, 2160))] * 4, range(4), codec="mpeg4")
    for memory, least, words in (
        (32 * MIB, (224, 224), "needs more memory to decode than 24 MiB"),
        (256 * MIB, (0, 0), "no room for 4 of them"),
    ):
        small = Decoders(1, memory, 10**8, Metrics())
        with contextlib.closing(small), refused(small, "memory", TooLarge, words):
            read(small, film, Sampling(every=1, at_least=least))


def test_a_frame_that_has_no_room_at_its_size_has_it_once_it_is_scaled() -> None:
    film = films.film([films.picture("coffee.jpg", (3840, 2160))] * 4, range(4), codec="mpeg4")
    with contextlib.closing(Decoders(1, 256 * MIB, 10**8, Metrics())) as small:
        frames, _ = read(small, film, Sampling(every=1, at_least=(224, 224)))
    assert [frame.pixels.shape for frame in frames] == [(224, 398, 3)] * 4


@pytest.mark.parametrize(
    ("sent", "cause", "kind", "words"),
    [
        (signal.SIGSEGV, "crash", BadInput, "the video ends its decoder .signal 11."),
        (signal.SIGKILL, "lost", DecoderLost, "send the request again in a second"),
    ],
)
def test_a_decoder_that_crashes_is_a_broken_video_and_one_that_was_killed_is_not(
    decoders: Decoders, sent: signal.Signals, cause: str, kind: type[ServingError], words: str
) -> None:
    found = decoders.open(films.heavy(), SECOND, make_request(seconds=100).life)
    next(found)
    with refused(decoders, cause, kind, words):
        processes(decoders)[0].send_signal(sent)
        list(found)


def test_a_supervisor_that_was_killed_is_started_again_and_nothing_is_left_of_its_videos(decoders: Decoders) -> None:
    found = decoders.open(films.heavy(), SECOND, make_request(seconds=100).life)
    next(found)
    (child,) = processes(decoders)
    assert decoders._process is not None
    decoders._process.kill()
    with pytest.raises(DecoderLost):
        list(found)
    until(lambda: not child.is_running())
    assert len(read(decoders, films.film(SIX, HALVES))[0]) == 3


def test_a_supervisor_that_cannot_start_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.video.frames.sys.executable", "/bin/false")
    life = make_request(seconds=60).life
    with contextlib.closing(Decoders(1, 384 * MIB, 10**8, Metrics())) as own, pytest.raises(DecoderLost):
        next(own.open(films.film(SIX, HALVES), SECOND, life))
    assert life.left() > 50


@pytest.mark.parametrize(
    ("end", "error"), [(lambda life: life.abandon(), ClientGone), (lambda life: life.shorten(0.001), DeadlinePassed)]
)
def test_nothing_is_decoded_that_nobody_waits_for(decoders: Decoders, end: Callable[..., None], error: type[Exception]) -> None:
    life = make_request(seconds=100).life
    found = decoders.open(films.heavy(), SECOND, life)
    next(found)
    end(life)
    with pytest.raises(error):
        list(found)
    until(lambda: processes(decoders) == [])


def test_a_client_that_goes_ends_the_wait_for_a_frame_at_once(decoders: Decoders) -> None:
    life = make_request(seconds=100).life
    found = decoders.open(films.heavy(), Sampling(every=50), life)
    next(found)
    Timer(0.2, life.abandon).start()
    with pytest.raises(ClientGone):
        next(found)
    assert life.left() > 20


def test_one_more_video_than_there_are_places_waits_for_one(decoders: Decoders) -> None:
    two = [decoders.open(films.heavy(), SECOND, make_request(seconds=100).life) for _ in range(2)]
    for each in two:
        next(each)
    with pytest.raises(DeadlinePassed):
        decoders.open(films.film(SIX, HALVES), SECOND, make_request(seconds=0.2).life)
    third: list[Frame] = []
    waiting = Thread(target=lambda: third.extend(read(decoders, films.film(SIX, HALVES))[0]))
    waiting.start()
    until(lambda: decoders.waiting == 1)
    two[0].close()
    waiting.join()
    assert (len(third), decoders.waiting) == (3, 0)
    del two, each
    until(lambda: processes(decoders) == [])


def test_the_decoders_end_with_the_process_that_started_them() -> None:
    program = (
        "import time, sys; sys.path.insert(0, '.')\n"
        "from tests import films; from serving.video.frames import *; from serving.testing import make_request\n"
        "decoders = default_decoders(); found = decoders.open(films.heavy(2000), Sampling(), make_request().life)\n"
        "next(found)\n"
        "print(decoders._process.pid, flush=True); time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        supervisor = psutil.Process(int(parent.stdout.readline()))
        both = [supervisor, *supervisor.children()]
        assert len(both) == 2
        parent.kill()
    until(lambda: not any(each.is_running() for each in both))


def test_an_mp4_whose_pictures_are_in_another_file_has_none(decoders: Decoders) -> None:
    video, asked = films.elsewhere(films.film([COFFEE], [0]), "/etc/passwd"), []

    def note(url: str, flags: int, options: dict[str, str]) -> None:
        asked.append(url)
        raise PermissionError

    with contextlib.suppress(PermissionError):
        av.open(io.BytesIO(video), format="mov", options={"enable_drefs": "1"}, io_open=note)
    assert asked == ["passwd"], "FFmpeg would open it, were it allowed to"
    with refused(decoders, "no_frame", BadInput, "no frame of it can be decoded"):
        read(decoders, video)


def test_a_confined_process_can_open_and_start_nothing() -> None:
    program = (
        "import os, resource, socket, sys\n"
        "from serving.video.decoder import Job; from serving.video.supervisor import confine\n"
        "ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "if os.fork(): print(ours.recv(1000).decode()); sys.exit()\n"
        "confine([its.fileno()], Job('mov'), 2**28)\n"
        "def tried(function):\n"
        "    try: function()\n"
        "    except BaseException as error: return getattr(error, 'strerror', None) or type(error).__name__\n"
        "    return 'done'\n"
        "attempts = (lambda: open('/etc/passwd'), socket.socket, os.fork, lambda: os.execv('/bin/true', ['true']),\n"
        "    lambda: os.kill(os.getppid(), 9), lambda: os.unlink('/tmp/x'), lambda: bytearray(2**29),\n"
        "    lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)), lambda: len(os.listdir('/')))\n"
        "its.send(' | '.join(map(tried, attempts)).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    no = "Operation not permitted"
    assert done.stdout.strip() == " | ".join((no, no, no, no, no, no, "MemoryError", "ValueError", no))


def test_the_process_is_not_told_the_services_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    with contextlib.closing(Decoders(1, 384 * MIB, 10**8, Metrics())) as own:
        found = own.open(films.heavy(), SECOND, make_request(seconds=100).life)
        next(found)
        assert set(processes(own)[0].environ()) == {"PYTHONPATH", "OPENBLAS_NUM_THREADS"}


def test_a_video_leaves_no_process_and_no_open_file(decoders: Decoders) -> None:
    video = films.film(SIX, HALVES)
    read(decoders, video)
    gc.collect()
    before = psutil.Process().num_fds()
    for _ in range(5):
        read(decoders, video)
    gc.collect()
    assert psutil.Process().num_fds() == before
    until(lambda: processes(decoders) == [])
