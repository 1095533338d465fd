"""What a service writes: a subclass of Service, and the request that its hooks are given.

Knows pictures, models and plain values. Does not know HTTP, queues or threads.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from serving import images
from serving.engine import StartError
from serving.errors import BadInput, TooLarge
from serving.inputs import KINDS, Payload, converted
from serving.lifetime import Lifetime
from serving.metrics import Metrics
from serving.models import Handle, Models
from serving.protocol import v1
from serving.protocol.fields import show
from serving.schema import Settings
from serving.tensors import Array, Arrays, ModelSpec, TensorSpec
from serving.vitals import Vitals
from serving.watch import watch

if TYPE_CHECKING:
    from PIL.Image import Image

PLATFORM_PATHS = ("api", "openapi.json", "status", "v1", "v2")
# All that a server.py needs, from one place.
__all__ = [
    "Answer",
    "Array",
    "Arrays",
    "BadInput",
    "Request",
    "Service",
    "StartError",
    "TensorSpec",
    "TooLarge",
    "make_request",
    "route",
]
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass
class Request:
    """One request as a service sees it.

    data: the JSON value under "data". fields: what else the client sent, by name; values of a form are texts.
    query: the part of the URL after "?". ids: postid, uid and seqid, which the platform echoes by itself.
    image_files: every picture as it came. image_bytes and video_bytes: the one file as it came, or None.
    id: what logs and the answer's X-Request-Id say.
    """

    id: str
    life: Lifetime
    payload: Payload
    query: Mapping[str, str] = field(default_factory=dict)
    max_image_pixels: int = 50_000_000

    @property
    def data(self) -> Any:
        return self.payload.data

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.payload.fields

    @property
    def ids(self) -> Mapping[str, Any]:
        return self.payload.ids

    @property
    def image_files(self) -> tuple[bytes, ...]:
        first = self.payload.image
        return () if first is None else (first, *self.payload.further_images)

    @property
    def image_bytes(self) -> bytes | None:
        files = self.image_files
        if len(files) > 1:
            raise BadInput(f"the request holds {len(files)} pictures; send one")
        return files[0] if files else None

    @property
    def video_bytes(self) -> bytes | None:
        return self.payload.video

    def value(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Return a field, or a parameter of the URL, as a str, int, float, bool or list; texts are read as what is asked for.

        Raises BadInput where it is something else, and where it is missing and has no default.
        """
        found = self.payload.fields.get(name, self.query.get(name))
        if found is not None:
            return converted(name, found, kind)
        if default is None:
            raise BadInput(f"the request has no {name}; send {KINDS[kind]}")
        return default

    def values(self, name: str, kind: type[T]) -> list[T]:
        """Return a field that is an array, each of its items as `value` would. Raises BadInput, as `value` does."""
        return [converted(f"{name}[{at}]", item, kind) for at, item in enumerate(self.value(name, list))]

    def wait(self, *outputs: Future[Arrays]) -> list[Arrays]:
        """Return what models gave that work side by side: `request.wait(a.submit(rows, request), b.submit(rows, request))`.

        Raises DeadlinePassed, and what a model raised.
        """
        try:
            return [each.result(self.life.left()) for each in outputs]
        except FutureTimeout:
            raise self.life.too_late() from None

    def image(self, at_least: tuple[int, int] | None = None) -> "Image":
        """Return the picture: RGB, upright, whole.

        at_least: (width, height) that suffice; a large JPEG is then decoded smaller, which is faster.
        Raises BadInput when there is none or it is broken, TooLarge over max_image_pixels.
        """
        return images.decode(self._one_image(), self.max_image_pixels, at_least)

    def images(self, count: int, at_least: tuple[int, int] | None = None) -> "list[Image]":
        """Return so many pictures, each as `image` would. Raises BadInput for fewer or more, and what `image` does."""
        files = self.image_files
        if len(files) != count:
            raise BadInput(
                f"{len(files)} pictures in the request, it takes {count}; send each with -F image=@file, or JSON with images, "
                "an array"
            )
        return [images.decode(file, self.max_image_pixels, at_least) for file in files]

    def image_size(self) -> tuple[int, int]:
        """Return the upright picture's width and height in pixels as it was sent, however small `image` returns it."""
        return images.size(self._one_image(), self.max_image_pixels)

    def _one_image(self) -> bytes:
        file = self.image_bytes
        if file is None:
            raise BadInput("no picture in the request; send one as the field image (-F image=@file), as raw bytes, or in JSON")
        return file


def make_request(
    *,
    image: bytes | None = None,
    images: Sequence[bytes] = (),
    video: bytes | None = None,
    data: Any = None,
    fields: Mapping[str, Any] | None = None,
    seconds: float = 3600.0,
) -> Request:
    """Return a request that no client sent, good for so many seconds: for scripts, and for calls from setup or a reload."""
    first, *further = (*images,) if image is None and images else (image,)
    payload = Payload(first, video, data, dict(fields or {}), {}, tuple(filter(None, further)))
    return Request("offline", Lifetime(time.monotonic(), seconds), payload)


@dataclass(frozen=True)
class Answer:
    """A finished answer that is not JSON, such as a picture."""

    body: bytes
    content_type: str
    status: int = 200


class Service:
    """A service. The hooks, in the order of their calls:

        setup        once, before the first request: load models, read files, check what must be there, make metrics
        preprocess   request -> the model's inputs, as arrays whose first axis counts rows
        postprocess  the model's outputs, request -> results: anything JSON can hold
        handle       in place of the two: request -> results, calling models as it likes

    A plain ONNX model, tensors in and out, needs none of them. A hook raises BadInput("no face found") for what the client did
    wrong: a 400 with that text. Anything else it raises is a 500 with an id, and a traceback in the log. NaN and infinity in
    results become null, since JSON has neither. Hooks run on several threads at once.
    """

    # What the page, /openapi.json and the start's curl line offer for the service's own route: pictures where a subclass that
    # reads request.image() says True, and else an example of the JSON body.
    pictures = False
    example: Any = None

    def __init__(self, settings: Settings, models: Models, metrics: Metrics, folder: Path):
        self.settings, self.models, self.metrics, self.folder = settings, models, metrics, folder
        self._vitals = Vitals(settings, models)

    @property
    def model(self) -> Handle:
        """model_path's model, which is named like the service."""
        return self.models[self.settings.service_name]

    def vitals(self) -> dict[str, Any]:
        """Return memory, cores and queue: how much is used of what value.py asks for, in bytes, cores and rows."""
        return self._vitals.read()

    def watch(self, path: Path, load: Callable[[], None]) -> None:
        """Call load now, and again on a thread of its own within a second or two of every change of the file at path.

        An exception of the first call ends the start; after a later one what was loaded before stays. load exchanges what
        requests see in one assignment (self.index = ...), and the file is replaced as a whole (os.replace).
        """
        watch(path, load, self.metrics)

    def setup(self) -> None:
        """Prepare what requests will need. An exception here ends the start, in words."""

    def preprocess(self, request: Request) -> Arrays:
        """Return the model's inputs. As given: "data" is one input's rows, or a table from input to rows."""
        return _from_data(request.data, self.model.spec(request.life), self.settings.max_rows_per_request)

    def postprocess(self, outputs: Arrays, request: Request) -> Any:
        """Return the results. As given: a table from output to rows."""
        return {name: array.tolist() if array.dtype != object else _texts(array) for name, array in outputs.items()}

    def handle(self, request: Request) -> Any:
        """Answer a request. As given: preprocess, the model, postprocess, each on a thread that suits it."""
        return self.postprocess(self.model(self.preprocess(request), request), request)


@dataclass(frozen=True)
class Route:
    """A route of the service's own. example: a JSON body that it takes, or None. pictures: how many it takes."""

    path: str
    methods: tuple[str, ...]
    example: Any = None
    pictures: int = 0


def route(path: str, *methods: str, example: Any = None, pictures: int = 0) -> Callable[[Method], Method]:
    """Mark a method of a Service as a route of its own: `@route("/recognize", pictures=1)`. It takes a Request like handle.

    The first line of its docstring becomes its summary in /openapi.json; example (a JSON body) and pictures (how many it takes)
    become what the page offers. Without methods it is a POST.
    """

    def mark(method: Method) -> Method:
        method.__dict__["monopod_route"] = Route(path, methods or ("POST",), example, pictures)
        return method

    return mark


def routes_of(service: Service) -> list[tuple[Route, Callable[[Request], Any]]]:
    """Return each of a service's own routes with its function. Raises StartError where a path is taken."""
    found = []
    for name in dir(type(service)):
        own: Route | None = getattr(getattr(type(service), name), "monopod_route", None)
        if own is None:
            continue
        if not own.path.startswith("/") or own.path == "/" or own.path.split("/")[1] in PLATFORM_PATHS:
            taken = ", ".join("/" + first for first in PLATFORM_PATHS)
            raise StartError(
                f"route {own.path!r} of {name}: must begin with / and with none of the platform's own {taken}; rename it"
            )
        found.append((own, getattr(service, name)))
    return found


def handles_itself(service: Service) -> bool:
    """Return whether the service has a `handle` of its own."""
    return type(service).handle is not Service.handle


def _from_data(data: Any, spec: ModelSpec, max_rows: int) -> Arrays:
    names = [tensor.name for tensor in spec.inputs]
    if data is None:
        raise BadInput(f'no data in the request; send JSON such as {{"data": ...}} with rows for {", ".join(names)}')
    rows = data if isinstance(data, dict) else {names[0]: data}
    if set(rows) != set(names):
        raise BadInput(f"data names the inputs {', '.join(map(show, rows))}; the model's are {', '.join(names)}")
    return v1.arrays_of(rows, spec, max_rows)


def _texts(array: Any) -> Any:
    return np.array([t.decode(errors="replace") for t in array.ravel()], object).reshape(array.shape).tolist()
