"""The class Service, of which a service's own code writes a subclass, its own routes, and the files that it watches."""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from serving.base import json_codec
from serving.base.errors import BadInput, ServingError, StartError, WrongInputs
from serving.base.process import resident_bytes
from serving.inputs import v1_predict
from serving.inputs.files import Declared, FileKinds, file_kinds
from serving.inputs.tensor_codec import show
from serving.models.registry import Handle, ModelRegistry
from serving.models.tensors import Arrays, ModelSpec
from serving.service.request import Request
from serving.settings import Settings, size_in_bytes
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.watch")

PLATFORM_PATHS = ("api", "openapi.json", "status", "v1", "v2")
CONTENT_TYPE = re.compile(r"[\t\x20-\x7e]+")  # a line feed in it would begin a header of its own
CPU_INTERVAL = 1.0  # seconds over which the use of cores is averaged, at least
PERIOD = 1.0  # seconds between two checks of a watched file
FileState = tuple[int, int, int] | None
Method = TypeVar("Method", bound=Callable[..., Any])
Option = TypeVar("Option", str, int, float, bool)


@dataclass(frozen=True)
class Answer:
    """An answer that is not JSON: bytes, such as a picture, or an iterator whose items are sent as they come.

    Raises TypeError and ValueError for what HTTP cannot send.
    """

    body: bytes | Iterator[Any]
    content_type: str
    status: int = 200

    def __post_init__(self) -> None:
        if not isinstance(self.body, bytes | bytearray | Iterator):
            raise TypeError(f"Answer: the body is of type {type(self.body).__name__}; it must be bytes or an iterator")
        if not isinstance(self.content_type, str) or not CONTENT_TYPE.fullmatch(self.content_type):
            raise ValueError(f"Answer: the content type is {show(self.content_type)}; it must be one such as 'image/png'")
        if type(self.status) is not int or not 200 <= self.status <= 599:
            raise ValueError(f"Answer: the status is {show(self.status)}; it must be a whole number from 200 to 599")


class Service:
    """A service. These are the hooks, in the order of their calls:

        setup        once, before the first request: loads models, reads and checks files, makes metrics
        preprocess   request -> the model's inputs, as arrays whose first axis counts rows
        postprocess  the model's outputs, request -> results, which are anything that JSON can hold
        handle       replaces preprocess and postprocess: request -> results, with any calls of models

    A plain ONNX model, tensors in and out, needs none of them. A hook raises BadInput("no face found") for a client's mistake,
    which is answered with 400 and that text. Any other exception is answered with 500 and an id, and logged with its traceback.
    NaN and infinity in results become null, since JSON has neither. Hooks run on several threads at once.

    `self.folder` is the Path of the service's folder, and `self.settings` holds the values of value.py. `self.models` loads
    further models, and `self.metrics` makes metrics.
    """

    # The page, /openapi.json and the start's curl line describe the service's own route by these.
    pictures = False  # True where the service reads request.image()
    videos = False  # True where the service reads request.frames() or request.video_bytes
    files: Declared = {}  # other files by their names, as {"audio": "audio/*", "pages": ("image/*", 5)}, for request.file
    example_image = "examples/images/coffee.jpg"  # of the curl line, from the repository's root
    example: Any = None  # a JSON body
    fields: Mapping[str, Sequence[str]] = {}  # fields beside a picture, with the values that may be chosen
    streams = ""  # the content type, where results are an iterator whose items are sent as they come

    def __init_subclass__(cls) -> None:
        _declared_files(cls)  # a mistake is told with the line of the class

    def __init__(self, settings: Settings, models: ModelRegistry, metrics: Metrics, folder: Path):
        self.settings, self.models, self.metrics, self.folder = settings, models, metrics, folder
        self.cached_handle: Callable[[Request], Any] = self.handle  # a server with a cache puts its own here
        self.watched_states: dict[str, FileState] = {}  # of the files that were loaded, since results depend on them
        # Time, processor seconds and cores in use. Any thread may replace it; two readers then share an interval, at worst.
        self._cpu_reading = (time.monotonic(), time.process_time(), 0.0)

    @property
    def model(self) -> Handle:
        """The model of model_path, which is named like the service."""
        return self.models[self.settings.service_name]

    def option(self, name: str, default: Option, least: float = -math.inf, most: float = math.inf) -> Option:
        """Return a value of value.py's options. It must be of the default's type: text, number, True or False.

        least, most: the limits of a number. Raises StartError for another type and for a number outside the limits.
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
        """Return what the process uses of what value.py asks for: memory in bytes, cores, and the queue in rows and seconds.

        cpu_cores: the mean since a reading a second ago or earlier.
        """
        now, used = time.monotonic(), time.process_time()
        since, before, cores = self._cpu_reading
        if now - since >= CPU_INTERVAL:
            cores = (used - before) / (now - since)
            self._cpu_reading = (now, used, cores)
        return {
            "memory_bytes": resident_bytes(),
            "memory_limit_bytes": size_in_bytes(self.settings.memory),
            "cpu_cores": round(cores, 3),
            "cpu_cores_asked": self.settings.cpu,
            "queue_rows": self.models.waiting_rows(),
            "queue_limit": self.settings.queue_limit,
            "oldest_seconds": self.models.oldest_age(),
        }

    def watch(self, path: Path, load: Callable[[], None]) -> None:
        """Call load now, and again on another thread within a second or two of every change of the file at path.

        An exception of the first call ends the start. After an exception of a later call the service keeps what it has.
        load must exchange what requests see in one assignment (self.index = ...). Replace the file as a whole (os.replace).
        """

        def load_it() -> None:
            state = file_state(path)  # before the load, as results of a newer file do no harm under an older state
            load()
            self.watched_states[str(path)] = state

        watch(path, load_it, self.metrics)

    def cached(self, request: Request) -> Any:
        """Return the results of `handle`, with arrays as lists. Equal requests share them where value.py sets `cache`.

        For own routes, not for `handle`, which would wait for itself. Raises what `handle` raises, DeadlinePassed, ClientGone.
        """
        results = self.cached_handle(request)
        return results if isinstance(results, Answer | Iterator) else json_codec.loads(json_codec.dumps(results))

    def setup(self) -> None:
        """Prepare what requests will need. An exception here ends the start, with a message that names its line."""

    def preprocess(self, request: Request) -> Arrays | Any:
        """Return the model's inputs. This default reads the field "data": one input's rows, or a table from input to rows.

        A generator may yield them in groups, such as frames of a video, which the model takes while it goes on.
        Raises BadInput for data that does not fit the model, TooLarge for more than max_rows_per_request rows.
        """
        return from_data(request.data, self.model.spec(request.life), self.settings.max_rows_per_request)

    def postprocess(self, outputs: Arrays, request: Request) -> Any:
        """Return the results. This default returns a table from output to rows.

        outputs: arrays with the rows of this request alone. Texts are bytes in an array of objects.
        """
        return {name: array.tolist() if array.dtype != object else _texts(array) for name, array in outputs.items()}

    def handle(self, request: Request) -> Any:
        """Return a request's results. This default calls preprocess, the model and postprocess."""
        return self.postprocess(self.model(self.preprocess(request), request), request)


@dataclass(frozen=True)
class Route:
    """A route of the service's own code, as the page and /openapi.json show it."""

    path: str  # after the prefix, as Flask writes it: "/items/<int:item>"
    methods: tuple[str, ...]
    summary: str = ""
    example: Any = None  # a JSON body
    pictures: int = 0  # how many it takes
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)  # beside a picture: name -> values to choose from
    files: FileKinds = field(default_factory=dict)  # all that it takes, pictures too
    streams: str = ""  # the content type of an iterator


def route(
    path: str,
    *methods: str,
    example: Any = None,
    pictures: int = 0,
    fields: Mapping[str, Sequence[str]] | None = None,
    files: Declared | None = None,
    streams: str = "",
) -> Callable[[Method], Method]:
    """Mark a method of a Service as a route of its own: `@route("/recognize", pictures=1)`. It takes a Request like handle.

    methods: HTTP methods, POST where there are none. The first line of the docstring becomes the summary in /openapi.json.
    The page offers the rest. example: a JSON body. pictures: how many it takes. fields: name -> values to choose from.
    files: other files that it takes, as a class declares them. Raises ValueError for what cannot be declared.
    streams: the content type of an iterator that the method returns, such as "text/event-stream".
    """
    kinds = file_kinds(files or {}, pictures)

    def mark(method: Method) -> Method:
        summary = (method.__doc__ or "").split("\n")[0]
        own = Route(path, methods or ("POST",), summary, example, pictures, fields or {}, kinds, streams)
        method.__dict__["monopod_route"] = own
        return method

    return mark


def routes_of(service: Service) -> list[tuple[Route, Callable[[Request], Any]]]:
    """Return each of a service's own routes with its function. Raises StartError where the platform has such a path."""
    found = []
    for name in dir(type(service)):
        own: Route | None = getattr(getattr(type(service), name), "monopod_route", None)
        if own is None:
            continue
        if not own.path.startswith("/") or own.path == "/" or own.path.split("/")[1] in PLATFORM_PATHS:
            taken = ", ".join("/" + first for first in PLATFORM_PATHS)
            raise StartError(
                f"route {own.path!r} of {name}: must begin with /, and not with the platform's own {taken}; rename it"
            )
        found.append((own, getattr(service, name)))
    return found


def handles_itself(service: Service) -> bool:
    """Return whether the service has a `handle` of its own."""
    return type(service).handle is not Service.handle


def takes_data(service: Service) -> bool:
    """Return whether the field "data" is read: a service with neither a preprocess nor a handle of its own reads it."""
    return type(service).preprocess is Service.preprocess and not handles_itself(service)


def files_of(service: Service, function: Callable[[Request], Any] | None = None) -> FileKinds:
    """Return the files that a service declares. function: a route of its own, which declares them instead."""
    own: Route | None = getattr(function, "monopod_route", None)
    return _declared_files(type(service), service.pictures, service.videos) if own is None else own.files


def _declared_files(kind: type[Service], pictures: bool = False, videos: bool = False) -> FileKinds:
    """Return what a class declares. An older service may have something of its own by the name files, as its instance has."""
    return file_kinds(kind.files if isinstance(kind.files, Mapping) else {}, pictures, videos)


def from_data(data: Any, spec: ModelSpec, max_rows: int) -> Arrays:
    """Return a model's inputs from the field "data". Raises what the default `preprocess` raises."""
    names = [tensor.name for tensor in spec.inputs]
    if data is None:
        raise BadInput(f'no data in the request; send JSON such as {{"data": ...}} with rows for {", ".join(names)}')
    if not isinstance(data, dict) and len(names) > 1:
        raise BadInput(f'data must be a table with rows for {", ".join(names)}, as {{"data": {{"{names[0]}": [...], ...}}}}')
    rows = data if isinstance(data, dict) else {names[0]: data}
    if set(rows) != set(names):
        raise BadInput(f"data names the inputs {', '.join(map(show, rows))}; the model's are {', '.join(names)}")
    arrays = v1_predict.arrays_of(rows, spec, max_rows)
    try:
        spec.rows(arrays)
    except WrongInputs as error:  # the client sent them, not the service's own code
        raise BadInput(str(error)) from None
    return arrays


def _texts(array: Any) -> Any:
    return np.array([t.decode(errors="replace") for t in array.ravel()], object).reshape(array.shape).tolist()


def watch(path: Path, load: Callable[[], None], metrics: Metrics, period: float = PERIOD) -> None:
    """Call load now, and again whenever the file at path changes its modification time, its size or its inode.

    period: seconds between two checks. Raises the exceptions of the first call. An exception of a later call is logged and
    counted. The service then keeps what it has, and load is called again at the next change. After a ServingError, by which
    the service was too busy, load is called again at the next check. Replace the file as a whole (os.replace), or half of a
    file may be read.

    Concurrency: each file has one thread, which calls load as long as the process lives. load must exchange what requests see
    in one assignment.
    """
    seen = file_state(path)  # before the load, so that a change during it is seen afterwards
    load()
    threading.Thread(target=_follow, args=(path, load, metrics, period, seen), name=f"watch {path.name}", daemon=True).start()


def _follow(path: Path, load: Callable[[], None], metrics: Metrics, period: float, seen: FileState) -> None:
    failed = metrics.reload_failed.labels(path.name)
    while True:
        time.sleep(period)
        now = file_state(path)
        if now == seen:
            continue
        try:
            load()
        except ServingError as error:  # a full queue, a deadline: the file may be good, so it is tried again
            log.warning("%s changed and could not be loaded yet: %s", path, error)
            continue
        except (Exception, SystemExit) as error:
            seen = now
            metrics.reload_failures.inc()
            failed.set(1)
            message = "%s changed and cannot be loaded; the service keeps what it has: %s"
            log.error(message, path, error, exc_info=not isinstance(error, StartError))  # a StartError needs no traceback
        else:
            seen = now
            metrics.reloads.inc()
            failed.set(0)
            log.info("%s changed and was loaded again", path)


def file_state(path: Path) -> FileState:
    """Return a file's modification time in nanoseconds, its size in bytes and its inode, None while there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
