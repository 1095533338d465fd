"""Instance masks: a picture and a material in; each thing of that material out, with its outline, box, area and score."""

import math
import threading
from typing import Any

import catalogue
import numpy as np
import shapes
from looking import look
from materials import MATERIALS
from outlines import Grid, instances

from serving.api import Answer, BadInput, Request, Service, StartError, route

WORDS = {"as": ("json", "picture"), "masks": ("polygon", "rle")}  # the allowed values of these fields; the first is the default
FIELDS = {"material": tuple(MATERIALS)}  # the choices on the page
WARM = {"images": (1, 256, 256)}  # the warm-up shape of U-Net, whose sides are dynamic


class InstanceMasks(Service):
    """One model for each material, loaded on first use and unloaded, least recently used first, over model_memory.

    Concurrency. Nothing that setup makes changes later. `_turns` lets as many requests work at a time as there are cores, and
    one more. Further ones would only share the cores, and hold a decoded picture and its maps each. A request that waits for
    its turn holds a thread and the encoded picture.
    """

    pictures = True
    example_image = "examples/images/coins.png"
    fields = FIELDS

    def setup(self) -> None:
        self.files = catalogue.common(self.folder, {name: each.file for name, each in MATERIALS.items()})
        self.own = catalogue.customers(self.folder, self.files)
        self.default = str(self.settings.options.get("default_material", next(iter(self.files))))
        if self.default not in self.files:
            raise StartError(f"value.py: default_material is {self.default!r}; it may be {' or '.join(self.files)}")
        for file in dict.fromkeys(self.files.values()):
            self._enter(file.removesuffix(".onnx"), f"model/{file}")
        for (customer, material), path in self.own.items():
            self._enter(f"{customer}.{material}", path)
        self._turns = threading.BoundedSemaphore(math.ceil(self.settings.cpu) + 1)
        counter = self.metrics.counter
        self._pictures = counter("instance_masks_pictures_total", "Pictures answered.", ("material", "model"))
        self._empty = counter("instance_masks_empty_total", "Pictures in which nothing was found.", ("material", "model"))
        self._found = counter("instance_masks_instances_total", "Instances found.", ("material",))
        self._cold = counter("instance_masks_cold_total", "Requests that had to wait for a model to load.", ("material",))

    def handle(self, request: Request) -> Any:
        return self.detect(request)

    @route("/detect", pictures=1, fields=FIELDS, example={"image": "", "material": "coins", "masks": "rle"})
    def detect(self, request: Request) -> dict[str, Any] | Answer:
        """Each thing of a material in a picture."""
        material = request.value("material", str, self.default)
        if material not in self.files:
            raise BadInput(f"no material {material!r}; it may be {' or '.join(self.files)}")
        customer = request.value("customer_id", str, "")
        catalogue.check_customer(customer)
        form, masks = (_chosen(request, name) for name in WORDS)
        if not self._turns.acquire(timeout=request.life.left()):
            raise request.life.too_late()
        try:
            request.life.check()  # the client may have gone while it waited
            return self._answer(request, material, customer, form == "picture", masks == "rle")
        finally:
            self._turns.release()

    def _answer(self, request: Request, material: str, customer: str, draw: bool, as_rle: bool) -> dict[str, Any] | Answer:
        chosen = MATERIALS[material]
        longest = chosen.sight.longest
        shown = shapes.within(np.asarray(request.image(at_least=(longest, longest))), longest)
        mine = (customer, material) in self.own
        model = self.models[f"{customer}.{material}" if mine else chosen.file.removesuffix(".onnx")]
        if not model.loaded:
            self._cold.labels(material).inc()
        found = instances(*look(model, chosen.sight, shown, request))
        kind = "customer" if mine else "common"
        self._pictures.labels(material, kind).inc()
        self._empty.labels(material, kind).inc(not found)
        self._found.labels(material).inc(len(found))
        if draw:
            return Answer(shapes.drawn(shown, [each.rings() for each in found]), "image/png")
        width, height = request.image_size()
        grid = Grid((width, height), shown.shape[1::-1])
        described = [grid.described(each, chosen.label, as_rle) for each in found]
        return {"material": material, "model": model.name, "width": width, "height": height, "instances": described}

    def _enter(self, name: str, path: str) -> None:
        self.models.on_demand(name, path, warmup_shapes=WARM)


def _chosen(request: Request, name: str) -> str:
    """Return the value of a field in WORDS, or its default. Raises BadInput for any other value."""
    words = WORDS[name]
    word = request.value(name, str, words[0])
    if word not in words:
        raise BadInput(f"{name} must be {' or '.join(words)}, not {word!r}")
    return word
