"""Masks: a picture and a material in; where that material is out, as numbers or as a picture."""

import io

import numpy as np
from PIL import Image

from serving.service import Answer, Array, BadInput, Request, Service, route

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


class Masks(Service):
    pictures = True

    def setup(self) -> None:
        self.models.on_demand("nuclei", "model/unet.onnx", warmup_shapes={"images": (1, 256, 256)})
        self.models.on_demand("objects", "model/u2netp-dyn.onnx")

    @route("/detect")
    def detect(self, request: Request) -> dict[str, object] | Answer:
        """Where a material is in a picture; with ?as=png as a picture."""
        material = request.value("material", str, "objects")
        if material not in self.models.names():
            raise BadInput(f"no material {material!r}; it may be {' or '.join(self.models.names())}")
        mask = getattr(self, material)(request.image(at_least=(320, 320)), request) > 0.5
        if request.query.get("as") == "png":
            return as_png(mask)
        if not mask.any():
            raise BadInput(f"no {material} found")
        y, x = np.nonzero(mask)
        return {"material": material, "share": mask.mean(), "box": [x.min(), y.min(), x.max() + 1, y.max() + 1]}

    def handle(self, request: Request) -> object:
        return self.detect(request)

    def nuclei(self, picture: Image.Image, request: Request) -> Array:
        grey = np.asarray(picture.convert("L").resize((256, 256)), np.float32)
        low, high = np.percentile(grey, (1, 99.8))
        grey = ((grey - low) / max(high - low, 1)).astype(np.float32)
        prob = self.models["nuclei"]({"images": grey[None, None]}, request)["prob"]
        return np.asarray(prob[0, 1])

    def objects(self, picture: Image.Image, request: Request) -> Array:
        pixels = np.asarray(picture.resize((320, 320)), np.float32)
        pixels = (pixels / max(pixels.max(), 1) - MEAN) / DEVIATION
        outputs = self.models["objects"]({"input.1": pixels.transpose(2, 0, 1)[None]}, request)
        return np.asarray(outputs["1959"][0, 0])


def as_png(mask: Array) -> Answer:
    out = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(out, "PNG")
    return Answer(out.getvalue(), "image/png")
