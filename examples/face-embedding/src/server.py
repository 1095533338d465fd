"""Faces: a photo in; each face's box, quality and a vector that tells people apart out. Two photos in: one person or two."""

from typing import Any

import faces
import numpy as np
from finder import Finder

from serving.api import Array, BadInput, Request, Service, TooLarge, route

THRESHOLD = 0.5  # two embeddings at a smaller distance are of one person


class FaceEmbedding(Service):
    """MTCNN, dlib's chip, dlib's embedding."""

    pictures = True
    example_image = "examples/images/astronaut.jpg"

    def setup(self) -> None:
        self.finder = Finder(self)
        self.found = self.metrics.counter("faces_found_total", "Faces in photos that were computed.")

    def handle(self, request: Request) -> dict[str, Any]:
        found = self.finder.find(request.apart(1)[0])
        self.found.inc(len(found.rows))
        return faces.shown(found)

    @route("/embed", pictures=1)
    def embed(self, request: Request) -> Any:
        """Each face of a photo: box, landmarks, score, quality and a vector of 128 numbers."""
        return self.cached(request)

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
            results = self.cached(photo)
        except (BadInput, TooLarge) as error:
            raise type(error)(f"the {name} photo: {error}") from error
        if not results["faces"]:
            raise BadInput(f"no face found in the {name} photo; send two photos that show a face each")
        at = faces.largest(results["faces"])
        which = "its face" if results["found"] == 1 else f"the largest of {results['found']} faces"
        shown = {"picture": picture, **results["faces"][at], "label": f"{name} photo, {which}"}
        return shown, np.array(shown.pop("embedding"), np.float32)
