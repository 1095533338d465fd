"""The request bodies of the service's own routes, as OpenAPI writes them.

Knows the fields that the platform reads, and what a service declares. Does not know answers or the protocols' routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.inputs.files import BYTES, IMAGE, IMAGES, VIDEO, FileKind, FileKinds
from serving.inputs.payload import IDS
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


def of_service(settings: Settings, model: ModelSpec | None, inputs: ServiceInputs) -> Json:
    """Return the bodies of the service's own route, by content type."""
    written, attached = _files(inputs.files)
    if inputs.data or "data" in _named(inputs.example):
        written, attached = written | {"data": {}}, attached | {"data": FORM_TEXT}

    def of(parts: Json, ids_: Json) -> Json:
        older = inputs.files.keys() & {IMAGE, VIDEO}  # of other files, each may be left out
        one = {"anyOf": [{"required": [name]} for name in parts]} if older else {}
        return {"type": "object", "properties": _declared(inputs.example, inputs.fields) | ids_ | parts} | one

    body: Json = {
        "application/json": {"schema": of(written, ids(ID))},
        "multipart/form-data": {"schema": of(attached, ids(FORM_TEXT)) | {"minProperties": 1}} | _part_types(inputs.files),
    }
    rows = None if model is None or not inputs.data or inputs.example else openapi_tensors.data_example(model, settings)
    example = inputs.example if rows is None else {"data": rows}
    if example is not None:
        body["application/json"]["example"] = example
    return _raw(inputs.files) | body


def of_route(route: Route) -> Json:
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
    """Return the properties of files: in JSON, and in a form."""
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
    """Return the bodies that are one file."""
    types = [each for kind in files.values() for each in kind.types]
    return dict.fromkeys((*types, BYTES), {"schema": FILE | {"minLength": 1}}) if files else {}


def _named(example: Any) -> Mapping[str, Any]:
    return example if isinstance(example, dict) else {}


def _declared(example: Any, fields: Choices) -> Json:
    """Return the fields that a service declares: its example's fields with any value, and the fields to choose from.

    The fields that the platform reads by itself are left out.
    """
    own = {name: {"examples": [value]} for name, value in _named(example).items() if name not in PLATFORM_FIELDS}
    return own | _choices(fields)


def _choices(fields: Choices) -> Json:
    return {name: {"type": "string", "enum": list(values)} for name, values in fields.items()}


def ids(schema: Json) -> Json:
    return dict.fromkeys(IDS, schema)


def ids_in_url() -> list[Json]:
    """Return the ids as parameters of a URL, for a body that is a file's bytes."""
    return [{"name": name, "in": "query", "required": False, "description": "Echoed.", "schema": STRING} for name in IDS]
