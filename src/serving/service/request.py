"""One request as a service's own code reads it: its files, fields and deadline."""

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from serving.base.errors import BadInput
from serving.base.lifetime import Lifetime
from serving.base.process import WorkingMemory
from serving.inputs import pictures
from serving.inputs.files import IMAGE, VIDEO, File
from serving.inputs.payload import IDS, TYPE_NAMES, Payload, converted
from serving.models.tensors import Array, Arrays
from serving.video.frames import Decoders, Frames, default_decoders
from serving.video.sampling import MAX_FRAMES, Sampling

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


@dataclass
class Request:
    """One request as a service's own code sees it."""

    id: str  # as in the logs, and in the answer's X-Request-Id
    life: Lifetime  # its deadline, and whether its client still waits
    payload: Payload
    query: Mapping[str, str] = field(default_factory=dict)  # the parameters of the URL
    max_image_pixels: int = 50_000_000
    decoders: threading.Semaphore | None = None  # one for each core that may decode a picture
    memory: WorkingMemory | None = None
    video_decoders: Decoders | None = None

    @property
    def data(self) -> Any:
        """The JSON value under "data", None where there is none."""
        return self.payload.data

    @property
    def fields(self) -> Mapping[str, Any]:
        """Further fields by name. A form's are texts."""
        return self.payload.fields

    @property
    def ids(self) -> Mapping[str, Any]:
        """The postid, uid and seqid of the body, or else of the URL. The platform echoes them in the answer."""
        return {name: self.query[name] for name in IDS if name in self.query} | self.payload.ids

    def files(self, name: str) -> tuple[File, ...]:
        """Return every file that was sent under a name, in the order of sending."""
        return self.payload.files.get(name, ())

    def file(self, name: str) -> File:
        """Return the file that was sent under a name. Raises BadInput where there is none, and for several."""
        found = self.files(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise BadInput(f"the request holds {len(found)} files named {name}; send one")
        raise BadInput(f"no file {name} in the request; send one in a form (-F {name}=@FILE), as raw bytes, or in JSON")

    @property
    def image_files(self) -> tuple[bytes, ...]:
        """Every picture as it was sent."""
        return tuple(file.bytes for file in self.files(IMAGE))

    @property
    def image_bytes(self) -> bytes | None:
        """The picture as it was sent, None where there is none. Raises BadInput for several."""
        files = self.image_files
        if len(files) > 1:
            raise BadInput(f"the request holds {len(files)} pictures; send one")
        return files[0] if files else None

    @property
    def video_bytes(self) -> bytes | None:
        """The video as it was sent, None where there is none."""
        return next((file.bytes for file in self.files(VIDEO)), None)

    def value(self, name: str, kind: type[T], default: T | None = None, least: float = -math.inf, most: float = math.inf) -> T:
        """Return a field, or a parameter of the URL, as a str, int, float, bool or list. Numbers may be texts.

        least, most: the limits of a number. Raises BadInput for another type, a number outside the limits, and a missing field
        that has no default.
        """
        given = self.payload.fields.get(name, self.query.get(name))
        if given is None:
            if default is None:
                raise BadInput(f"the request has no {name}; send {TYPE_NAMES[kind]}")
            return default
        found = converted(name, given, kind)
        if isinstance(found, int | float) and not least <= found <= most:
            allowed = f"from {least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
            raise BadInput(f"{name} is {found}; it must be {allowed}")
        return found

    def values(self, name: str, kind: type[T]) -> list[T]:
        """Return a field that is an array, with each item as `value` returns it. Raises BadInput as `value` does."""
        return [converted(f"{name}[{at}]", item, kind) for at, item in enumerate(self.value(name, list))]

    def wait(self, *outputs: Future[Arrays]) -> list[Arrays]:
        """Return the outputs of models that run side by side: `request.wait(a.submit(rows, request), b.submit(rows, request))`.

        Raises DeadlinePassed, and the errors of the models.
        """
        return [self.life.result_of(each) for each in outputs]

    def image(self, at_least: tuple[int, int] | None = None) -> "Image":
        """Return the picture as RGB, upright, with all pixels loaded.

        at_least: a sufficient width and height in pixels. A large JPEG is then decoded smaller, which is faster.
        Raises BadInput where there is none or it is broken, TooLarge over max_image_pixels, MemoryFull where the pictures of
        other requests leave no room for it.
        """
        file = self._one_image()
        with self._decoding():
            return pictures.decode(file, self.max_image_pixels, at_least, self.memory)

    def images(self, count: int, at_least: tuple[int, int] | None = None) -> "list[Image]":
        """Return count pictures, each as `image` returns it. Raises BadInput for another number, and as `image` does."""
        files = self._files(count)
        with self._decoding():
            return [pictures.decode(file, self.max_image_pixels, at_least, self.memory) for file in files]

    def pixels(
        self,
        size: tuple[int, int],
        mean: float | Iterable[float] = 0.0,
        std: float | Iterable[float] = 1.0,
        dtype: str = "float32",
        layout: str = "NCHW",
        *,
        crop: float = 1.0,
        stretch: bool = True,
        picture: "Image | None" = None,
    ) -> Array:
        """Return the picture as one row of a model's input: [1, 3, height, width], or [1, height, width, 3] for layout "NHWC".

        size: width and height in pixels, to which the picture is resized bilinearly.
        mean, std: of colours from 0 to 255, each a number, or three for red, green and blue. A value is (colour - mean) / std.
        dtype: float16, float32, float64, or uint8 where mean and std are left out.
        crop: the part of each side that is used, above 0 up to 1, from the middle. stretch: whether the whole picture is used.
        Else it is the largest part that has the shape of size, so that nothing is distorted.
        picture: RGB, taken instead of the request's own. That one is decoded as small as will do.
        Raises ValueError for other arguments, and further as `image` does.
        """
        means, stds = ((each,) if isinstance(each, int | float) else tuple(each) for each in (mean, std))
        form = pictures.form(tuple(size), means, stds, dtype, layout, crop, stretch)
        return pictures.pixels(picture or self.image((round(size[0] / crop), round(size[1] / crop))), form)

    def frames(
        self,
        every: float = 1.0,
        at_most: int = MAX_FRAMES,
        at_least: tuple[int, int] = (0, 0),
        *,
        start: float = 0.0,
        end: float = 0.0,
        sampling: str = "exact",
        video: bytes | None = None,
    ) -> Frames:
        """Return an iterator over frames of the video: `for frame in request.frames(every=1.0, at_least=(256, 256))`.

        Each has `seconds`, since the first frame, and `pixels`: uint8 [height, width, 3], RGB, upright, not writable. All have
        one size. A process of its own decodes them, a few ahead. After the last one, `ending` has `damaged`, `seconds` and
        `decoded`. Each call decodes the video anew.
        every: seconds from one frame to the next, 0 for each frame. at_most: frames.
        start, end: seconds of the part that is read. An end of 0 is the video's own.
        at_least: a sufficient width and height in pixels. Frames are scaled down to the smallest size of their shape with both.
        sampling: "exact", "fast" or "keys". "fast" takes a key frame within half a step instead, and so decodes far less.
        "keys" takes key frames alone. video: taken instead of the request's own.
        Raises ValueError for other arguments. The call and the iterator raise BadInput for no or a broken video, TooLarge for
        one that is too large or too long for its deadline, DecoderLost, DeadlinePassed, ClientGone, MemoryFull.
        """
        wanted = Sampling(every, at_most, at_least, start, end, sampling)
        return self._video(self._one_video() if video is None else video, wanted, False)

    def video_info(self) -> dict[str, Any]:
        """Return what the video's header says: seconds, width and height (upright), rate (frames a second) and codec.

        A number that it leaves out is 0. Raises as `frames` does.
        """
        return self._video(self._one_video(), Sampling(), True).info()

    def apart(self, count: int) -> "list[Request]":
        """Return one request for each picture, with everything else of this one. Raises BadInput unless there are count."""
        self._files(count)
        each = ({**self.payload.files, IMAGE: (file,)} for file in self.files(IMAGE))
        return [replace(self, payload=replace(self.payload, files=files)) for files in each]

    def image_size(self) -> tuple[int, int]:
        """Return the width and height in pixels of the picture as it was sent, upright. Raises BadInput and TooLarge."""
        return pictures.size(self._one_image(), self.max_image_pixels)

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[None]:
        """Wait until a core is free for decoding. Raises DeadlinePassed."""
        if self.decoders is not None and not self.decoders.acquire(timeout=self.life.left()):
            raise self.life.too_late()
        try:
            yield
        finally:
            if self.decoders is not None:
                self.decoders.release()

    def _files(self, count: int) -> tuple[bytes, ...]:
        files = self.image_files
        if len(files) == count:
            return files
        raise BadInput(
            f"the request holds {len(files)} pictures and must hold {count}; send each with -F image=@file, or all in JSON's "
            "array images"
        )

    def _video(self, video: bytes, wanted: Sampling, info: bool) -> Frames:
        memory = self.memory or WorkingMemory()
        taken = memory.reserve(len(video), "its video")
        try:
            found = (self.video_decoders or default_decoders()).open(video, wanted, self.life, info)
        except BaseException:
            memory.release(taken)
            raise
        memory.release_with(found, taken)
        return found

    def _one_video(self) -> bytes:
        file = self.video_bytes
        if file is None:
            raise BadInput("no video in the request; send one as the field video (-F video=@file), as raw bytes, or in JSON")
        return file

    def _one_image(self) -> bytes:
        file = self.image_bytes
        if file is None:
            raise BadInput("no picture in the request; send one as the field image (-F image=@file), as raw bytes, or in JSON")
        return file


def make_request(
    *,
    image: bytes | None = None,
    images: Sequence[bytes] = (),
    video: bytes | None = None,
    files: Mapping[str, bytes | File | Sequence[bytes | File]] | None = None,
    data: Any = None,
    fields: Mapping[str, Any] | None = None,
    seconds: float = 3600.0,
) -> Request:
    """Return a request that no client sent, for scripts, and for calls from setup or a reload. seconds: until its deadline.

    files: one file or several by each name, as `Request.files` has them.
    """
    sent = {IMAGE: images if image is None else (image,), VIDEO: () if video is None else (video,), **(files or {})}
    each = {name: (found,) if isinstance(found, bytes | File) else found for name, found in sent.items()}
    held = {name: tuple(f if isinstance(f, File) else File(f) for f in found) for name, found in each.items() if found}
    return Request("offline", Lifetime(time.monotonic(), seconds), Payload(held, data, dict(fields or {})))
