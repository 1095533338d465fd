"""Samples: send files through a service's own code, as a client would, and record the rows that one of its models gets.

Concurrency: the model's own thread calls the recorder. The thread that sends samples takes the recorded rows between two
requests. Rows of a request that is not finished count for the next one.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from serving.base.errors import ServingError
from serving.base.lifetime import Lifetime
from serving.core.messages import JSON
from serving.inputs.files import FileKinds, content_type
from serving.inputs.payload import NoFetcher, decode, taken_files
from serving.models.engine import Engine
from serving.models.model import from_function
from serving.models.model_cache import ModelSource
from serving.models.tensors import Arrays
from serving.service.loader import described
from serving.service.request import Request
from serving.service.service import Service, files_of, routes_of

MAX_FILES = 256
MAX_ROWS = 128
MAX_BYTES = 500_000_000
SECONDS = 3600.0  # that one sample may take
NOT_FETCHED = "no URLs are fetched here; put the file itself into the JSON, in base64"

T = TypeVar("T")
Tell = Callable[[float], None]


class OptimizeError(Exception):
    """The command cannot be carried out. The text says why, and names the cure."""


@dataclasses.dataclass
class Samples:
    """The rows that a model got: `sent` of the `files` were enough for them.

    rows: all inputs of one row each. refused: names of files, and the service's words to each.
    """

    files: int
    rows: list[Arrays] = dataclasses.field(default_factory=list)
    bytes: int = 0
    sent: int = 0
    refused: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class Recorder:
    """Runs an engine as a model's function, and keeps rows that it gets, spread evenly over all of them."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lock = threading.Lock()
        self._most = 0
        self._kept: list[Arrays] = []
        self._count, self._step = 0, 1

    def __call__(self, arrays: Arrays) -> Arrays:
        with self._lock:
            if self._most and self._count % self._step == 0:
                self._kept.append({name: array.copy() for name, array in arrays.items()})
                if len(self._kept) == 2 * self._most:
                    self._kept, self._step = self._kept[::2], 2 * self._step
            self._count += 1
        return self._engine.run(arrays)

    def start(self, most: int) -> None:
        """Forget the rows, and keep between `most` and twice as many from now on, or all where they are fewer."""
        with self._lock:
            self._most, self._kept, self._count, self._step = most, [], 0, 1

    def rows(self, most: int) -> list[Arrays]:
        """Return at most `most` of the kept rows, spread evenly."""
        with self._lock:
            return evenly(self._kept, most)


def find(service: Service, route: str, folder: Path) -> list[Path]:
    """Return the files in a folder that a client could send to a route, at most MAX_FILES.

    Raises OptimizeError where there is none, and for an unknown route.
    """
    if not folder.is_dir():
        raise OptimizeError(f"{folder}: no such folder; --samples names one that holds files such as clients send")
    kinds = taken_files(files_of(service, _route(service, route)[0]))
    types = {path: content_type(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    files = [path for path, type in types.items() if type == JSON or any(kind.takes(type) for kind in kinds.values())]
    if not files:
        names = ", ".join(each for kind in kinds.values() for each in kind.types)
        raise OptimizeError(f"{folder}: no samples in it; put files ({names}) or JSON bodies there, such as clients send")
    return evenly(files, MAX_FILES)


def record(service: Service, source: ModelSource, files: Sequence[Path], route: str, tell: Tell) -> Samples:
    """Send files to a service and return the rows that one of its models got. tell: takes the number of files that are done.

    Raises OptimizeError where the route is unknown or no row reached the model, StartError where the model cannot be loaded.
    """
    function, query = _route(service, route)
    recorder = _with_recorder(service, source)
    samples = Samples(len(files))
    for at, file in enumerate(files, 1):
        share = at * MAX_ROWS // len(files) - len(samples.rows)  # with the rows that earlier files left over
        if share == 0 or samples.bytes >= MAX_BYTES:
            continue
        recorder.start(share)
        samples.sent += 1
        try:
            function(_request(service, file, query, files_of(service, function)))
        except ServingError as error:
            samples.refused.append((file.name, str(error)))
        except (Exception, SystemExit) as error:
            samples.refused.append((file.name, described(error, service.folder / "src")))
        for row in recorder.rows(share):
            samples.rows.append(row)
            samples.bytes += sum(array.nbytes for array in row.values())
        tell(at)
    if not samples.rows:
        raise OptimizeError(_nothing(samples, source.name))
    return samples


def _with_recorder(service: Service, source: ModelSource) -> Recorder:
    """Replace a model of the service by a recorder, loaded and warm, and return it. Raises StartError."""
    assert source.file is not None
    # One row a batch: a batch of the model is then a row of the samples.
    options = dataclasses.replace(
        source.options, instances=1, max_queue_delay=0.0, max_batch_size=min(1, source.options.max_batch_size)
    )
    engine = Engine(source.file, options.hardware)
    recorder = Recorder(engine)
    service.models.replace(
        source.name, lambda: from_function(source.name, engine.inputs, engine.outputs, recorder, options, service.metrics)
    )
    service.models[source.name].spec(Lifetime(time.monotonic(), SECONDS))
    return recorder


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items, spread evenly over all of them."""
    if len(items) <= most:
        return list(items)
    return [items[at * len(items) // most] for at in range(most)]


def _nothing(samples: Samples, model: str) -> str:
    if not samples.refused:
        return f"{samples.sent} samples were answered, and none of them made the service call the model {model!r}"
    file, words = samples.refused[0]
    return (
        f"no sample reached the model {model!r}: the service refused {len(samples.refused)} of {samples.sent}, "
        f"the first ({file}): {words}"
    )


def _route(service: Service, route: str) -> tuple[Callable[[Request], Any], dict[str, str]]:
    """Return the function of a route, and the query of every request. route: such as /query?top=5, "" for the service's own.

    Raises OptimizeError where the service has no such route.
    """
    parts = urlsplit(route)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.path in ("", "/"):
        return service.handle, query
    own = {each.path: function for each, function in routes_of(service)}
    if parts.path not in own:
        raise OptimizeError(
            f"--route {route}: the service has no such route; its own are {', '.join(sorted(own)) or 'none'}, "
            "and without --route its handle or preprocess is used"
        )
    return own[parts.path], query


def _request(service: Service, file: Path, query: dict[str, str], files: FileKinds) -> Request:
    life = Lifetime(time.monotonic(), SECONDS)
    payload = decode(content_type(file), file.read_bytes(), NoFetcher(NOT_FETCHED), life, files)
    return Request("sample", life, payload, query, service.settings.max_image_pixels)
