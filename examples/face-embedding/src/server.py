"""Faces: a photo in; each face's box, quality and a vector that tells people apart out. Two photos in: one person or two.

Knows the routes and the words of their answers. Does not know how faces are found (finder) or kept (cache, shared).
"""

import os
from typing import Any

import faces
import numpy as np
from cache import Cache, key_of, version_of
from faces import Faces
from finder import MODELS, Finder
from shared import Shared

from serving.api import Array, BadInput, Request, Service, TooLarge, route

THRESHOLD = 0.5  # two embeddings at a smaller distance are of one person
KEPT_BYTES = 64 * 2**20  # of results in the process: some 50,000 photos of a face each
CODE = ("pixels", "mtcnn", "align", "faces", "finder")  # the modules that decide a result, besides the models


class FaceEmbedding(Service):
    """MTCNN, dlib's chip, dlib's embedding."""

    pictures = True
    example_image = "examples/images/astronaut.jpg"

    def setup(self) -> None:
        store = self.redis()
        self.finder = Finder(self)
        self.found = self.metrics.counter("faces_found_total", "Faces in answered photos, whether computed or kept.")
        hits = self.metrics.counter(
            "face_cache_hits_total", "Photos that were not computed, by the origin of the result.", ("place",)
        )
        misses = self.metrics.counter("face_cache_misses_total", "Photos that were computed.")
        for place in ("process", "redis", "flight"):
            hits.labels(place)
        self.cache: Cache[Faces] = Cache(
            KEPT_BYTES,
            faces.size_of,
            store,
            faces.pack,
            faces.unpack,
            lambda place: hits.labels(place).inc(),
            misses.inc,
        )
        files = [f"model/{name}.onnx" for name in MODELS] + [f"src/{name}.py" for name in CODE]
        self.version = version_of(self.folder / file for file in files)

    def redis(self) -> Shared | None:
        """Return the Redis that the environment or value.py names, or None where neither does."""
        url = os.environ.get("REDIS_URL") or str(self.settings.options.get("redis_url", ""))
        if not url:
            return None
        up = self.metrics.gauge("face_redis_up", "1 while Redis is used; 0 while it is away and left alone.")
        errors = self.metrics.counter("face_redis_errors_total", "Failures of Redis, none of which fails a request.", ("kind",))
        for kind in ("unreachable", "refused", "corrupt"):
            errors.labels(kind)
        shared = Shared(url, faces.LARGEST, lambda kind: errors.labels(kind).inc())
        up.set_function(lambda: float(shared.up))
        return shared

    def handle(self, request: Request) -> dict[str, Any]:
        return self.embed(request)

    @route("/embed", pictures=1)
    def embed(self, request: Request) -> dict[str, Any]:
        """Each face of a photo: box, landmarks, score, quality and a vector of 128 numbers."""
        return faces.shown(self.faces_of(request.apart(1)[0]))

    @route("/compare", pictures=2)
    def compare(self, request: Request) -> dict[str, Any]:
        """Whether the largest faces of two photos are one person's."""
        (one, vector), (other, other_vector) = [self.face_of(at, photo) for at, photo in enumerate(request.apart(2))]
        distance = round(float(np.linalg.norm(vector - other_vector)), 4)
        same = distance < THRESHOLD
        return {
            "label": "same person by likeness" if same else "two persons by likeness",
            "score": round(max(0.0, 1 - distance / (2 * THRESHOLD)), 4),  # 0.5 at the threshold; not a probability
            "distance": distance,
            "same": same,
            "threshold": THRESHOLD,
            "faces": [one, other],
        }

    def face_of(self, picture: int, photo: Request) -> tuple[dict[str, Any], Array]:
        """Return a photo's largest face as the answer's JSON and as a vector. picture: the photo's index, 0 or 1."""
        name = ("first", "second")[picture]
        try:
            found = self.faces_of(photo)
        except (BadInput, TooLarge) as error:
            raise type(error)(f"the {name} photo: {error}") from error
        if not found.found:
            raise BadInput(f"no face found in the {name} photo; send two photos that show a face each")
        at = faces.largest(found)
        which = "its face" if found.found == 1 else f"the largest of {found.found} faces"
        shown = {"picture": picture, **faces.face(found, at), "label": f"{name} photo, {which}"}
        return shown, found.rows[at, faces.EMBEDDING]

    def faces_of(self, photo: Request) -> Faces:
        key = key_of(self.settings.service_name, self.version, photo.image_files[0])
        result = self.cache.get(key, photo.life, lambda: self.finder.find(photo))
        self.found.inc(len(result.rows))
        return result
