"""Runs a model over a picture, window by window."""

from collections import deque
from concurrent.futures import Future

from materials import Sight
from views import Mosaic, Window

from serving.api import Array, Arrays, BadInput, Handle, Request

AHEAD = 2  # windows queued at once; the next one waits while one is computed, so that the model is neither idle nor unloaded


def look(model: Handle, sight: Sight, picture: Array, request: Request) -> tuple[Array, Array]:
    """Return the labels and the certainty of each pixel, as `sight` tells them apart. picture: RGB, uint8 [height, width, 3].

    Raises what the model's calls raise. A BadInput becomes a RuntimeError, since the input was made here and not by the client.
    """
    pixels = sight.prepared(picture)
    height, width = pixels.shape[:2]
    mosaic = Mosaic(sight.kinds, height, width)
    spec = model.spec(request.life)
    queued: deque[tuple[Window, Future[Arrays]]] = deque()

    def take() -> None:
        window, future = queued.popleft()
        mosaic.put(window, sight.seen(request.wait(future)[0][spec.outputs[0].name], window))

    try:
        for window in sight.windows(height, width):
            queued.append((window, model.submit({spec.inputs[0].name: sight.row(pixels, window)}, request)))
            if len(queued) == AHEAD:
                take()
        while queued:
            take()
    except BadInput as error:
        raise RuntimeError(f"model {model.name} does not take what it is shown: {error}") from error
    height, width = picture.shape[:2]
    return sight.told_apart(mosaic.maps()[:, :height, :width])
