"""The request bodies of the service's own routes, as OpenAPI writes them.

Knows the fields that the platform reads, and what a service declares. Does not know answers or the protocols' routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.inputs.files import MOST_PICTURES
from serving.inputs.payload import IDS
from serving.models.tensors import ModelSpec
from serving.service.service import Route
from serving.settings.declarations import Settings
from serving.web import openapi_tensors
from serving.web.openapi_tensors import STRING

Json = dict[str, Any]
Choices = Mapping[str, Sequence[str]]

FILE_TEXT: Json = {"type": ["string", "null"], "minLength": 1, "description": "Base64, or an http(s) URL of an allowed host."}
FORM_TEXT: Json = {"description": "A form sends it as a text, whatever it is."}
PLATFORM_FIELDS = (*IDS, "image", "video", "images", "data")  # read by the platform itself
ID: Json = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**64 - 1}


@dataclass(frozen=True)
class ServiceInputs:
    """The inputs that the service's own route takes."""

    pictures: bool = False  # whether a picture may be the whole body
    videos: bool = False  # whether a video may be the whole body
    example: Any = None  # a JSON body
    fields: Choices = field(default_factory=dict)  # name -> values to choose from
    data: bool = False  # whether "data" is read besides the example's fields
    streams: str = ""  # the content type of an answer that an iterator gives


def of_service(settings: Settings, model: ModelSpec | None, inputs: ServiceInputs) -> Json:
    """Return the bodies of the service's own route, by content type."""
    file: Json = {"type": "string", "format": "binary", "minLength": 1}
    several: Json = {
        "type": ["array", "null"],
        "items": FILE_TEXT | {"type": "string"},
        "minItems": 1,
        "maxItems": MOST_PICTURES,
    }
    written: Json = {"image": FILE_TEXT, "images": several} if inputs.pictures else {}
    attached: Json = {"image": file} if inputs.pictures else {}
    if inputs.videos:
        written, attached = written | {"video": FILE_TEXT}, attached | {"video": file}
    if inputs.data or "data" in _named(inputs.example):
        written, attached = written | {"data": {}}, attached | {"data": FORM_TEXT}

    def of(parts: Json, ids_: Json) -> Json:
        one = {"anyOf": [{"required": [name]} for name in parts]} if inputs.pictures or inputs.videos else {}
        return {"type": "object", "properties": _declared(inputs.example, inputs.fields) | ids_ | parts} | one

    body: Json = {
        "application/json": {"schema": of(written, ids(ID))},
        "multipart/form-data": {"schema": of(attached, ids(FORM_TEXT)) | {"minProperties": 1}},
    }
    files = [kind for kind, taken in (("image/*", inputs.pictures), ("video/*", inputs.videos)) if taken]
    rows = None if model is None or not inputs.data or inputs.example else openapi_tensors.data_example(model, settings)
    example = inputs.example if rows is None else {"data": rows}
    if example is not None:
        body["application/json"]["example"] = example
    if files:
        body |= dict.fromkeys((*files, "application/octet-stream"), {"schema": file})
    return body


def of_route(route: Route) -> Json:
    """Return the bodies of a further route of the service: its pictures and the fields that it declares, by content type."""
    file: Json = {"type": "string", "format": "binary"}
    files: Json = {"type": "array", "items": file, "minItems": route.pictures, "maxItems": route.pictures}
    attached: Json = {"image": file if route.pictures == 1 else files} if route.pictures else {}
    written: Json = ({"image": FILE_TEXT} if route.pictures == 1 else {"images": {"type": "array"}}) if route.pictures else {}
    data: Json = {"data": {}} if "data" in _named(route.example) else {}
    declared = data | _declared(route.example, route.fields)
    example = {} if route.example is None else {"example": route.example}
    body: Json = {
        "application/json": {"schema": {"type": "object", "properties": declared | written}} | example,
        "multipart/form-data": {"schema": {"type": "object", "properties": declared | attached}},
    }
    return body | ({"image/*": {}} if route.pictures == 1 else {})


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
