"""The data port's requests: which of them are hot and which are Flask's, and how each is counted and logged.

Hot routes are answered without a web framework. They are the service's own POST, and the inference of a model:

    POST /api/<service>                               the service's own route
    POST [/api/<service>]/v2/models/<model>/infer     the Open Inference Protocol
    POST [/api/<service>]/v1/models/<model>:predict   the older protocol

Each also answers under /api/<user>/<service>. Only the loop's thread calls what is here.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from serving.base.errors import SHED, ClientGone, NotFound, ServingError, WrongContentType
from serving.core.messages import JSON, Reply
from serving.core.stages import SMALL_JSON, Core, Decoded, Encode
from serving.inputs import v1_predict, v2_open_inference
from serving.inputs.tensor_codec import LENGTH_HEADER
from serving.inputs.v2_open_inference import MODEL_VERSION
from serving.models.registry import Handle, ModelRegistry
from serving.models.tensors import Arrays, ModelSpec
from serving.settings import Settings
from serving.telemetry.access_log import AccessLog
from serving.telemetry.logs import LogThrottle
from serving.telemetry.metrics import Metrics
from serving.web.front.heads import Head
from serving.web.front.request_cycle import RequestCycle

TENSORS = "application/octet-stream"
LENGTH_FIELD = LENGTH_HEADER.lower().encode()
TAKEN = (JSON, TENSORS, "")  # content types of the Open Inference Protocol
IDENTITY = b"identity"
MAX_PATH = 1024  # characters of a hot route's path as it was sent; each may be an escape, which takes three
SMALL_QUERY = 256  # characters that the loop reads; each two may be a parameter
MAX_KNOWN, MAX_KNOWN_LENGTH = 1000, 256  # paths whose route is remembered, and their characters; only routed paths are
MODEL_PATH = re.compile(
    r"/v2/models/(?P<v2>[^/]+)(?P<versions>/versions/(?P<version>[^/]+))?/infer|/v1/models/(?P<v1>[^/:]+):predict"
)

Start = Callable[[RequestCycle], None]
# A body, the value of its header for binary tensors, and the model -> the arrays, the client's time in seconds, the encoder.
Read = Callable[[bytes, str | None, ModelSpec], tuple[Arrays, float | None, Encode]]


class HotRoute(NamedTuple):
    """A route.

    label: in metrics and logs. queue: the model in whose queue its requests count, "" where that is not there.
    model: None where it is not there, and where the service has hooks of its own. read: takes a body apart.
    kinds: content types of such a body. packs: whether JSON for it can be packed.
    """

    label: str
    queue: str
    start: Start
    model: Handle | None = None
    read: Read | None = None
    packs: bool = False
    kinds: Sequence[str] = TAKEN


class HotRoutes:
    """The hot routes of a service. own: whether its own POST is one, as it is without an application in src/server.py."""

    def __init__(self, settings: Settings, models: ModelRegistry, core: Core, own: bool = True):
        self._settings, self._models, self._core = settings, models, core
        short = f"/api/{settings.service_name}"
        self._prefixes = (f"/api/{settings.username}/{settings.service_name}", short, "")
        self._own = self._prefixes[:2] if own else ()
        # The route of a service without hooks is remembered once its model is there.
        self._known = {} if core.fits_loop else dict.fromkeys(self._own, self._service_route())

    def find(self, path: str) -> HotRoute | None:
        """Return the route of a POST, None where it is another's. path: as it was sent."""
        return self._known.get(path) or (self._find(path) if len(path) <= MAX_PATH else None)

    def _find(self, path: str) -> HotRoute | None:
        plain = unquote(path).removesuffix("/")
        route = self._known.get(plain)
        if route is None and plain in self._own:
            route = self._service_route()
        elif route is None:
            prefix = next(each for each in self._prefixes if plain.startswith(each))
            found = MODEL_PATH.fullmatch(plain, len(prefix))
            if found is None:
                return None
            route = self._model_route(found)
        lasting = plain in self._known or (route.model is not None and route.model.loaded)
        if lasting and len(self._known) < MAX_KNOWN and len(path) <= MAX_KNOWN_LENGTH:
            self._known[path] = route
        return route

    def _service_route(self) -> HotRoute:
        name = self._settings.service_name
        model = self._models[name] if name in self._models.names() else None
        return HotRoute("service", name, self._answer, model, self._core.read, kinds=(JSON,))

    def _model_route(self, found: re.Match[str]) -> HotRoute:
        name = found["v1"] or found["v2"]
        there = name in self._models.names() and found["version"] in (None, MODEL_VERSION)
        queue = name if there else ""  # or clients could make any number of queues
        model = self._models[name] if there else None
        if found["v1"]:
            return HotRoute("predict", queue, partial(self._predict, name), model, self._read_predict)
        label = "infer_v" if found["versions"] else "infer"
        start = partial(self._infer, name, found["version"] or MODEL_VERSION)
        return HotRoute(label, queue, start, model, self._read_infer, packs=True)

    def _answer(self, cycle: RequestCycle) -> None:
        check_encoding(cycle)
        self._core.answer(cycle, cycle.finish, len(cycle.head.query) <= SMALL_QUERY)

    def _infer(self, name: str, version: str, cycle: RequestCycle) -> None:
        if version != MODEL_VERSION:
            raise NotFound(f"model {name} has no version {version!r}; its only version is {MODEL_VERSION}")
        check_encoding(cycle)
        if cycle.kind not in TAKEN:
            raise WrongContentType(f"content type {cycle.kind[:100]} is not taken here; send {JSON} or {TENSORS}")
        given = cycle.head.headers.get(LENGTH_FIELD)
        header_length = None if given is None else given.decode("latin-1")
        binary = header_length is not None and cycle.kind == TENSORS and is_small(header_length)

        def decode(body: bytes, spec: ModelSpec) -> Decoded:
            arrays, seconds, encode = self._read_infer(body, header_length, spec)
            if seconds:
                cycle.life.shorten(seconds)
                cycle.deadline_moved()
            return arrays, encode

        self._core.infer(self._models[name], cycle, decode, cycle.finish, binary)

    def _predict(self, name: str, cycle: RequestCycle) -> None:
        check_encoding(cycle)

        def decode(body: bytes, spec: ModelSpec) -> Decoded:
            arrays, _, encode = self._read_predict(body, None, spec)
            return arrays, encode

        self._core.infer(self._models[name], cycle, decode, cycle.finish)

    def _read_infer(self, body: bytes, header_length: str | None, spec: ModelSpec) -> tuple[Arrays, float | None, Encode]:
        call = v2_open_inference.decode(body, header_length, spec, self._settings.max_rows_per_request)
        encode = v2_open_inference.encode
        return call.inputs, call.timeout_s, lambda outputs: _tensors(*encode(call, spec, MODEL_VERSION, outputs))

    def _read_predict(self, body: bytes, _: str | None, spec: ModelSpec) -> tuple[Arrays, float | None, Encode]:
        call = v1_predict.decode(body, spec, self._settings.max_rows_per_request)
        return call.inputs, None, lambda outputs: Reply(v1_predict.encode(call, spec, outputs))


def is_small(header_length: str) -> bool:
    """Return whether the loop may decode JSON of this length. Text that is not a number is refused there."""
    return not (header_length.isdecimal() and len(header_length) <= 18 and int(header_length) > SMALL_JSON)


def check_encoding(cycle: RequestCycle) -> None:
    """Raise WrongContentType for a body that is compressed."""
    encoding = cycle.head.headers.get(b"content-encoding", IDENTITY)
    if encoding != IDENTITY:
        raise WrongContentType(f"content encoding {encoding.decode('latin-1')[:100]!r} is not taken; send the body as it is")


def _tensors(body: bytes, header_length: int | None) -> Reply:
    if header_length is None:
        return Reply(body)
    return Reply(body, TENSORS, headers=((LENGTH_HEADER, str(header_length)),))


log = logging.getLogger("monopod.start")

TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
STATUS_ROUTE = "status"  # the page polls it, so it is not counted as a request
REFUSALS_LOGGED_A_SECOND = 10  # all others are counted in the metrics alone, so that overload does not flood the log


# An answered request has its head, its id and its traceparent. Then come the times of its first byte, its last byte and its
# answer, in seconds of time.monotonic(), and the bytes of its body and of the answer's.
Answered = tuple[Head, str, bytes | None, float, float, float, int, int]


class DataPort:
    """Runs requests and notes their ends.

    other: runs a request that is not hot. label_of: returns the name of a request's route, where Flask has not set it yet.
    queue: the model in whose queue requests to own routes count.
    """

    def __init__(
        self,
        hot: HotRoutes,
        other: Callable[[RequestCycle], None],
        label_of: Callable[[str, str], str],
        models: ModelRegistry,
        metrics: Metrics,
        access: AccessLog,
        queue: str,
    ):
        self._hot, self._other, self._label_of, self._models = hot, other, label_of, models
        self.metrics, self._access, self._queue = metrics, access, queue

    def run(self, cycle: RequestCycle) -> None:
        """Begin the work on a request. Raises ServingError."""
        head = cycle.head
        route = self._hot.find(head.path) if head.method == "POST" else None
        if route is not None:
            cycle.route = route.label
            route.start(cycle)
            return
        if cycle.work:
            self._models.expect(self._queue, cycle.life)
        self._other(cycle)

    def ended(self, cycle: RequestCycle, status: int, reason: str, ended: float) -> None:
        """Count and log a request that was run. ended: seconds of time.monotonic()."""
        life, head = cycle.life, cycle.head
        self._models.forget(life)
        route = cycle.route or self._label_of(head.method, head.path)
        trace = head.headers.get(b"traceparent")
        if cycle.work:
            self.metrics.stages(cycle.times.begins)
        self.note(route, status, reason, [(head, cycle.id, trace, life.begin, life.received, ended, cycle.length, cycle.sent)])

    def note(self, route: str, status: int, reason: str, answered: Sequence[Answered]) -> None:
        """Count and log answers of one route, but for their stages."""
        if route != STATUS_ROUTE:
            rows = [(ended - begin, received - begin, got, sent) for _, _, _, begin, received, ended, got, sent in answered]
            self.metrics.requests(route, status, reason, rows)
        at = time.time()
        for head, name, trace, begin, _, ended, _, _ in answered:
            found = TRACE_PARENT.match(trace) if trace else None
            self._access.note(
                at, head.method, head.path.encode("latin-1"), name, route, status, (ended - begin) * 1000, reason,
                found[1].decode() if found else "",
            )  # fmt: skip


def refusal_counter(metrics: Metrics) -> Callable[[ServingError, float], None]:
    """Return what counts and logs a request that no route saw, from its error and the time of its first byte."""
    metrics.expect_shed(kind.reason for kind in SHED)
    metrics.expect("refused", [*((kind.status, kind.reason) for kind in SHED), (ClientGone.status, ClientGone.reason)], False)
    throttle = LogThrottle(REFUSALS_LOGGED_A_SECOND, 1.0)

    def refused(error: ServingError, begin: float) -> None:
        metrics.shed(error.reason)
        metrics.request("refused", error.status, error.reason, time.monotonic() - begin)
        if throttle.allows():
            log.info("refused: %s", error, extra={"route": "refused", "code": error.status, "reason": error.reason})

    return refused
