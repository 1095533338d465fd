"""Image tagging: a picture in, the five likeliest ImageNet labels out."""

import numpy as np

from serving.api import Arrays, Request, Service

SIDE = 224  # pixels of a side of the model's input
CROP = 0.875  # of the picture's shorter side, from its middle, as the model was trained


class Tagging(Service):
    """EfficientNet-Lite0 on one picture."""

    pictures = True

    def setup(self) -> None:
        self.labels = (self.folder / "model/imagenet_labels.txt").read_text().splitlines()

    def preprocess(self, request: Request) -> Arrays:
        return {"images": request.pixels((SIDE, SIDE), mean=127, std=128, crop=CROP, stretch=False)}

    def postprocess(self, outputs: Arrays, request: Request) -> list[dict[str, object]]:
        logits = outputs["logits"][0]
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = np.argsort(-scores)[:5]
        return [{"label": self.labels[i].split(",")[0], "score": round(float(scores[i]), 4)} for i in best]
