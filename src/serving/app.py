"""The data port's routes, in Flask: each hands a request to the core and waits for its reply. Only this
module imports Flask.

Knows paths, headers and JSON bodies. Does not know the HTTP server, nor how anything is computed.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from serving import errors, jsons, openapi
from serving.core import JSON, Core, Decoded, Raw, Reply
from serving.errors import BadInput, ServiceFailed, ServingError, WrongContentType
from serving.gate import READY, STARTING, Gate
from serving.lifetime import Lifetime
from serving.metrics import Metrics
from serving.models import Handle, Models
from serving.openapi_bodies import Ask, OwnRoute
from serving.protocol import v1, v2
from serving.schema import Settings, size_in_bytes
from serving.service import Request, Service, routes_of
from serving.status import status
from serving.tensors import ModelSpec

access = logging.getLogger("monopod.access")
log = logging.getLogger("monopod.app")

VERSION = "1"  # of every model: the platform serves one
TENSORS = "application/octet-stream"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; media-src blob:; "
    "connect-src 'self'"
)
LONGEST_PATH = 200  # characters of a path in the log
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
BY_STATUS = {c.status: c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ServingError)}


@dataclass(frozen=True)
class House:
    """What the routes speak to."""

    settings: Settings
    service: Service
    models: Models
    metrics: Metrics
    gate: Gate
    core: Core
    version: str


def make_app(house: House) -> Flask:
    """Return the WSGI application: the routes under "", /api/<service> and /api/<user>/<service>."""
    app = Flask("monopod", static_folder=None)
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = size_in_bytes(house.settings.max_body)
    app.config["MAX_FORM_MEMORY_SIZE"] = size_in_bytes(house.settings.max_body)
    app.config["MAX_FORM_PARTS"] = 100
    own = f"/api/{house.settings.service_name}"
    for number, prefix in enumerate(("", own, f"/api/{house.settings.username}/{house.settings.service_name}")):
        routes = Blueprint(f"p{number}", __name__)
        _service_routes(routes, house, prefix)
        _protocol_routes(routes, house)
        app.register_blueprint(routes, url_prefix=prefix or None)
    app.before_request(_begin)
    app.after_request(lambda response: _end(response, house.metrics))
    app.register_error_handler(ServingError, _error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    return app


def _service_routes(routes: Blueprint, house: House, prefix: str) -> None:
    settings = house.settings
    folder = settings.service_name + "/"
    page = files("serving").joinpath("page.html").read_bytes()

    def show_page() -> Response:
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": POLICY})

    if prefix:
        routes.post("", endpoint="service")(lambda: _wait(house.core.answer(_raw(settings))))
        # Relative, so that it holds behind a gateway that shows another prefix; without the slash the page's links would not.
        routes.get("", endpoint="page_folder", strict_slashes=True)(lambda: Response(status=307, headers={"Location": folder}))
    routes.get("/", endpoint="page", strict_slashes=True)(show_page)
    routes.get("/status", endpoint="status")(lambda: _json(status(settings, house.models, house.metrics, house.gate)))
    routes.get("/openapi.json", endpoint="openapi")(lambda: _json(_document(house, prefix)))
    names: set[str] = set()
    for own, function in routes_of(house.service):
        name = "/" + own.path.strip("/").replace(".", "_")  # with a slash, unlike any of the platform's own names
        name += f"_{own.methods[0].lower()}" if name in names else ""  # a path may have a function for each method
        names.add(name)
        routes.add_url_rule(own.path, name, _own_route(house, function), methods=list(own.methods))


def _own_route(house: House, function: Callable[[Request], Any]) -> Callable[..., Response]:
    def view(**values: Any) -> Response:
        if house.gate.state == STARTING:  # the gate lets a GET in, but this one reads what setup makes
            raise errors.NotReady("the service is still starting; try again when /v2/health/ready answers 200")
        return _wait(house.core.call(function, _raw(house.settings, values)))

    return view


def _protocol_routes(routes: Blueprint, house: House) -> None:
    models, core = house.models, house.core

    def spec(name: str) -> Any:
        return models[name].spec(g.life)

    def get(path: str, endpoint: str, view: Callable[..., Any]) -> None:
        routes.get(path, endpoint=endpoint)(lambda **values: _json(view(**values)))

    get("/v2", "v2", lambda: v2.server_metadata("monopod", house.version))
    get("/v2/health/live", "live", lambda: {"live": True})
    routes.get("/v2/health/ready", endpoint="ready")(lambda: _ready(house))
    for path in ("/v2/models/<name>", "/v2/models/<name>/versions/<version>"):
        suffix = "_v" if "version" in path else ""
        get(
            path,
            "metadata" + suffix,
            lambda name, version=VERSION: v2.metadata(spec(_version(name, version)), "onnxruntime_onnx"),
        )
        routes.get(path + "/ready", endpoint="model_ready" + suffix)(
            lambda name, version=VERSION: _ready(house, models[_version(name, version)])
        )
        routes.post(path + "/infer", endpoint="infer" + suffix)(
            lambda name, version=VERSION: _wait(_infer(core, house.settings, models[_version(name, version)]))
        )
    get("/v1/models/<name>", "v1_status", lambda name: _v1_status(models[name].name, house.gate.state))
    routes.post("/v1/models/<name>:predict", endpoint="predict")(
        lambda name: _wait(_predict(core, house.settings, models[name]))
    )


def _v1_status(name: str, state: str) -> dict[str, Any]:
    """As TensorFlow Serving answers."""
    state = "AVAILABLE" if state == READY else "START"
    return {"model_version_status": [{"version": VERSION, "state": state, "status": {"error_code": "OK", "error_message": ""}}]}


def _infer(core: Core, settings: Settings, model: Handle) -> Future[Reply]:
    if request.mimetype not in (JSON, TENSORS, ""):
        raise WrongContentType(f"content type {request.mimetype} is not taken here; send {JSON} or {TENSORS}")
    raw, header_length = _raw(settings), request.headers.get("Inference-Header-Content-Length")

    def decode(spec: ModelSpec) -> Decoded:
        call = v2.decode(raw.body, header_length, spec, settings.max_rows_per_request)
        if call.timeout_s:
            raw.life.shorten(call.timeout_s)
        return call.inputs, lambda outputs: _tensors(*v2.encode(call, spec, VERSION, outputs))

    return core.infer(model, raw, decode)


def _tensors(body: bytes, header_length: int | None) -> Reply:
    if header_length is None:
        return Reply(body)
    return Reply(body, TENSORS, headers=(("Inference-Header-Content-Length", str(header_length)),))


def _predict(core: Core, settings: Settings, model: Handle) -> Future[Reply]:
    raw = _raw(settings)

    def decode(spec: ModelSpec) -> Decoded:
        call = v1.decode(raw.body, spec, settings.max_rows_per_request)
        return call.inputs, lambda outputs: Reply(v1.encode(call, spec, outputs))

    return core.infer(model, raw, decode)


def _raw(settings: Settings, values: dict[str, Any] | None = None) -> Raw:
    """Return the current request's bytes; a multipart body comes in parts."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise WrongContentType(f"content encoding {encoding!r} is not taken; send the body as it is")
    query = {**request.args.to_dict(), **(values or {})}
    if request.mimetype == "multipart/form-data":
        twice = [name for name, values in request.form.lists() if len(values) > 1]
        twice += [name for name, files in request.files.lists() if len(files) > 1 and name != "image"]
        if twice:
            raise BadInput(f"the form holds {twice[0]!r} more than once; send each name but image once, or a list in JSON")
        form = request.form.to_dict()
        parts = {name: part.read() for name, part in request.files.items()}
        further = tuple(part.read() for part in request.files.getlist("image")[1:])
        return Raw(g.id, g.life, request.content_type or "", b"", form, parts, query, further)
    return Raw(g.id, g.life, request.content_type or "", request.get_data(cache=False), query=query)


def _wait(answer: Future[Reply]) -> Response:
    """Wait for the core until the request's deadline."""
    try:
        reply = answer.result(g.life.left())
    except FutureTimeout:
        raise g.life.too_late() from None
    finally:
        del answer  # or an error would hold this frame, and this frame by the future the error
    response = Response(reply.body, reply.status, content_type=reply.content_type)
    response.headers.extend(reply.headers)
    return response


def _begin() -> None:
    g.id = _request_id(request.headers.get("X-Request-Id", ""))
    g.life = request.environ.get("monopod.life") or Lifetime(time.monotonic(), 30.0)
    g.reason = ""


def _end(response: Response, metrics: Metrics) -> Response:
    response.headers["X-Request-Id"] = g.id
    seconds = time.monotonic() - g.life.begin
    route = (request.endpoint or "none").split(".")[-1].lstrip("/")
    metrics.request(route, response.status_code, g.reason, seconds)
    if request.method == "POST":
        metrics.stage("upload", g.life.received - g.life.begin)
    trace = TRACE_PARENT.match(request.headers.get("traceparent", ""))
    extra = {"request_id": g.id, "route": route, "code": response.status_code, "milliseconds": round(seconds * 1000, 2)}
    extra.update({"reason": g.reason} if g.reason else {}, **({"trace_id": trace[1]} if trace else {}))
    access.info("%s %s", request.method, request.path[:LONGEST_PATH], extra=extra)
    return response


def refusal_body(error: ServingError, given_id: str) -> bytes:
    """Return the body of an error for a request that never got here."""
    return _error_body(error, _request_id(given_id))


def _request_id(given: str) -> str:
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _error_body(error: ServingError, request_id: str) -> bytes:
    """Return an error as every protocol's clients read it: the text under "error" for one, under "msg" for the other."""
    return jsons.dumps({"error": str(error), "msg": str(error), "reason": error.reason, "request_id": request_id})


def _error(error: ServingError) -> Response:
    g.reason = error.reason
    response = Response(_error_body(error, g.id), error.status, mimetype=JSON)
    if error.status in (429, 503):
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> Response:
    kind = BY_STATUS.get(error.code or 500, BadInput if (error.code or 500) < 500 else ServiceFailed)
    response = _error(
        kind(f"{error.description or error.name} ({request.method} {request.path}); /openapi.json lists the routes")
    )
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _bug(error: Exception) -> Response:
    log.exception("a route failed", extra={"request_id": g.id})
    return _error(ServiceFailed(f"the service failed on this request; its log tells why under request_id {g.id}"))


def _json(value: Any) -> Response:
    return Response(jsons.dumps(value), mimetype=JSON)


def _version(name: str, version: str) -> str:
    if version != VERSION:
        raise errors.NotFound(f"model {name} has no version {version!r}; its only version is {VERSION}")
    return name


def _ready(house: House, model: Handle | None = None) -> Response:
    if house.gate.state != READY:
        raise errors.NotReady(f"the service is {house.gate.state}")
    return _json({"ready": True} if model is None else {"name": model.name, "ready": True})


def _document(house: House, prefix: str) -> dict[str, Any]:
    routes = [
        OwnRoute(own.path, own.methods, (function.__doc__ or "").split("\n")[0], own.example, own.pictures, own.fields)
        for own, function in routes_of(house.service)
    ]
    specs = [model.spec for model in house.models.loaded()]
    service = house.service
    ask = Ask(service.pictures, service.videos, service.example, service.fields)
    return openapi.document(house.settings, specs, routes, prefix=prefix, ask=ask, version=house.version)
