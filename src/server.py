"""Image tagging: a picture in, the five likeliest ImageNet labels out."""

import numpy as np
from PIL.Image import Resampling

from serving.api import Arrays, Request, Service

SIDE = 224  # pixels of a side of the model's input
CROP = 0.875  # of the picture's shorter side, from its middle, as the model was trained


class Tagging(Service):
    """EfficientNet-Lite0 on one picture."""

    pictures = True

    def setup(self) -> None:
        self.labels = (self.folder / "model/imagenet_labels.txt").read_text().splitlines()

    def preprocess(self, request: Request) -> Arrays:
        picture = request.image(at_least=(256, 256))
        half = min(picture.size) * CROP / 2
        x, y = picture.width / 2, picture.height / 2
        square = picture.resize((SIDE, SIDE), Resampling.BILINEAR, (x - half, y - half, x + half, y + half))
        pixels = np.asarray(square, np.float32).transpose(2, 0, 1)
        return {"images": (pixels[None] - 127) / 128}

    def postprocess(self, outputs: Arrays, request: Request) -> list[dict[str, object]]:
        logits = outputs["logits"][0]
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = np.argsort(-scores)[:5]
        return [{"label": self.labels[i].split(",")[0], "score": round(float(scores[i]), 4)} for i in best]
