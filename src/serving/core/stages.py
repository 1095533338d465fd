"""From a request's bytes to an answer's bytes, on threads of its own.

    decode -> preprocess -> the model's batcher -> postprocess -> encode

Knows the service's hooks and the models. Does not know HTTP or sockets.

Concurrency. `_before` and `_after` have one thread for each core, since more would only take turns. A request that waits for a
batch holds no thread here: its model's future starts the rest of the work on `_after`. A service's own `handle` and routes wait
inside models, so `_blocking` has a thread for each request that the gate lets in. Threads live as long as the process. An
exception in a job is set on its future, so no job ends a thread. Abandoned requests are dropped between the stages.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from serving.base import jsons
from serving.base.errors import ClientGone, ServiceFailed, ServingError, WrongInputs
from serving.base.lifetime import Lifetime
from serving.base.priority import yield_to_others
from serving.base.working_memory import WorkingMemory
from serving.inputs import payload
from serving.inputs.fetch import Fetcher
from serving.models.registry import Handle
from serving.models.tensors import Arrays, ModelSpec
from serving.service.own_code import line_of, place_of
from serving.service.request import Request
from serving.service.service import Answer, Service, handles_itself, takes_files
from serving.settings import size_in_bytes
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.core")

JSON = "application/json"


@dataclass(frozen=True)
class RawRequest:
    """A request before it is decoded. body: as it came. query: the parameters of the URL."""

    id: str
    life: Lifetime
    content_type: str
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An answer's bytes."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Encode = Callable[[Arrays], Reply]  # from a model's outputs
Decoded = tuple[Arrays, Encode]
Prepared = tuple[Handle, Arrays, Encode]


class Core:
    """Answers requests. limit: how many requests the gate lets in at once."""

    def __init__(self, service: Service, metrics: Metrics, limit: int):
        settings = service.settings
        self.memory = WorkingMemory()
        self.jobs = 0  # grows when a job begins or ends; lost updates do no harm, since only a change is looked for
        self._service, self._metrics = service, metrics
        self._pixels = settings.max_image_pixels
        self._fetcher = Fetcher(settings.fetch_hosts, size_in_bytes(settings.max_body), settings.fetch_timeout_second)
        self._may_fetch = bool(settings.fetch_hosts)
        self._own_handle = handles_itself(service)
        cores = max(1, math.ceil(settings.cpu))
        self._before = ThreadPoolExecutor(cores, "before", yield_to_others)
        self._after = ThreadPoolExecutor(cores, "after")
        self._blocking = ThreadPoolExecutor(limit, "blocking")
        self._decoders = threading.Semaphore(cores)
        self._job_begins: dict[int, float] = {}  # thread -> when its job began; each thread writes its own entry

    def stuck_seconds(self) -> float:
        """Return how long the longest job has been running, in seconds."""
        return max((time.monotonic() - began for began in list(self._job_begins.values())), default=0.0)

    def answer(self, raw: RawRequest) -> Future[Reply]:
        """Answer a request to the service's own route."""
        if self._own_handle:
            return self.call(self._service.handle, raw)

        def prepare() -> Prepared:
            request = self._request(raw, takes_files(self._service))
            rows = self._service.preprocess(request)
            return self._service.model, rows, lambda outputs: _reply(self._service.postprocess(outputs, request), request)

        # JSON may hold a URL. Its fetch waits for another server, and must not hold a thread that computes.
        waits = self._may_fetch and raw.content_type.lower().lstrip().startswith(JSON)
        return self._staged(raw, prepare, self._blocking if waits else self._before, own=True)

    def call(self, function: Callable[[Request], Any], raw: RawRequest) -> Future[Reply]:
        """Answer a request by a function that waits inside models: `handle`, or the function of an own route."""
        answer = _promise(raw.life)

        def work() -> None:
            with self._metrics.timed("decode"):
                request = self._request(raw, takes_files(self._service, function))
            answer.set_result(_reply(function(request), request))

        self._blocking.submit(self._guarded, answer, raw, work, own=True)
        return answer

    def infer(self, model: Handle, raw: RawRequest, decode: Callable[[ModelSpec], Decoded]) -> Future[Reply]:
        """Answer a request to a model, without the hooks. decode: returns the model's inputs, and the encoder of its outputs.

        A model that is not loaded yet is waited for on a thread of `_blocking`.
        """

        def prepare() -> Prepared:
            return model, *decode(model.spec(raw.life))

        return self._staged(raw, prepare, self._before if model.loaded else self._blocking, own=False)

    def _staged(
        self, raw: RawRequest, prepare: Callable[[], Prepared], pool: ThreadPoolExecutor, *, own: bool
    ) -> Future[Reply]:
        """Run the stages of one request. own: whether the service's own code runs in them."""
        answer = _promise(raw.life)

        def finish(encode: Encode, outputs: Future[Arrays]) -> None:
            with self._metrics.timed("encode"):
                reply = encode(outputs.result())
            answer.set_result(reply)

        def begin() -> None:
            with self._metrics.timed("decode"):
                model, arrays, encode = prepare()
            model.submit(arrays, raw).add_done_callback(
                lambda outputs: self._after.submit(self._guarded, answer, raw, lambda: finish(encode, outputs), own=own)
            )

        pool.submit(self._guarded, answer, raw, begin, own=own)
        return answer

    def _request(self, raw: RawRequest, files: bool) -> Request:
        decoded = payload.decode(raw.content_type, raw.body, self._fetcher, raw.life, files)
        return Request(raw.id, raw.life, decoded, raw.query, self._pixels, self._decoders, self.memory)

    def _guarded(self, answer: Future[Reply], raw: RawRequest, work: Callable[[], None], *, own: bool) -> None:
        """Run one stage of a request that is not abandoned. An exception becomes the answer."""
        self.jobs += 1
        thread = threading.get_ident()
        self._job_begins[thread] = time.monotonic()
        try:
            raw.life.check()
            work()
        except ServingError as error:
            misused = own and isinstance(error, WrongInputs)
            _fail(answer, self._misused(error, raw) if misused else raw.life.classified(error))
        except BaseException as error:  # sys.exit in a hook too, which nothing else would answer
            if isinstance(error, InvalidStateError) and answer.done():
                return  # the client went away in the meantime
            if isinstance(error, TimeoutError) and raw.life.left() < 0.01:  # a hook waited for a model's future by itself
                _fail(answer, raw.life.too_late())
                return
            log.exception("the service's own code failed", extra={"request_id": raw.id})
            _fail(answer, _failed(raw))
        finally:
            del self._job_begins[thread]
            self.jobs += 1

    def _misused(self, error: ServingError, raw: RawRequest) -> ServiceFailed:
        """Log the line of the service's own code that gave a model wrong inputs, and return the error for the client."""
        # preprocess is over when the model gets what it returned, so it stands in no traceback.
        where = line_of(error, self._service.folder / "src") or place_of(self._service.preprocess) + ", preprocess"
        log.error("the service's own code calls a model wrongly (%s): %s", where, error, extra={"request_id": raw.id})
        return _failed(raw)


def _failed(raw: RawRequest) -> ServiceFailed:
    return ServiceFailed(f"the service failed on this request; its log tells why under request_id {raw.id}")


def _promise(life: Lifetime) -> Future[Reply]:
    """Return a future that fails as soon as the client goes away."""
    answer: Future[Reply] = Future()
    life.on_abandon(lambda: _fail(answer, ClientGone("the client went away before its answer")))
    return answer


def _fail(answer: Future[Reply], error: ServingError) -> None:
    with contextlib.suppress(InvalidStateError):  # answered already, or given up
        answer.set_exception(_without_frames(error))


def _without_frames(error: ServingError) -> ServingError:
    """Return an error without its traceback and the tracebacks of its causes, which have been logged by now.

    A traceback holds frames, the frames hold the request's body and the future, and the future holds the error. That cycle
    would keep the body until the garbage collector runs, and a hundred refused videos would fill the memory before.
    """
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _reply(results: Any, request: Request) -> Reply:
    if isinstance(results, Answer):
        return Reply(results.body, results.content_type, results.status)
    return Reply(jsons.dumps({"results": results, "msg": "", **request.ids}))
