"""The routes that are not hot: the page, status, metadata and a service's own. Only this module imports Flask and waitress.

Concurrency. The loop adds a task. One of waitress' worker threads runs Flask, and an own route's function within it, and hands
the answer to the loop at once. Then it gives the further parts of a streamed answer. The loop alone watches the deadline and
the client. Where it ends a request, the thread goes on until the function asks a model or returns. The threads live as long as
the process. Own routes have one for each request that the gate lets in, so a request that hangs delays no other.
"""

import logging
import socket
import sys
from collections.abc import Callable
from importlib.resources import files
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from flask import Blueprint, Flask, Response, g, request
from waitress.task import ThreadedTaskDispatcher, WSGITask
from werkzeug.exceptions import HTTPException

from serving.base import errors, json_codec
from serving.base.errors import NotFound, NotReady, ServiceFailed, ServingError
from serving.core.messages import JSON, Reply, Stream
from serving.core.stages import Core
from serving.inputs import v1_predict, v2_open_inference
from serving.inputs.v2_open_inference import MODEL_VERSION
from serving.models.registry import Handle
from serving.service.application import Application, Wsgi
from serving.service.request import Request
from serving.service.service import routes_of
from serving.settings import size_in_bytes
from serving.web.admission import LIGHT_LIMIT, STARTING
from serving.web.data_port import STATUS_ROUTE, check_encoding
from serving.web.front.answers import error_body, kind_of
from serving.web.front.request_cycle import RequestCycle
from serving.web.process import ServiceContext

log = logging.getLogger("monopod.app")

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; media-src blob:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
MAX_PATH = 200  # characters in messages
ENDS = ((200, ""), *((kind.status, kind.reason) for kind in errors.ERROR_CLASSES))
CYCLE = "monopod.request"  # in the environment
NAMED_OTHERWISE = {b"content-type": "CONTENT_TYPE"}
NOT_PASSED_ON = (b"content-length", b"transfer-encoding", b"expect")  # the body is whole by now
FAILED = "the server failed on this request; its log tells why"


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
    app.after_request(_end)
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

    routes.get("/status", endpoint=STATUS_ROUTE)(lambda: _json(context.status()))
    routes.get("/openapi.json", endpoint="openapi")(lambda: _json(context.document(prefix)))
    if isinstance(context.service, Application):
        return  # all other paths are the application's
    if prefix:
        routes.post("", endpoint="service")(_hot)
        # Relative, so that it holds behind a gateway that shows another prefix; without the slash the page's links would not.
        routes.get("", endpoint="page_folder", strict_slashes=True)(lambda: Response(status=307, headers={"Location": folder}))
    routes.get("/", endpoint="page", strict_slashes=True)(show_page)
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
        cycle: RequestCycle = g.cycle
        check_encoding(cycle)
        cycle.path_values = values
        answer = context.core.call(function, cycle)
        if isinstance(answer, ServingError):
            return _error(answer)
        cycle.parts = answer.stream
        return Response(answer.body, answer.status, content_type=answer.content_type)

    return view


def _protocol_routes(routes: Blueprint, context: ServiceContext) -> None:
    models = context.models

    def spec(name: str) -> Any:
        return models[name].spec(g.cycle.life)

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
        routes.post(path + "/infer", endpoint="infer" + suffix)(_hot)
    get(
        "/v1/models/<name>",
        "v1_status",
        lambda name: v1_predict.status(models[name].name, MODEL_VERSION, context.gate.unready() is None),
    )
    routes.post("/v1/models/<name>:predict", endpoint="predict")(_hot)


def _hot(**values: Any) -> Response:
    """Stand for a hot route, so that Flask names its method where another one was sent. Its requests never come here."""
    raise NotFound(f"there is no {request.path[:MAX_PATH]} here; /openapi.json lists the routes")


def _begin() -> None:
    g.cycle = request.environ[CYCLE]
    g.id = g.cycle.id


def _end(response: Response) -> Response:
    g.cycle.route = _label(request.endpoint or "none")
    return response


def _label(endpoint: str) -> str:
    """Return a route's name in metrics and logs: the same under every prefix."""
    return endpoint.split(".")[-1].lstrip("/")


def _error(error: ServingError, **more: Any) -> Response:
    g.cycle.reason = error.reason
    return Response(error_body(error, g.id, more), error.status, mimetype=JSON)


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask or werkzeug refuses, in one sentence of ours."""
    code, path, allowed = error.code or 500, request.path[:MAX_PATH], sorted(getattr(error, "valid_methods", None) or ())
    said = {404: f"there is no {path} here", 405: f"{path} takes {', '.join(allowed)}, not {request.method[:MAX_PATH]}"}
    words = said.get(code, f"{(error.description or error.name).rstrip('.')} ({request.method[:MAX_PATH]} {path})")
    response = _error(kind_of(code)(f"{words}; /openapi.json lists the routes"))
    if allowed:
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _bug(error: Exception) -> Response:
    log.exception("a route failed", extra={"request_id": g.id})
    return _error(ServiceFailed(f"the service failed on this request; its log tells why under request_id {g.id}"))


def _json(value: Any) -> Response:
    return Response(json_codec.dumps(value), mimetype=JSON)


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


def label_finder(app: Flask) -> Callable[[str, str], str]:
    """Return a function from a method and a path to the route's name in metrics and logs."""
    endpoint_of = _endpoint_finder(app)
    return lambda method, path: _label(endpoint_of(method, path))


def _endpoint_finder(app: Flask) -> Callable[[str, str], str]:
    routes = app.url_map.bind("")

    def endpoint_of(method: str, path: str) -> str:
        try:
            return str(routes.match(unquote(path), method)[0])
        except HTTPException:
            return "none"

    return endpoint_of


def path_finder(app: Flask) -> Callable[[str], bool]:
    """Return a function from a path, as it was sent, to whether an application of Flask's has it for any method."""
    routes = app.url_map.bind("")
    return lambda path: bool(routes.allowed_methods(unquote(path)))


def run_on_threads(app: Flask, core: Core, own_threads: int) -> Callable[[RequestCycle], None]:
    """Return a function that has threads answer a request. own_threads: for the service's own routes, 0 where it has none.

    The platform's routes have threads of their own, so that they answer while each of the service's own hangs.
    """
    platform = WsgiThreads(app, LIGHT_LIMIT)
    if not own_threads:
        return platform.run
    own, endpoint_of = WsgiThreads(app, own_threads, core.pull), _endpoint_finder(app)

    def run(cycle: RequestCycle) -> None:
        is_own = "/" in endpoint_of(cycle.head.method, cycle.head.path)
        (own if is_own else platform).run(cycle)

    return run


class WsgiThreads:
    """The worker threads of one application. pull: gives the further parts of a streamed answer, on its request's thread."""

    def __init__(self, application: Wsgi, count: int, pull: Callable[[Stream, RequestCycle], None] = lambda *_: None):
        self._server, self._pull = SimpleNamespace(application=application, adj=SimpleNamespace(ident=None)), pull
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(count)

    def run(self, cycle: RequestCycle) -> None:
        """Have a thread answer a request."""
        self._dispatcher.add_task(_Task(self._server, cycle, self._pull))

    def call(self, function: Callable[[], None]) -> None:
        """Have a thread call a function, once the requests before it have their turns."""
        self._dispatcher.add_task(SimpleNamespace(service=function))


class _Task(WSGITask):
    """A request on its worker thread. waitress calls the application; the answer's head is not waitress'."""

    def __init__(self, server: SimpleNamespace, cycle: RequestCycle, pull: Callable[[Stream, RequestCycle], None]):
        adjustments = SimpleNamespace(log_socket_errors=True, ident=None)
        channel = SimpleNamespace(server=server, adj=adjustments, write_soon=self._take)
        super().__init__(channel, SimpleNamespace(version="1.1", headers={}, command=cycle.head.method))
        self._cycle, self._pull = cycle, pull
        self._pieces: list[bytes] = []

    def service(self) -> None:
        """Run the application, and hand over its answer whatever it does."""
        cycle = self._cycle
        try:
            if not cycle.over:  # nothing is run for a client that has gone already
                super().service()
                reply = self._reply()
                cycle.finish_later(reply)
                if reply.stream is not None:
                    self._pull(reply.stream, cycle)
        except BaseException:
            cycle.finish_later(ServiceFailed(FAILED))
            raise
        finally:
            self.__dict__.clear()  # waitress' thread keeps its last task, and with that the body, until the next one comes

    def _reply(self) -> Reply:
        """Return the answer, with the length of its body. The answer to HEAD brings the length that GET would have."""
        body, kind, stream = b"".join(self._pieces), "", self._cycle.parts
        more = []
        for name, value in self.response_headers:
            plain = name.lower()
            if plain == "content-type":
                kind = value
            elif plain != "content-length" or (self.request.command == "HEAD" and not body and stream is None):
                more.append((name, value))
        return Reply(body, kind, int(self.status.split()[0]), tuple(more), stream)

    def build_response_header(self) -> bytes:
        return b""  # the loop writes it, when it sends the answer

    def get_environment(self) -> dict[str, Any]:
        return _environment(self._cycle)

    def _take(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)


def _environment(cycle: RequestCycle) -> dict[str, Any]:
    head = cycle.head
    found: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(head.path).decode("latin-1"),
        "QUERY_STRING": head.query,
        "REQUEST_URI": head.path + ("?" + head.query if head.query else ""),
        "SERVER_NAME": socket.gethostname(),
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": f"HTTP/{head.version}",
        "CONTENT_LENGTH": str(cycle.length),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": cycle.stream(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        CYCLE: cycle,
    }
    for name, value in head.headers.items():
        if name not in NOT_PASSED_ON and b"_" not in name:  # x_y would pass for x-y, which a gateway may have checked
            key = NAMED_OTHERWISE.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            found[key] = value.decode("latin-1")
    return found
