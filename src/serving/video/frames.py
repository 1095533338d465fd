"""The server's side of decoding: opens a video at the decoders, and hands their frames over as arrays.

Pixels pass through memory that both sides map. This side makes and seals it, so that no size of it can change, and checks each
message against it. A decoder is trusted as little as the video itself.

Concurrency. `_lock` of Decoders guards the supervisor's process, and is held while one starts. `places` bounds the videos
that are decoded at once. A Frames belongs to one thread. Its place is given back once: when it ends, is closed, or is freed.
A slot is given back when the last array that shows it is freed, on any thread: `_freed` is a deque, whose steps are atomic.
"""

import contextlib
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.base.errors import BadInput, DecoderLost, ServiceFailed, StartError, TooLarge
from serving.base.lifetime import Lifetime
from serving.models.tensors import Array
from serving.telemetry.metrics import Metrics
from serving.video.sampling import MESSAGE, SLOTS, Ending, Job, Sampling, container

OWN_SLOTS = 2  # that the caller may keep; further frames are copies, so that a caller who keeps all of them gets all
LOOK_SECONDS = 1.0  # between two looks whether the supervisor still runs
FIRST_COST = 0.0015  # seconds for a million pixels, before a video has told; a low guess refuses none wrongly
LEARNED_PIXELS = 20_000_000  # in a video from which the cost is learned; a shorter one costs its start above all
TOO_LARGE = ("too_many_pixels", "too_long", "memory")  # answered with 413, all others with 400
CAUSES = ("container", "broken", "streams", "codec", "no_frame", "crash", "lost", *TOO_LARGE)
CONTAINERS = "it may be mp4, mov, webm, mkv, avi, flv or ts"


class Frame(NamedTuple):
    """A frame of a video. seconds: since the first frame. pixels: uint8 [height, width, 3], RGB, upright, not writable."""

    seconds: float
    pixels: Array


class Decoders:
    """The processes that decode videos. workers: videos at once. memory: bytes of all of them together.

    max_pixels: of a frame before it is scaled.
    """

    def __init__(self, workers: int, memory: int, max_pixels: int, metrics: Metrics):
        self.refused, self.frames = (
            metrics.listed_counter(f"monopod_{name}_total") for name in ("videos_refused", "video_frames")
        )
        for counter, names in ((self.refused, CAUSES), (self.frames, ("decoded", "given"))):
            for name in names:
                counter.labels(name)  # each begins at 0, so that rate() sees its first count
        metrics.show("monopod_videos_waiting", lambda: {(): self.waiting})
        self.places = threading.Semaphore(workers)
        self.slot_bytes = memory // workers // 4 // SLOTS // mmap.PAGESIZE * mmap.PAGESIZE
        self._memory, self._max_pixels = memory // workers - SLOTS * self.slot_bytes, max_pixels
        self.cost = FIRST_COST
        self.waiting = 0  # videos that wait for a place; lost updates would do no harm, and the lock prevents them
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind("")  # an address of the system's choice, which is no file
        self._listening.listen(workers)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def start(self) -> None:
        """Start the supervisor, where it does not run. Connections wait for it. Raises StartError where av is missing."""
        with self._lock:
            if self.running():
                return
            if not available():
                raise StartError(
                    "request.frames() needs the package av; name it in src/requirements.txt, as examples/moderation does"
                )
            descriptor = self._listening.fileno()
            command = [sys.executable, "-m", "serving.video.supervisor", str(descriptor), str(self._memory)]
            # A session of its own keeps a terminal's Ctrl-C from it: the service still finishes what it has accepted. Its
            # environment holds nothing of the service's, where secrets may be.
            environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
            self._end()
            standard_input, self._pipe = os.pipe()  # the supervisor ends once no process has this end any more
            self._process = subprocess.Popen(
                command, stdin=standard_input, pass_fds=(descriptor,), start_new_session=True, env=environment
            )
            os.close(standard_input)

    def running(self) -> bool:
        """Return whether the supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End the supervisor and all that it decodes."""
        with self._lock:
            self._end()
            self._listening.close()

    def _end(self) -> None:
        """End the supervisor, where it runs. The caller holds the lock."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            os.close(self._pipe)

    def open(self, video: bytes, wanted: Sampling, life: Lifetime, info: bool = False) -> "Frames":
        """Return the frames of a video, once a place is free.

        Raises BadInput for a file that is not a video, DeadlinePassed, ClientGone, StartError.
        """
        kind = container(video)
        if not kind:
            self.refused.labels("container").inc()
            raise BadInput(f"the video's first bytes are of no accepted container; {CONTAINERS}")
        self.start()
        with self._waits():
            while not self.places.acquire(timeout=min(0.5, life.left())):
                life.check()
        try:
            return Frames(self, video, Job(kind, wanted, self._max_pixels, life.left(), self.cost, info), life)
        except BaseException:
            self.places.release()
            raise

    def connected(self, message: bytes, *descriptors: int) -> socket.socket:
        """Return a connection to the supervisor, over which a job has been sent."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._listening.getsockname())
            socket.send_fds(connection, [message], descriptors)
        except BaseException:
            connection.close()
            raise
        return connection

    def learn(self, ending: Ending, cpu: float) -> None:
        """Note what the frames of a video have cost. cpu: seconds of a core."""
        self.frames.labels("decoded").inc(ending.decoded)
        if ending.pixels > LEARNED_PIXELS:
            self.cost += (max(0.0, cpu) * 1e6 / ending.pixels - self.cost) / 4

    @contextlib.contextmanager
    def _waits(self) -> Iterator[None]:
        with self._lock:
            self.waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1


def available() -> bool:
    """Return whether videos can be decoded here."""
    return find_spec("av") is not None


@cache
def default_decoders() -> Decoders:
    """Return decoders for requests that no server made, in scripts and tests."""
    return Decoders(2, 768 * 2**20, 50_000_000, Metrics())


class Frames:
    """The frames of one video, in order, each as soon as it is decoded. SLOTS of them are decoded ahead.

    ending: what is known once the last frame has come, None before. used: frames that have come.
    """

    def __init__(self, decoders: Decoders, video: bytes, job: Job, life: Lifetime):
        self.ending: Ending | None = None
        self.used = 0
        self._decoders, self._life = decoders, life
        self._freed: deque[int] = deque()
        self._out = 0  # slots that arrays show
        size = SLOTS * decoders.slot_bytes
        with _memory(len(video)) as file, _memory(size) as slots:
            with mmap.mmap(file, len(video)) as copy:
                copy.write(video)
            self._map = mmap.mmap(slots, size, prot=mmap.PROT_READ)
            self._connection = decoders.connected(json.dumps(asdict(job)).encode(), file, slots)
        self.close = weakref.finalize(self, _end, self._connection, decoders.places)
        self.close.atexit = False
        life.on_abandon(partial(_wake, self._connection))

    def __iter__(self) -> "Frames":
        return self

    def __next__(self) -> Frame:
        """Return the next frame.

        Raises BadInput and TooLarge for a video that is refused, DecoderLost, DeadlinePassed, ClientGone.
        """
        if self.ending is not None or not self.close.alive:
            raise StopIteration
        try:
            self._give_back()
            message = self._message()
            if "slot" in message:
                return self._frame(message)
            cpu = float(message.pop("cpu"))
            self.ending = Ending(**message)
            self._decoders.learn(self.ending, cpu)
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def info(self) -> dict[str, Any]:
        """Return the one message of a job that asks for the header alone. Raises as `__next__` does."""
        try:
            return dict(self._message()["info"])
        finally:
            self.close()

    def _frame(self, message: dict[str, Any]) -> Frame:
        slot, height, width = int(message["slot"]), int(message["height"]), int(message["width"])
        size = height * width * 3
        if not 0 <= slot < SLOTS or height < 1 or width < 1 or size > self._decoders.slot_bytes:
            raise ServiceFailed(f"the video's decoder gives a frame of {width} x {height} pixels in slot {slot}")
        self.used += 1
        self._decoders.frames.labels("given").inc()
        flat = np.frombuffer(self._map, np.uint8, size, slot * self._decoders.slot_bytes)
        if self._out < OWN_SLOTS:
            self._out += 1
            weakref.finalize(flat, self._freed.append, slot).atexit = False
        else:
            flat = flat.copy()
            self._release(slot)
        return Frame(float(message["seconds"]), flat.reshape(height, width, 3))

    def _give_back(self) -> None:
        """Give back the slots that no array shows any more."""
        while self._freed:
            self._out -= 1
            self._release(self._freed.popleft())

    def _release(self, slot: int) -> None:
        with contextlib.suppress(OSError):  # the decoder has sent its last frame, and is gone
            self._connection.send(bytes((slot,)))

    def _message(self) -> dict[str, Any]:
        """Return the decoder's next message. Raises what its end means."""
        data, waits = b"", True
        while waits:
            self._life.check()
            self._connection.settimeout(min(LOOK_SECONDS, self._life.left()) or 1e-3)
            try:
                data, waits = self._connection.recv(MESSAGE), False
            except TimeoutError:
                waits = self._decoders.running()  # a connection that no supervisor has accepted yet tells nothing of its end
            except ConnectionResetError:
                pass  # the decoder ended without reading which slots are free; its last message comes behind
        self._life.check()
        message: dict[str, Any] = json.loads(data) if data else {}
        if not message:
            self._count("lost")
            raise DecoderLost("the decoder of videos has ended; send the request again in a second")
        if "refused" in message:
            self._count(message["refused"])
            raise (TooLarge if message["refused"] in TOO_LARGE else BadInput)(str(message["words"]))
        if message.get("died") == signal.SIGXCPU:
            raise self._life.too_late()
        if message.get("died") == signal.SIGKILL:
            self._count("lost")
            raise DecoderLost("the decoder of the video was killed; send the request again in a second")
        if "died" in message:
            self._count("crash")
            raise BadInput(f"the video ends its decoder (signal {message['died']}): it is broken, or made to do so")
        if "failed" in message:
            raise ServiceFailed("the video's decoder failed; the log tells why") from RuntimeError(message["failed"])
        return message

    def _count(self, cause: str) -> None:
        self._decoders.refused.labels(cause if cause in CAUSES else "lost").inc()


@contextlib.contextmanager
def _memory(size: int) -> Iterator[int]:
    """Open memory that other processes can map, and whose size nobody can change."""
    descriptor = os.memfd_create("video", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        yield descriptor
    finally:
        os.close(descriptor)


def _wake(connection: socket.socket) -> None:
    """Wake the thread that waits for a frame."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _end(connection: socket.socket, places: threading.Semaphore) -> None:
    """Close a connection, upon which the supervisor ends the decoder, and give back the place."""
    connection.close()
    places.release()
