"""A picture in, the net's eight outputs out: as bench/peers/parts does it for every other server."""

from serving.api import Arrays, Request, Service

SIDE = 112  # pixels of a side of the model's input


class Jpeg(Service):
    """The seven-layer net on one picture."""

    pictures = True

    def preprocess(self, request: Request) -> Arrays:
        return {"inputs": request.pixels((SIDE, SIDE), std=255)}

    def postprocess(self, outputs: Arrays, request: Request) -> list[float]:
        values: list[float] = outputs["outputs"][0].tolist()
        return values
