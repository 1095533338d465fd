"""The OpenAPI document of a service: each route, the bodies it takes and every answer it may give.

The server refuses with a 4xx whatever its schemas forbid. It refuses more than JSON Schema can say, such as a count of numbers
that does not fit the shape, or bytes that are not a picture.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from serving.base import errors
from serving.inputs.files import BYTES, IMAGE, IMAGES, VIDEO, FileKind, FileKinds
from serving.inputs.payload import IDS
from serving.inputs.v2_open_inference import MODEL_VERSION
from serving.models.tensors import ModelSpec
from serving.service.service import Route
from serving.settings.declarations import Settings
from serving.web import openapi_tensors
from serving.web.openapi_tensors import STRING

Json = dict[str, Any]
Choices = Mapping[str, Sequence[str]]

FILE_TEXT: Json = {"type": ["string", "null"], "minLength": 1, "description": "Base64, or an http(s) URL of an allowed host."}
FILE: Json = {"type": "string", "format": "binary"}
FORM_TEXT: Json = {"description": "A form sends it as a text, whatever it is."}
PLATFORM_FIELDS = (*IDS, IMAGE, VIDEO, IMAGES, "data")  # read by the platform itself
ID: Json = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**64 - 1}


@dataclass(frozen=True)
class ServiceInputs:
    """The inputs that the service's own route takes."""

    files: FileKinds = field(default_factory=dict)  # each of which may be the whole body
    example: Any = None  # a JSON body
    fields: Choices = field(default_factory=dict)  # name -> values to choose from
    data: bool = False  # whether "data" is read besides the example's fields
    streams: str = ""  # the content type of an answer that an iterator gives
    mounted: bool = False  # whether an application answers, whose routes the document does not have


def _bodies_of_service(settings: Settings, model: ModelSpec | None, inputs: ServiceInputs) -> Json:
    written, attached = _files(inputs.files)
    if inputs.data or "data" in _named(inputs.example):
        written, attached = written | {"data": {}}, attached | {"data": FORM_TEXT}

    def of(parts: Json, ids_: Json) -> Json:
        older = inputs.files.keys() & {IMAGE, VIDEO}  # of other files, each may be left out
        one = {"anyOf": [{"required": [name]} for name in parts]} if older else {}
        return {"type": "object", "properties": _declared(inputs.example, inputs.fields) | ids_ | parts} | one

    body: Json = {
        "application/json": {"schema": of(written, dict.fromkeys(IDS, ID))},
        "multipart/form-data": {"schema": of(attached, dict.fromkeys(IDS, FORM_TEXT)) | {"minProperties": 1}}
        | _part_types(inputs.files),
    }
    rows = None if model is None or not inputs.data or inputs.example else openapi_tensors.data_example(model, settings)
    example = inputs.example if rows is None else {"data": rows}
    if example is not None:
        body["application/json"]["example"] = example
    return _raw(inputs.files) | body


def _bodies_of_route(route: Route) -> Json:
    """Return the bodies of a further route of the service: its files and the fields that it declares, by content type."""
    count = {"minItems": route.pictures, "maxItems": route.pictures}
    others = {name: kind for name, kind in route.files.items() if name != IMAGE or not route.pictures}
    written, attached = _files(others)
    if route.pictures:
        attached[IMAGE] = FILE if route.pictures == 1 else {"type": "array", "items": FILE} | count
        written |= {IMAGE: FILE_TEXT} if route.pictures == 1 else {IMAGES: {"type": "array"}}
    data: Json = {"data": {}} if "data" in _named(route.example) else {}
    declared = data | _declared(route.example, route.fields)
    example = {} if route.example is None else {"example": route.example}
    form: Json = {"schema": {"type": "object", "properties": declared | attached}} | _part_types(route.files)
    body: Json = {
        "application/json": {"schema": {"type": "object", "properties": declared | written}} | example,
        "multipart/form-data": form,
    }
    return _raw(others) | ({"image/*": {}} if route.pictures == 1 else {}) | body


def _files(files: FileKinds) -> tuple[Json, Json]:
    written: Json = {}
    for name, kind in files.items():
        several = {"type": ["array", "null"], "items": FILE_TEXT | {"type": "string"}, "minItems": 1, "maxItems": kind.most}
        if name == IMAGE:
            written |= {IMAGE: FILE_TEXT, IMAGES: several}
        else:
            written[name] = FILE_TEXT if kind.most == 1 else {"anyOf": [FILE_TEXT, several]}
    return written, {name: _part(name, kind) for name, kind in files.items()}


def _part(name: str, kind: FileKind) -> Json:
    file = FILE | {"minLength": 1}
    return file if kind.most == 1 or name == IMAGE else {"type": "array", "items": file, "maxItems": kind.most}


def _part_types(files: FileKinds) -> Json:
    """Return the content types of a form's files, from which the page makes what it offers."""
    return {"encoding": {name: {"contentType": ", ".join(kind.types)} for name, kind in files.items()}} if files else {}


def _raw(files: FileKinds) -> Json:
    types = [each for kind in files.values() for each in kind.types]
    return dict.fromkeys((*types, BYTES), {"schema": FILE | {"minLength": 1}}) if files else {}


def _named(example: Any) -> Mapping[str, Any]:
    return example if isinstance(example, dict) else {}


def _declared(example: Any, fields: Choices) -> Json:
    """Return the fields that a service declares: its example's fields with any value, and the fields to choose from.

    The fields that the platform reads by itself are left out.
    """
    own = {name: {"examples": [value]} for name, value in _named(example).items() if name not in PLATFORM_FIELDS}
    return own | {name: {"type": "string", "enum": list(values)} for name, values in fields.items()}


def _ids_in_url() -> list[Json]:
    """Return the ids as parameters of a URL, for a body that is a file's bytes."""
    return [{"name": name, "in": "query", "required": False, "description": "Echoed.", "schema": STRING} for name in IDS]


DESCRIPTIONS = {
    400: "The request is malformed or its content is wrong; the text says what to change.",
    404: "No such route, model or version.",
    405: "The route exists, but not for this method.",
    408: "The body came too slowly.",
    413: "The body, its rows or its picture are over a limit of the service.",
    415: "The body's content type is not one of those listed.",
    429: "The queue is full; try again after Retry-After seconds.",
    431: "The request's head is too large.",
    500: "The model or the service's own code failed; the request_id is in its log.",
    503: "The service is still loading, or is about to stop.",
    504: "The answer was not ready by the deadline.",
}
ON_READ = (400, 404, 405, 408, 413, 431, 500, 503)
ON_WORK = tuple(DESCRIPTIONS)

HEADERS: Json = {
    "RequestId": (
        "X-Request-Id",
        "Names the request in answers and logs; one is made up if it is missing.",
        {"type": "string"},
    ),
    "Timeout": (
        "X-Request-Timeout-Ms",
        "Milliseconds from the request's first byte to its answer; never longer than the service's own limit. "
        "Anything but a whole number above 0 is ignored.",
        {"type": "string"},
    ),
    "Trace": (
        "traceparent",
        "W3C trace context: its trace id goes into the log. A malformed one is ignored.",
        {"type": "string"},
    ),
}
COUNT: Json = {"type": "integer", "minimum": 0}
AMOUNT: Json = {"type": "number", "minimum": 0}
CONVERTER = re.compile(r"<(?:(\w+)(?:\([^>]*\))?:)?(\w+)>")
CONVERTED: dict[str, Json] = {"int": COUNT, "float": AMOUNT}


def document(
    settings: Settings,
    models: Sequence[ModelSpec],
    routes: Sequence[Route],
    *,
    prefix: str,
    inputs: ServiceInputs,
    version: str,
) -> Json:
    """Return the OpenAPI 3.1 document as it is served under a prefix ("" or "/api/..."), with only paths that answer there."""
    # A gateway may show "/api/demo" as "/grey/demo" or "/api/like/demo", and only the last segment always stays. So the server
    # is "..", relative to the document, and each path begins with the service's name. The service's own route is the prefix
    # without a slash, and so gets a path that OpenAPI can write.
    mount = f"/{settings.service_name}" if prefix else ""
    own = [mount] if prefix else [f"/api/{settings.username}/{settings.service_name}", f"/api/{settings.service_name}"]
    main = next((model for model in models if model.name == settings.service_name), None)
    paths: Json = {path: _own(settings, main, inputs, again=path != own[0]) for path in own if not inputs.mounted}
    about = {path: item for path, item in _about().items() if not (inputs.mounted and path in ("/", "/health"))}
    ours, extra = about | _protocol(settings, models), _extra(routes)  # /health may be the service's own
    paths |= {mount + path: ours.get(path, {}) | item for path, item in (ours | extra).items()}
    if not prefix:
        paths["/api/ping"] = {
            "get": _operation("service", "ping", "Whether the pod may be sent requests.", _json(_object(ping=STRING)))
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.service_name, "version": version, "description": _limits(settings)},
        "servers": [{"url": ".." if prefix else "/"}],
        "paths": paths,
        "components": _components(),
    } | ({"x-application": own[0]} if inputs.mounted else {})  # where `monopod bench` asks an application


def _limits(settings: Settings) -> str:
    service, user = settings.service_name, settings.username
    return (
        f"Every route answers at the root, under /api/{service} and under /api/{user}/{service}. "
        f"A body may hold {settings.max_body}, a request {settings.max_rows_per_request} rows, "
        f"a picture {settings.max_image_pixels} pixels; {settings.queue_limit} rows may wait, and "
        f"an answer takes at most {settings.timeout_second:g} seconds."
    )


def _object(*, required: Iterable[str] | None = None, **properties: Json) -> Json:
    """Return the schema of an object, which may hold further properties. required: every property where it is None."""
    return {"type": "object", "properties": properties, "required": sorted(properties if required is None else required)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _operation(
    tag: str, name: str, summary: str, content: Json, *, body: Json | None = None, parameters: Sequence[Json] = ()
) -> Json:
    """Return one operation. With a body it is work, which takes the timeout's header and may be refused under overload."""
    statuses = ON_READ if body is None else ON_WORK
    headers = ["RequestId", "Trace"] if body is None else list(HEADERS)
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "parameters": [*parameters, *({"$ref": f"#/components/parameters/{header}"} for header in headers)],
        **({} if body is None else {"requestBody": {"required": True, "content": body}}),
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{str(status): {"$ref": f"#/components/responses/{_reasons(status)[0]}"} for status in statuses},
        },
    }


def _reasons(status: int) -> list[str]:
    return [kind.reason for kind in errors.ERROR_CLASSES if kind.status == status]


def _components() -> Json:
    error = _object(error=STRING, msg=STRING, reason=STRING, request_id=STRING)
    wait: Json = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
    methods: Json = {"Allow": {"description": "The methods that the route has.", "schema": STRING}}
    headers = {405: methods, 429: wait, 503: wait}
    return {
        "schemas": {"Error": error},
        "parameters": {
            key: {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
            for key, (name, text, schema) in HEADERS.items()
        },
        "responses": {
            _reasons(status)[0]: {
                "description": f"{text} Reasons: {', '.join(_reasons(status))}.",
                "content": _json({"$ref": "#/components/schemas/Error"}),
                **({"headers": headers[status]} if status in headers else {}),
            }
            for status, text in DESCRIPTIONS.items()
        },
    }


def _own(settings: Settings, model: ModelSpec | None, inputs: ServiceInputs, *, again: bool) -> Json:
    """Return the service's own route. again: whether it is in the document under another path already."""
    body = _bodies_of_service(settings, model, inputs)
    answer = _object(required=["results", "msg"], results={}, msg=STRING, **dict.fromkeys(IDS, ID))
    end = "_in_pod" if again else ""
    summary = f"Ask {settings.service_name}."
    content: Json = {inputs.streams: {"schema": STRING}} if inputs.streams else _json(answer)
    post = _operation("service", f"answer{end}", summary, content, body=body, parameters=_ids_in_url())
    page = _operation("service", f"page_folder{end}", "Leads to the page, which is a folder below.", {})
    page["responses"]["307"] = {"description": "The page's place."}
    del page["responses"]["200"]
    return {"post": post, "get": page}


def _about() -> Json:
    page, document = {"text/html": {"schema": STRING}}, _json({"type": "object"})
    return {
        "/health": {"get": _operation("service", "health", "State, memory, cores and queue; 503 unless ready.", _health())},
        "/": {"get": _operation("service", "page", "A page to try the service on.", page)},
        "/openapi.json": {"get": _operation("service", "openapi", "This document.", document)},
        "/status": {"get": _operation("service", "status", "The queue and the counts of answers, live.", _status())},
    }


def _status() -> Json:
    return _json(
        _object(
            service=STRING,
            username=STRING,
            ready={"type": "boolean"},
            state=STRING,
            queue=_object(rows=COUNT, oldest_seconds=AMOUNT, limit=COUNT),
            in_progress=COUNT,
            requests={"type": "object", "additionalProperties": COUNT},
            models={"type": "array"},
        )
    )


def _health() -> Json:
    return _json(
        _object(
            ready={"type": "boolean"},
            state=STRING,
            memory_bytes=COUNT,
            memory_limit_bytes=COUNT,
            cpu_cores=AMOUNT,
            cpu_cores_asked=AMOUNT,
            queue_rows=COUNT,
            queue_limit=COUNT,
            oldest_seconds=AMOUNT,
        )
    )


def _protocol(settings: Settings, models: Sequence[ModelSpec]) -> Json:
    """Return the Open Inference Protocol's routes, and the routes of each model that is given."""
    flag: Json = {"type": "boolean"}
    fields: Json = {"name": STRING, "version": STRING, "digest": STRING, "extensions": {"type": "array", "items": STRING}}
    server = _object(required=("name", "version", "extensions"), **fields)
    found: Json = {
        "/v2": {"get": _operation("v2", "server", "The server's metadata.", _json(server))},
        "/v2/health/live": {"get": _operation("v2", "live", "Whether the process lives.", _json(_object(live=flag)))},
        "/v2/health/ready": {
            "get": _operation("v2", "ready", "Whether the service takes requests.", _json(_object(ready=flag)))
        },
    }
    for number, model in enumerate(models):
        found |= _of_model(settings, model, number)
    return found


def _of_model(settings: Settings, model: ModelSpec, number: int) -> Json:
    """Return one model's routes, with and without a version. number: makes the operations' names unique."""
    name = quote(model.name, safe="")
    version: Json = {"name": "version", "in": "path", "required": True, "schema": {"enum": [MODEL_VERSION]}}
    found = _v2(settings, model, f"/v2/models/{name}", f"_{number}", [])
    found |= _v2(settings, model, f"/v2/models/{name}/versions/{{version}}", f"_{number}_version", [version])
    request, answer = openapi_tensors.predict(model, settings)
    states = _object(
        name=STRING,
        ready={"type": "boolean"},
        model_version_status={"type": "array", "items": _object(version=STRING, state=STRING)},
    )
    about = f"The versions of {model.name} and their states."
    found[f"/v1/models/{name}"] = {"get": _operation("v1", f"v1_status_{number}", about, _json(states))}
    found[f"/v1/models/{name}:predict"] = {
        "post": _operation("v1", f"predict_{number}", f"Run {model.name} on rows.", answer, body=request)
    }
    return found


def _v2(settings: Settings, model: ModelSpec, path: str, end: str, parameters: list[Json]) -> Json:
    """Return the Open Inference Protocol's routes of one model under one path. end: the end of the operations' names."""
    metadata, ready = _json(openapi_tensors.metadata(model)), _json(_object(name=STRING, ready={"type": "boolean"}))
    request, answer = openapi_tensors.infer(model, settings)
    about = _operation("v2", f"metadata{end}", f"The tensors of {model.name}.", metadata, parameters=parameters)
    loaded = _operation("v2", f"model_ready{end}", f"Whether {model.name} is loaded.", ready, parameters=parameters)
    headers = [*parameters, openapi_tensors.HEADER_LENGTH]
    infer = _operation("v2", f"infer{end}", f"Run {model.name}.", answer, body=request, parameters=headers)
    return {path: {"get": about}, f"{path}/ready": {"get": loaded}, f"{path}/infer": {"post": infer}}


def _extra(routes: Sequence[Route]) -> Json:
    """Return the routes of the service's own code, with their parameters and declared bodies."""
    found: Json = {}
    for number, route in enumerate(routes):
        path = CONVERTER.sub(r"{\2}", route.path)
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": CONVERTED.get(kind, STRING)}
            for kind, name in CONVERTER.findall(route.path)
        ]
        for method in sorted({method.lower() for method in route.methods} - {"head", "options"}):
            body = _bodies_of_route(route) if method in ("post", "put", "patch") else None
            name = f"own_{number}_{method}"
            operation = _operation("own", name, route.summary, {route.streams or "*/*": {}}, body=body, parameters=parameters)
            operation["responses"]["default"] = {"description": "Any other answer of the service's own code."}
            if body is not None:
                operation["requestBody"]["required"] = False
                operation["x-pictures"] = route.pictures  # what the page offers
            found.setdefault(path, {})[method] = operation
    return found
