"""Finds, aligns and embeds the faces of one photo, from its bytes, with four models.

Concurrency. `find` runs on the thread of its request. At most `cpu` photos are decoded at once, since decoding takes a core and
each photo may hold max_image_pixels. At most PHOTOS_AT_ONCE are in work at once, decoding included. They are enough to fill
batches, and few enough that memory and the models' queues have room for all their faces. Other photos wait as encoded bytes.
The two semaphores are taken in one order and released in `finally`. A thread that holds one waits only for models, which
answer by the request's deadline, so every waiting request gets its turn.
"""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import align
import faces
import mtcnn
import numpy as np
from faces import Faces
from pixels import Photo, open_photo

from serving.api import Lifetime, Request, Service

PHOTOS_AT_ONCE = 8
MODELS = ("pnet", "rnet", "onet", "dlibface-fp16")


class Finder:
    """Runs the four models. service: owner of the models and metrics. Raises StartError where a model cannot be loaded."""

    def __init__(self, service: Service):
        self._decode_seconds = service.metrics.histogram("face_decode_seconds", "Time to decode one photo.")
        self._working = threading.BoundedSemaphore(PHOTOS_AT_ONCE)
        self._decoding = threading.BoundedSemaphore(math.ceil(service.settings.cpu))
        largest = round(mtcnn.LONGEST * mtcnn.scales(mtcnn.LONGEST, mtcnn.LONGEST)[0])

        def load(file: str, rows: int, batch: int, **shapes: Any) -> Any:
            """Load a model. rows: the most that one photo may need. batch: the largest batch, in rows."""
            limits = {"max_rows_per_request": rows, "queue_limit": rows * PHOTOS_AT_ONCE, "max_batch_size": batch}
            return service.models.load(file.removesuffix("-fp16"), f"model/{file}.onnx", **limits, **shapes)

        self._pnet = load(MODELS[0], 16, 8, warmup_shapes={"input_1": (largest, largest, 3)})  # a row: one size of a photo
        self._rnet = load(MODELS[1], mtcnn.MOST[1], 128)
        self._onet = load(MODELS[2], mtcnn.MOST[2], 64)
        self._embedding = load(MODELS[3], faces.MAX_FACES, 16)

    def find(self, request: Request) -> Faces:
        """Return the faces of a request's one photo.

        Raises BadInput and TooLarge where the bytes are not a usable photo; DeadlinePassed, ClientGone, QueueFull, ModelFailed.
        """
        with _place(self._working, request.life):
            size = request.image_size()
            photo = self._decode(request, size)
            found = mtcnn.find(
                photo,
                lambda sizes: request.wait(*[self._pnet.submit(each, request) for each in sizes]),
                lambda crops: self._rnet(crops, request),
                lambda crops: self._onet(crops, request),
            )
            if not len(found.scores):
                return faces.none(size)
            boxes, points, scores = (part[: faces.MAX_FACES] for part in (found.boxes, found.points, found.scores))
            chips = align.chips(photo, points)
            vectors = self._embedding({"faces": chips}, request)["embedding"]
            grow = np.array(size) / photo.size  # back to the size of the photo as it was sent
            quality = align.quality(scores, points, chips)
            return faces.make(size, len(found.scores), boxes * np.tile(grow, 2), points * grow, scores, quality, vectors)

    def _decode(self, request: Request, size: tuple[int, int]) -> Photo:
        """Return the photo, decoded smaller where possible so that its longer side is one to two times LONGEST."""
        share = min(1.0, mtcnn.LONGEST / max(size))
        # The platform's own limit no longer holds once a picture is decoded, when it may still have all its pixels.
        with _place(self._decoding, request.life), self._decode_seconds.time():
            picture = request.image(at_least=(int(size[0] * share), int(size[1] * share)))
            return open_photo(picture.reduce(max(1, max(picture.size) // mtcnn.LONGEST)))


@contextlib.contextmanager
def _place(room: threading.Semaphore, life: Lifetime) -> Iterator[None]:
    """Hold a semaphore in the block. Raises DeadlinePassed, ClientGone."""
    if not room.acquire(timeout=life.left()):
        raise life.too_late()
    try:
        life.check()
        yield
    finally:
        room.release()
