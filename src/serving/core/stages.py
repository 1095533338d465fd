"""From a request's bytes to an answer's bytes.

    decode -> preprocess -> the model's batcher -> postprocess -> encode

Concurrency. The loop calls `answer` and `infer`. Small tensors are decoded and encoded right there. All else goes to threads:
`_before` and `_after` have one for each core, since more would only take turns. Both yield to the loop, and
neither ranks over the batches' threads. A higher thread would displace the one that wakes it, and that one
holds the interpreter's lock.
A request that waits for a batch holds no thread: the end of the batch starts the rest of its work. A service's own `handle`
waits inside models, videos wait for decoders, and iterators wait for their clients. So `_blocking` has a thread for each
request that the gate lets in.
An own route runs on the thread that calls `call`. Threads live as long as the process.
An exception in a job becomes the request's answer, so no job ends a thread. Every answer is given to its callback on the loop,
by one hand-over. Requests that nobody waits for are dropped between the stages. A request that leaves the loop is counted as a
row that waits, before any thread has it. On the loop, decoding and queueing are one step.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from serving.base import json_codec
from serving.base.errors import QueueFull, ServiceFailed, ServingError, WrongInputs, WrongResults
from serving.base.lifetime import Lifetime
from serving.base.process import WorkingMemory, yield_to_others
from serving.core.messages import JSON, Done, RawRequest, Reply, Result, StageTimes, Stream
from serving.core.result_cache import ResultCache
from serving.inputs import payload
from serving.inputs.files import FileKinds
from serving.inputs.payload import NoFetcher, UrlFetcher
from serving.models.calls import Call
from serving.models.registry import Handle
from serving.models.tensors import Arrays, ModelSpec
from serving.service.loader import line_of, place_of
from serving.service.request import Request
from serving.service.service import Answer, Service, files_of, from_data, handles_itself, takes_data
from serving.settings import Settings, size_in_bytes
from serving.video.frames import Decoders, available

log = logging.getLogger("monopod.core")

Job = tuple[Callable[..., None], tuple[Any, ...]]


class WorkerThreads:
    """A fixed number of threads that run jobs in the order in which they come. first: each calls it before its first job.

    A job that raises is logged and never ends its thread. The threads are daemons and live as long as the process: nobody waits
    for a job here, since each one reports its own end.
    """

    def __init__(self, count: int, name: str, first: Callable[[], None] = lambda: None):
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, args=(first,), name=f"{name}-{number}", daemon=True).start()

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have a thread call a function."""
        self._jobs.put((function, arguments))

    def _run(self, first: Callable[[], None]) -> None:
        first()
        while True:
            function, arguments = self._jobs.get()
            try:
                function(*arguments)
            except BaseException:  # sys.exit in a hook too
                log.exception("a job failed")
            del function, arguments  # or this frame would keep the last request until the next one comes


def fetcher_of(settings: Settings) -> UrlFetcher:
    """Return what fetches URLs. Its libraries take 50 ms and 5 MB, so they are loaded only where fetch_hosts is set."""
    if not settings.fetch_hosts:
        return NoFetcher()
    from serving.inputs.fetch import Fetcher

    return Fetcher(settings.fetch_hosts, size_in_bytes(settings.max_body), settings.fetch_timeout_second)


def _video_decoders(service: Service) -> Decoders:
    """Return the decoders of a service's videos, which are starting."""
    settings, metrics = service.settings, service.metrics
    decoders = Decoders(settings.decode_workers, size_in_bytes(settings.decode_memory), settings.max_image_pixels, metrics)
    decoders.start()
    return decoders


class FetcherOfRequest:
    """Fetches for one request, whose time of that is a stage of its own. share: a place for each request that fetches.

    Concurrency. The thread that decodes the request calls everything here. It takes a place at the first fetch, never waits for
    one, and gives it back when the block ends.
    """

    def __init__(self, fetcher: UrlFetcher, times: StageTimes, share: threading.Semaphore):
        self._fetcher, self._times, self._share, self._has_place = fetcher, times, share, False

    def __enter__(self) -> "FetcherOfRequest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_place:
            self._share.release()

    def fetch(self, url: str, deadline: float) -> bytes:
        """Return the bytes behind a URL, as the fetcher does. Raises QueueFull too, where too many requests fetch already."""
        if not self._has_place:
            self._has_place = self._share.acquire(blocking=False)
        if not self._has_place:
            raise QueueFull(
                "too many requests are fetching their URLs; try again in a second, or send the bytes, or raise queue_limit: "
                "half of it may fetch at once"
            )
        with self._times.inside("fetch"):
            return self._fetcher.fetch(url, deadline)


# On the loop, other requests wait meanwhile. These numbers of bytes take at most 0.2 ms: to decode numbers in JSON, binary
# tensors and texts, which may be empty and take a step each, and to encode outputs. A body of SMALL_JSON bytes is also too
# small to be counted as held.
SMALL_JSON, SMALL_BINARY, SMALL_TEXTS, SMALL_OUTPUTS = 8 * 2**10, 64 * 2**10, 2 * 2**10, 16 * 2**10

Encode = Callable[[Arrays], Reply]  # from a model's outputs
Decoded = tuple[Arrays, Encode]
Decode = Callable[[bytes, ModelSpec], Decoded]
Prepared = tuple[Handle, Arrays | Any, Encode]  # Any: an iterator of arrays, as preprocess may return it
Prepare = Callable[[RawRequest], Prepared]
NO_LIFE = Lifetime(0.0, 0.0)  # of a request for which nothing waits


class Core:
    """Answers requests. limit: how many requests the gate lets in at once. loop: where answers are given.

    cache: of the service's results, with which each request waits on a thread, for Redis and for equal ones. fits_loop: the
    service has no hooks of its own, and nothing else to wait for.
    """

    def __init__(self, service: Service, limit: int, loop: asyncio.AbstractEventLoop, cache: ResultCache | None = None):
        settings = service.settings
        self.memory = WorkingMemory()
        self.collects = False  # whether an iterator becomes a list, for answers that are not sent to a client
        self.jobs = 0  # grows when a job begins or ends; lost updates do no harm, since only a change is looked for
        self._service, self._loop, self._models = service, loop, service.models
        self._pixels = settings.max_image_pixels
        self._fetcher = fetcher_of(settings)
        self._may_fetch = bool(settings.fetch_hosts)
        self.fetches = threading.Semaphore(max(1, settings.queue_limit // 2))  # requests that need no fetch have the other half
        self.cache = cache
        self._own_handle = handles_itself(service) or cache is not None
        self._handler = service.handle if cache is None else cache.handle
        plain = takes_data(service) and type(service).postprocess is Service.postprocess
        self.fits_loop = plain and not self._own_handle and not self._may_fetch
        cores = max(1, math.ceil(settings.cpu))
        self._before = WorkerThreads(cores, "before", yield_to_others)
        self._after = WorkerThreads(cores, "after", yield_to_others)
        self._blocking = ThreadPoolExecutor(limit, "blocking")
        self._decoders = threading.Semaphore(cores)
        # A service may read videos by other means, and then needs no av.
        self.video_decoders = _video_decoders(service) if service.videos and available() else None
        self._job_begins: dict[int, float] = {}  # thread -> when its job began; each thread writes its own entry

    def stuck_seconds(self) -> float:
        """Return how long the longest job has been running, in seconds."""
        return max((time.monotonic() - began for began in list(self._job_begins.values())), default=0.0)

    def answer(self, raw: RawRequest, done: Done, few_parameters: bool = True) -> None:
        """Answer a request to the service's own route. Called on the loop.

        few_parameters: whether the URL's parameters may be read on the loop.
        """
        in_json = raw.kind == JSON
        if self.fits_loop and in_json and few_parameters and raw.length <= SMALL_JSON and self._service.model.loaded:
            self._on_loop(raw, self._prepare, done)
            return
        done = self._pending(self._service.settings.service_name, raw, done)
        if self._own_handle:
            self._blocking.submit(self._handle, raw, partial(self._give, done))
        elif self._may_wait(raw):  # for another server or a decoder, and must not hold a thread that computes
            self._blocking.submit(self._on_thread, raw, self._prepare, done, own=True)
        else:
            self._before.run(self._on_thread, raw, self._prepare, done, True)

    def _may_wait(self, raw: RawRequest) -> bool:
        """Return whether a request to the service's own route may fetch a URL or hold a video."""
        return (self._may_fetch and raw.kind == JSON) or (self._service.videos and not raw.kind.startswith("image/"))

    def infer(self, model: Handle, raw: RawRequest, decode: Decode, done: Done, binary: bool = False) -> None:
        """Answer a request to a model, without the hooks. Called on the loop.

        decode: returns the model's inputs, and the encoder of its outputs. A model that is not loaded yet is waited for on a
        thread of `_blocking`. binary: whether the body is binary tensors, with at most SMALL_JSON bytes of JSON before them.
        """

        def prepare(raw: RawRequest) -> Prepared:
            return model, *decode(self._body(raw), model.spec(raw.life))

        loaded = model.loaded
        most = SMALL_BINARY if binary else SMALL_JSON
        if loaded and (raw.length <= SMALL_TEXTS or (raw.length <= most and not _takes_texts(model.spec(raw.life)))):
            self._on_loop(raw, prepare, done)
            return
        done = self._pending(model.name, raw, done)
        if not loaded:
            self._blocking.submit(self._on_thread, raw, prepare, done)
        else:
            self._before.run(self._on_thread, raw, prepare, done)

    def read(self, body: bytes, _: str | None, spec: ModelSpec) -> tuple[Arrays, float | None, Encode]:
        """Return what `answer` would give the model of a service that `fits_loop`, None, and the encoder of its results.

        body: JSON of a request without parameters in its URL. Raises the errors of `payload.decode` and of `from_data`.
        """
        decoded = payload.decode(JSON, body, self._fetcher, NO_LIFE, files_of(self._service))
        request, after = Request("", NO_LIFE, decoded), self._service.postprocess
        arrays = from_data(decoded.data, spec, self._service.settings.max_rows_per_request)
        return arrays, None, lambda outputs: self._reply(after(outputs, request), request, after)

    def call(self, function: Callable[[Request], Any], raw: RawRequest) -> Result:
        """Return the answer of an own route's function, or its error. A stream has its first part, and `pull` gives the others.

        The calling thread runs the function, which waits inside models.
        """
        found: list[Result] = []
        self._guarded(raw, lambda: found.append(self._called(function, raw)), found.append, own=True)
        return found[0]

    def pull(self, stream: Stream, raw: RawRequest) -> None:
        """Give every further part of an own route's answer. Called on the thread of `call`."""
        with self.job():
            stream.pull(partial(self.error, raw=raw, own=True))

    def _pending(self, name: str, raw: RawRequest, done: Done) -> Done:
        """Count a request that leaves the loop as a row that waits, until its rows are queued or it is answered."""

        def answered(result: Result) -> None:
            self._models.forget(raw.life)
            done(result)

        self._models.expect(name, raw.life)
        return answered

    def _on_loop(self, raw: RawRequest, prepare: Prepare, done: Done) -> None:
        """Decode and queue a small request. The loop encodes its answer too."""
        raw.times.begin("decode")
        try:
            model, arrays, encode = prepare(raw)
            raw.times.begin("queue")
            if model.submit_on_loop(arrays, raw.life, partial(self._batch_ended, raw, encode, done)):
                return
        except BaseException as error:
            done(self.error(error, raw))
            return
        done = self._pending(model.name, raw, done)
        self._blocking.submit(self._on_thread, raw, prepare, done)  # the model has just gone, and must be loaded again

    def _batch_ended(self, raw: RawRequest, encode: Encode, done: Done, call: Call) -> None:
        """Encode the answer where it is small. Called on the loop."""
        if call.error is not None:
            done(self.error(call.error, raw))
            return
        raw.times.batch_ended(call.taken, call.joined, call.ended)
        outputs = call.outputs or {}
        if sum([array.nbytes for array in outputs.values()]) > SMALL_OUTPUTS:  # a list takes half of a generator's time
            self._after.run(self._encode, raw, encode, outputs, done)
            return
        try:
            done(encode(outputs))
        except BaseException as error:
            done(self.error(error, raw))

    def _on_thread(self, raw: RawRequest, prepare: Prepare, done: Done, own: bool = False) -> None:
        """Decode and queue a request. own: whether the service's own code runs in it."""

        def work() -> None:
            raw.times.begin("decode")
            model, arrays, encode = prepare(raw)
            if isinstance(arrays, Iterator):  # it waits for the model between its groups
                self._blocking.submit(self._on_groups, raw, model, arrays, encode, done, own)
                return
            raw.times.begin("queue")
            model.submit_with(arrays, raw.life, partial(self._go_on, raw, encode, done, own))

        self._guarded(raw, work, partial(self._give, done), own)

    def _on_groups(
        self, raw: RawRequest, model: Handle, groups: Iterator[Arrays], encode: Encode, done: Done, own: bool
    ) -> None:
        """Run the model on rows that come in groups, and have the answer encoded."""

        def work() -> None:
            raw.times.begin("handle")
            outputs = model(groups, raw)
            raw.times.begin("encode")
            self._after.run(self._encode, raw, encode, outputs, done, own)

        self._guarded(raw, work, partial(self._give, done), own)

    def _go_on(self, raw: RawRequest, encode: Encode, done: Done, own: bool, call: Call) -> None:
        """Have the answer encoded on a thread. Called on the thread of the batch."""
        if call.error is not None:
            self._give(done, self.error(call.error, raw, own))
            return
        raw.times.batch_ended(call.taken, call.joined, call.ended)
        self._after.run(self._encode, raw, encode, call.outputs or {}, done, own)

    def _encode(self, raw: RawRequest, encode: Encode, outputs: Arrays, done: Done, own: bool = False) -> None:
        give = partial(self._give, done)

        def work() -> None:
            reply = encode(outputs)
            if reply.stream is None:
                give(reply)
            else:  # it waits for its client, and must not hold a thread that computes
                self._blocking.submit(self._guarded, raw, lambda: self._deliver(raw, _begun(reply), give), give, own)

        self._guarded(raw, work, give, own)

    def _handle(self, raw: RawRequest, give: Done) -> None:
        """Answer a request by the service's `handle`, which waits inside models."""
        self._guarded(raw, lambda: self._deliver(raw, self._called(self._handler, raw), give), give, own=True)

    def _called(self, function: Callable[[Request], Any], raw: RawRequest) -> Reply:
        raw.times.begin("handle")
        request = self._request(raw, files_of(self._service, function))
        return _begun(self._reply(function(request), request, function))

    def _deliver(self, raw: RawRequest, reply: Reply, give: Done) -> None:
        give(reply)
        if reply.stream is not None:
            reply.stream.pull(partial(self.error, raw=raw, own=True))

    def _prepare(self, raw: RawRequest) -> Prepared:
        """Run what comes before the model on the service's own route."""
        request = self._request(raw, files_of(self._service))
        rows, after = self._service.preprocess(request), self._service.postprocess
        return self._service.model, rows, lambda outputs: self._reply(after(outputs, request), request, after)

    def _reply(self, results: Any, request: Request, function: Callable[..., Any]) -> Reply:
        """Return what is sent. function: of the service's own code, which returned the results. Raises WrongResults."""
        body, content_type, status = results, getattr(function, "monopod_route", self._service).streams, 200
        if isinstance(results, Answer):
            body, content_type, status = results.body, results.content_type, results.status
            if not isinstance(body, Iterator):
                return Reply(body, content_type, status)
        if isinstance(body, Iterator):
            if not self.collects:
                return Reply(b"", content_type, status, stream=Stream(body, content_type, request.life))
            body = list(body)
        try:
            return Reply(json_codec.dumps({"results": body, "msg": "", **request.ids}), status=status)
        except TypeError as error:
            raise WrongResults(f"{error} ({place_of(function)}, {function.__name__})") from None

    def _request(self, raw: RawRequest, files: FileKinds) -> Request:
        if self._may_fetch:
            with FetcherOfRequest(self._fetcher, raw.times, self.fetches) as fetcher:
                decoded = payload.decode(raw.content_type, self._body(raw, files), fetcher, raw.life, files)
        else:
            decoded = payload.decode(raw.content_type, self._body(raw, files), self._fetcher, raw.life, files)
        given = self._pixels, self._decoders, self.memory, self.video_decoders
        return Request(raw.id, raw.life, decoded, raw.parameters(), *given)

    def _body(self, raw: RawRequest, files: FileKinds | None = None) -> bytes:
        """Return a request's body, whose bytes count as held as long as the request lives. files: that may be all of it.

        Raises MemoryFull, TooLarge.
        """
        if raw.length <= SMALL_JSON:
            return raw.read()
        taken = self.memory.reserve(raw.length * payload.copies(raw.kind, files), "its body")
        try:
            body = raw.read()
            if taken:
                taken += self.memory.reserve(payload.values_bytes(raw.kind, body, files), "what its body holds")
        except BaseException:
            self.memory.release(taken)
            raise
        self.memory.release_with(raw, taken)
        return body

    def _give(self, done: Done, result: Result) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it every request
            self._loop.call_soon_threadsafe(done, result)

    @contextlib.contextmanager
    def job(self) -> Iterator[None]:
        """Count the block as work of the service's own code, for as long as which liveness judges the thread."""
        self.jobs += 1
        thread = threading.get_ident()
        self._job_begins[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._job_begins[thread]
            self.jobs += 1

    def _guarded(self, raw: RawRequest, work: Callable[[], None], give: Done, own: bool) -> None:
        """Run one stage of a request that somebody waits for. An exception becomes the answer."""
        with self.job():
            try:
                raw.life.check()
                work()
            except BaseException as error:  # sys.exit in a hook too, which nothing else would answer
                give(self.error(error, raw, own))

    def error(self, error: BaseException, raw: RawRequest, own: bool = False) -> ServingError:
        """Return the error for the client. The cause of one that is not the client's stands in the log."""
        if isinstance(error, WrongResults):
            log.error("the service's own code returns results that cannot be sent: %s", error, extra={"request_id": raw.id})
            return _failed(raw)
        if isinstance(error, ServingError):
            misused = own and isinstance(error, WrongInputs)
            return _without_frames(self._misused(error, raw) if misused else raw.life.classified(error))
        if isinstance(error, TimeoutError) and raw.life.left() < 0.01:  # a hook waited for a model's future by itself
            return raw.life.too_late()
        log.error("the service's own code failed", exc_info=error, extra={"request_id": raw.id})
        return _failed(raw)

    def _misused(self, error: ServingError, raw: RawRequest) -> ServiceFailed:
        """Log the line of the service's own code that gave a model wrong inputs, and return the error for the client."""
        # preprocess is over when the model gets what it returned, so it stands in no traceback.
        where = line_of(error, self._service.folder / "src") or place_of(self._service.preprocess) + ", preprocess"
        log.error("the service's own code calls a model wrongly (%s): %s", where, error, extra={"request_id": raw.id})
        return _failed(raw)


def _failed(raw: RawRequest) -> ServiceFailed:
    return ServiceFailed(f"the service failed on this request; its log tells why under request_id {raw.id}")


def _takes_texts(spec: ModelSpec) -> bool:
    return any(tensor.datatype == "BYTES" for tensor in spec.inputs)


def _begun(reply: Reply) -> Reply:
    """Return an answer that can be given: a stream has its first part, which settles its content type."""
    return reply if reply.stream is None else reply._replace(content_type=reply.stream.begin())


def _without_frames(error: ServingError) -> ServingError:
    """Return an error without its traceback and the tracebacks of its causes, which have been logged by now.

    A traceback holds frames, and the frames hold the request's body. With a future or callback that holds the error, that is a
    cycle. It would keep the body until the garbage collector runs, and a hundred refused videos would fill the memory before.
    """
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error
