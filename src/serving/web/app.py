"""The data port's routes, in Flask: each hands a request to the core and waits for its reply. Only this module imports Flask.

Knows paths, headers and JSON bodies. Does not know the HTTP server, nor how anything is computed.
"""

import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from serving.base import errors, jsons
from serving.base.errors import NotFound, NotReady, ServiceFailed, ServingError, WrongContentType
from serving.base.lifetime import Lifetime
from serving.base.working_memory import WorkingMemory
from serving.core.stages import JSON, Core, Decoded, RawRequest, Reply
from serving.inputs import payload, v1_predict, v2_open_inference
from serving.inputs.binary_tensors import LENGTH_HEADER
from serving.inputs.v2_open_inference import MODEL_VERSION
from serving.models.registry import Handle
from serving.models.tensors import ModelSpec
from serving.service.request import Request
from serving.service.service import routes_of
from serving.settings import Settings, size_in_bytes
from serving.telemetry.metrics import Metrics
from serving.web import error_answers
from serving.web.admission import READY, STARTING
from serving.web.context import ServiceContext

access = logging.getLogger("monopod.access")
log = logging.getLogger("monopod.app")

TENSORS = "application/octet-stream"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; media-src blob:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
LONGEST_PATH, LONGEST_METHOD = 200, 20  # characters in the log
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
STATUS_ROUTE = "status"  # the page polls it, so it is not counted as a request
ENDS = ((200, ""), *((kind.status, kind.reason) for kind in errors.ERROR_CLASSES))


def make_app(context: ServiceContext) -> Flask:
    """Return the WSGI application: the routes under "", /api/<service> and /api/<user>/<service>."""
    app = Flask("monopod", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # it would redirect to the host that the client names
    app.config["MAX_CONTENT_LENGTH"] = size_in_bytes(context.settings.max_body)
    own = f"/api/{context.settings.service_name}"
    for number, prefix in enumerate(("", own, f"/api/{context.settings.username}/{context.settings.service_name}")):
        routes = Blueprint(f"p{number}", __name__)
        _service_routes(routes, context, prefix)
        _protocol_routes(routes, context)
        app.register_blueprint(routes, url_prefix=prefix or None)
    app.before_request(_begin)
    app.after_request(lambda response: _end(response, context.metrics))
    app.register_error_handler(ServingError, _error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) or "/" in rule.endpoint:  # a GET of the service's own too
            context.metrics.expect(_label(rule.endpoint), ENDS)
    context.metrics.expect("none", [(kind.status, kind.reason) for kind in (NotFound, errors.MethodNotAllowed)])
    return app


def _service_routes(routes: Blueprint, context: ServiceContext, prefix: str) -> None:
    settings = context.settings
    folder = settings.service_name + "/"
    page = files("serving.web").joinpath("page.html").read_bytes()

    def show_page() -> Response:
        return Response(page, mimetype="text/html", headers=PAGE_HEADERS)

    if prefix:
        routes.post("", endpoint="service")(lambda: _wait(context.core.answer(_raw(context.core.memory))))
        # Relative, so that it holds behind a gateway that shows another prefix; without the slash the page's links would not.
        routes.get("", endpoint="page_folder", strict_slashes=True)(lambda: Response(status=307, headers={"Location": folder}))
    routes.get("/", endpoint="page", strict_slashes=True)(show_page)
    routes.get("/status", endpoint=STATUS_ROUTE)(lambda: _json(context.status()))
    routes.get("/openapi.json", endpoint="openapi")(lambda: _json(context.document(prefix)))
    names: set[str] = set()
    found = routes_of(context.service)
    if not any(own.path.strip("/") == "health" and "GET" in own.methods for own, _ in found):
        routes.get("/health", endpoint="health")(lambda: _health(context))
    for own, function in found:
        name = "/" + own.path.strip("/").replace(".", "_")  # with a slash, unlike any of the platform's own names
        name += f"_{own.methods[0].lower()}" if name in names else ""  # a path may have a function for each method
        names.add(name)
        routes.add_url_rule(own.path, name, _own_route(context, function), methods=list(own.methods))


def _own_route(context: ServiceContext, function: Callable[[Request], Any]) -> Callable[..., Response]:
    def view(**values: Any) -> Response:
        if context.gate.state == STARTING:  # the gate lets a GET in, but this one reads what setup makes
            raise NotReady("the service is still starting; try again when /v2/health/ready answers 200")
        return _wait(context.core.call(function, _raw(context.core.memory, values)))

    return view


def _protocol_routes(routes: Blueprint, context: ServiceContext) -> None:
    models, core = context.models, context.core

    def spec(name: str) -> Any:
        return models[name].spec(g.life)

    def get(path: str, endpoint: str, view: Callable[..., Any]) -> None:
        routes.get(path, endpoint=endpoint)(lambda **values: _json(view(**values)))

    get("/v2", "v2", lambda: v2_open_inference.server_metadata("monopod", context.version, context.digest))
    get("/v2/health/live", "live", lambda: {"live": True})
    routes.get("/v2/health/ready", endpoint="ready")(lambda: _ready(context))
    for path in ("/v2/models/<name>", "/v2/models/<name>/versions/<version>"):
        suffix = "_v" if "version" in path else ""
        get(
            path,
            "metadata" + suffix,
            lambda name, version=MODEL_VERSION: v2_open_inference.metadata(spec(_version(name, version)), "onnxruntime_onnx"),
        )
        routes.get(path + "/ready", endpoint="model_ready" + suffix)(
            lambda name, version=MODEL_VERSION: _ready(context, models[_version(name, version)])
        )
        routes.post(path + "/infer", endpoint="infer" + suffix)(
            lambda name, version=MODEL_VERSION: _wait(_infer(core, context.settings, models[_version(name, version)]))
        )
    get(
        "/v1/models/<name>",
        "v1_status",
        lambda name: v1_predict.status(models[name].name, MODEL_VERSION, context.gate.state == READY),
    )
    routes.post("/v1/models/<name>:predict", endpoint="predict")(
        lambda name: _wait(_predict(core, context.settings, models[name]))
    )


def _infer(core: Core, settings: Settings, model: Handle) -> Future[Reply]:
    if request.mimetype not in (JSON, TENSORS, ""):
        raise WrongContentType(f"content type {request.mimetype} is not taken here; send {JSON} or {TENSORS}")
    raw, header_length = _raw(core.memory), request.headers.get(LENGTH_HEADER)

    def decode(spec: ModelSpec) -> Decoded:
        call = v2_open_inference.decode(raw.body, header_length, spec, settings.max_rows_per_request)
        if call.timeout_s:
            raw.life.shorten(call.timeout_s)
        return call.inputs, lambda outputs: _tensors(*v2_open_inference.encode(call, spec, MODEL_VERSION, outputs))

    return core.infer(model, raw, decode)


def _tensors(body: bytes, header_length: int | None) -> Reply:
    if header_length is None:
        return Reply(body)
    return Reply(body, TENSORS, headers=((LENGTH_HEADER, str(header_length)),))


def _predict(core: Core, settings: Settings, model: Handle) -> Future[Reply]:
    raw = _raw(core.memory)

    def decode(spec: ModelSpec) -> Decoded:
        call = v1_predict.decode(raw.body, spec, settings.max_rows_per_request)
        return call.inputs, lambda outputs: Reply(v1_predict.encode(call, spec, outputs))

    return core.infer(model, raw, decode)


def _raw(memory: WorkingMemory, values: dict[str, Any] | None = None) -> RawRequest:
    """Return the current request. Its bytes count as held as long as it lives. Raises WrongContentType, MemoryFull."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise WrongContentType(f"content encoding {encoding!r} is not taken; send the body as it is")
    query = {**request.args.to_dict(), **(values or {})}
    taken = memory.reserve((request.content_length or 0) * payload.copies(request.mimetype), "its body")
    try:
        raw = RawRequest(g.id, g.life, request.content_type or "", request.get_data(cache=False), query=query)
        if taken:
            taken += memory.reserve(payload.values_bytes(request.mimetype, raw.body), "what its body holds")
    except BaseException:
        memory.release(taken)
        raise
    memory.release_with(raw, taken)
    return raw


def _wait(answer: Future[Reply]) -> Response:
    """Wait for the core until the request's deadline."""
    try:
        reply = answer.result(g.life.left())
    except FutureTimeout:
        raise g.life.too_late() from None
    finally:
        del answer  # or the error would hold this frame, and this frame the future with the error
    response = Response(reply.body, reply.status, content_type=reply.content_type)
    response.headers.extend(reply.headers)
    return response


def _begin() -> None:
    g.id = error_answers.request_id(request.headers.get("X-Request-Id", ""))
    g.life = request.environ.get("monopod.life") or Lifetime(time.monotonic(), 30.0)
    g.reason = ""


def _end(response: Response, metrics: Metrics) -> Response:
    response.headers["X-Request-Id"] = g.id
    seconds = time.monotonic() - g.life.begin
    route = _label(request.endpoint or "none")
    upload = g.life.received - g.life.begin
    if route != STATUS_ROUTE:
        metrics.request(route, response.status_code, g.reason, seconds, upload)
    if request.method == "POST":
        metrics.stage("upload", upload)
    trace = TRACE_PARENT.match(request.headers.get("traceparent", ""))
    extra = {"request_id": g.id, "route": route, "code": response.status_code, "milliseconds": round(seconds * 1000, 2)}
    extra.update({"reason": g.reason} if g.reason else {}, **({"trace_id": trace[1]} if trace else {}))
    access.info("%s %s", request.method[:LONGEST_METHOD], request.path[:LONGEST_PATH], extra=extra)
    return response


def _label(endpoint: str) -> str:
    """Return a route's name in metrics and logs: the same under every prefix."""
    return endpoint.split(".")[-1].lstrip("/")


def _error(error: ServingError, **more: Any) -> Response:
    g.reason = error.reason
    response = Response(error_answers.body(error, g.id, more), error.status, mimetype=JSON)
    if error.status in (429, 503):
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask or werkzeug refuses, in one sentence of ours."""
    code, path, allowed = error.code or 500, request.path[:LONGEST_PATH], sorted(getattr(error, "valid_methods", None) or ())
    said = {404: f"there is no {path} here", 405: f"{path} takes {', '.join(allowed)}, not {request.method[:LONGEST_PATH]}"}
    words = said.get(code, f"{(error.description or error.name).rstrip('.')} ({request.method[:LONGEST_PATH]} {path})")
    response = _error(error_answers.kind_of(code)(f"{words}; /openapi.json lists the routes"))
    if allowed:
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _bug(error: Exception) -> Response:
    log.exception("a route failed", extra={"request_id": g.id})
    return _error(ServiceFailed(f"the service failed on this request; its log tells why under request_id {g.id}"))


def _json(value: Any) -> Response:
    return Response(jsons.dumps(value), mimetype=JSON)


def _version(name: str, version: str) -> str:
    if version != MODEL_VERSION:
        raise NotFound(f"model {name} has no version {version!r}; its only version is {MODEL_VERSION}")
    return name


def _ready(context: ServiceContext, model: Handle | None = None) -> Response:
    unready = context.gate.unready()
    if unready is not None:
        raise unready
    return _json({"ready": True} if model is None else {"name": model.name, "ready": True})


def _health(context: ServiceContext) -> Response:
    found, unready = context.health(), context.gate.unready()
    return _json(found) if unready is None else _error(unready, **found)
