"""Faces: a photo in; each face's box, score and a vector that tells people apart out."""

from typing import Any

import mtcnn  # type: ignore[import-not-found]  # beside this file
import numpy as np
from PIL import Image

from serving.service import Array, BadInput, Request, Service

CHIP = np.array([(47.55, 46.6), (100.48, 46.6), (74.01, 76.56), (50.41, 103), (97.61, 103)])  # eyes, nose, mouth in 150 px
LONGEST = 512  # pixels of a photo's longer side that faces are looked for in


class Faces(Service):
    pictures = True

    def setup(self) -> None:
        self.found = self.metrics.counter("faces_found_total", "Faces found in photos.")
        many = {"max_batch_size": 64, "max_rows_per_request": 512, "queue_limit": 2048, "max_queue_delay": 0}
        self.pnet = self.models.load("pnet", "model/pnet.onnx", max_batch_size=1, warmup_shapes={"input_1": (200, 200, 3)})
        self.rnet = self.models.load("rnet", "model/rnet.onnx", **many)
        self.onet = self.models.load("onet", "model/onet.onnx", **many)

    def handle(self, request: Request) -> list[dict[str, Any]]:
        photo = request.image(at_least=(LONGEST, LONGEST))
        photo.thumbnail((LONGEST, LONGEST))
        faces = mtcnn.detect(
            photo,
            lambda sizes: request.wait(*[self.pnet.submit(size, request) for size in sizes]),
            lambda crops: self.rnet(crops, request),
            lambda crops: self.onet(crops, request),
        )
        if not faces:
            raise BadInput("no face found")
        self.found.inc(len(faces))
        chips = np.stack([chip(photo, face.points) for face in faces])
        vectors = self.model({"faces": chips}, request)["embedding"]
        return [
            {"box": face.box, "score": face.score, "points": face.points, "embedding": vector}
            for face, vector in zip(faces, vectors, strict=True)
        ]


def chip(photo: Image.Image, points: Array) -> Array:
    """Return a face turned and scaled to where dlib's model wants its eyes, nose and mouth."""
    ones, zeros = np.ones(5), np.zeros(5)
    x, y = CHIP.T
    rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, dx, dy = np.linalg.lstsq(rows, np.concatenate([points[:, 0], points[:, 1]]), rcond=None)[0]
    face = photo.transform((150, 150), Image.Transform.AFFINE, (a, -b, dx, b, a, dy), Image.Resampling.BILINEAR)
    return np.asarray(face, np.float32).transpose(2, 0, 1)
