"""What a service writes: a subclass of Service.

Knows models, metrics and settings. Does not know HTTP, queues or threads.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from serving.base.errors import BadInput, StartError, WrongInputs
from serving.inputs import predict
from serving.inputs.json_fields import show
from serving.models.registry import Handle, ModelRegistry
from serving.models.tensors import Arrays, ModelSpec
from serving.service.request import Request
from serving.service.vitals import Vitals
from serving.service.watched_files import watch
from serving.settings import Settings
from serving.telemetry.metrics import Metrics

PLATFORM_PATHS = ("api", "openapi.json", "status", "v1", "v2")
Method = TypeVar("Method", bound=Callable[..., Any])
Option = TypeVar("Option", str, int, float, bool)


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
    # reads request.image() says True (with the curl line's, from the repository's root), videos where one reads
    # request.video_bytes, and else an example of the JSON body.
    pictures = False
    videos = False
    example_image = "examples/images/coffee.jpg"
    example: Any = None
    fields: Mapping[str, Sequence[str]] = {}  # fields that stand beside a picture, with the values that may be chosen

    def __init__(self, settings: Settings, models: ModelRegistry, metrics: Metrics, folder: Path):
        self.settings, self.models, self.metrics, self.folder = settings, models, metrics, folder
        self._vitals = Vitals(settings, models)

    @property
    def model(self) -> Handle:
        """model_path's model, which is named like the service."""
        return self.models[self.settings.service_name]

    def option(self, name: str, default: Option, least: float = -math.inf, most: float = math.inf) -> Option:
        """Return a value of value.py's options, of the default's type: text, number, True or False.

        least and most: of a number. Raises StartError, which names what is allowed.
        """
        found = self.settings.options.get(name, default)
        if isinstance(default, float) and type(found) is int:
            found = float(found)
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if type(found) is type(default) and (not number or least <= float(found) <= most):
            return found
        kinds = {str: "a text", bool: "True or False", int: "a whole number", float: "a number"}
        limits = f" from {least:g} to {most:g}" if number and most < math.inf else ""
        raise StartError(f"value.py: options says {name} = {found!r}; it must be {kinds[type(default)]}{limits}")

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
    """A route of the service's own. example: a JSON body that it takes, or None. pictures: how many it takes.

    fields: names of fields beside a picture, with the values that may be chosen.
    """

    path: str
    methods: tuple[str, ...]
    example: Any = None
    pictures: int = 0
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)


def route(
    path: str, *methods: str, example: Any = None, pictures: int = 0, fields: Mapping[str, Sequence[str]] | None = None
) -> Callable[[Method], Method]:
    """Mark a method of a Service as a route of its own: `@route("/recognize", pictures=1)`. It takes a Request like handle.

    The first line of its docstring becomes its summary in /openapi.json; example (a JSON body), pictures (how many it takes)
    and fields (name -> values to choose from) become what the page offers. Without methods it is a POST.
    """

    def mark(method: Method) -> Method:
        method.__dict__["monopod_route"] = Route(path, methods or ("POST",), example, pictures, fields or {})
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


def takes_data(service: Service) -> bool:
    """Return whether the field "data" is read: as given, by a service without a preprocess or handle of its own."""
    return type(service).preprocess is Service.preprocess and not handles_itself(service)


def takes_files(service: Service, function: Callable[[Request], Any] | None = None) -> bool:
    """Return whether a service, or the function of a route of its own, says that it takes pictures or videos."""
    own: Route | None = getattr(function, "monopod_route", None)
    return service.pictures or service.videos if own is None else own.pictures > 0


def _from_data(data: Any, spec: ModelSpec, max_rows: int) -> Arrays:
    names = [tensor.name for tensor in spec.inputs]
    if data is None:
        raise BadInput(f'no data in the request; send JSON such as {{"data": ...}} with rows for {", ".join(names)}')
    if not isinstance(data, dict) and len(names) > 1:
        raise BadInput(f'data must be a table with rows for {", ".join(names)}, as {{"data": {{"{names[0]}": [...], ...}}}}')
    rows = data if isinstance(data, dict) else {names[0]: data}
    if set(rows) != set(names):
        raise BadInput(f"data names the inputs {', '.join(map(show, rows))}; the model's are {', '.join(names)}")
    arrays = predict.arrays_of(rows, spec, max_rows)
    try:
        spec.rows(arrays)
    except WrongInputs as error:  # here it is the client's doing
        raise BadInput(str(error)) from None
    return arrays


def _texts(array: Any) -> Any:
    return np.array([t.decode(errors="replace") for t in array.ravel()], object).reshape(array.shape).tolist()
