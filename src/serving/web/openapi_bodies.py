"""What the service's own routes take, as OpenAPI writes it.

Knows the fields that the platform reads, and what a service says of its routes. Does not know answers or the protocols' routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.inputs.payload import FILES, IDS, MOST_PICTURES
from serving.models.tensors import ModelSpec
from serving.settings.declarations import Settings
from serving.web import openapi_tensors
from serving.web.openapi_tensors import STRING

Json = dict[str, Any]
Choices = Mapping[str, Sequence[str]]

TEXT: Json = {"type": ["string", "null"], "minLength": 1, "description": "Base64, or an http(s) URL of an allowed host."}
WRITTEN: Json = {"description": "A form sends it as a text, whatever it is."}
READ = (*IDS, *FILES, "images", "data")  # by the platform itself
ID: Json = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**64 - 1}


@dataclass(frozen=True)
class OwnRoute:
    """A route of the service's own code. path: from the prefix on, as Flask writes it ("/items/<int:item>").

    example: a JSON body that it takes, or None. pictures: how many it takes. fields: name -> values to choose from.
    """

    path: str
    methods: tuple[str, ...]
    summary: str
    example: Any = None
    pictures: int = 0
    fields: Choices = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """What the service's own answer is asked with. pictures, videos: one may be the whole body. example: a JSON body, or None.

    fields: name -> values to choose from. data: whether "data" is read, beside what the example holds.
    """

    pictures: bool = False
    videos: bool = False
    example: Any = None
    fields: Choices = field(default_factory=dict)
    data: bool = False


def of_service(settings: Settings, model: ModelSpec | None, ask: Ask) -> Json:
    """Return the bodies of the service's own answer."""
    file: Json = {"type": "string", "format": "binary", "minLength": 1}
    several: Json = {"type": ["array", "null"], "items": TEXT | {"type": "string"}, "minItems": 1, "maxItems": MOST_PICTURES}
    written: Json = {"image": TEXT, "images": several} if ask.pictures else {}
    attached: Json = {"image": file} if ask.pictures else {}
    if ask.videos:
        written, attached = written | {"video": TEXT}, attached | {"video": file}
    if ask.data or "data" in _named(ask.example):
        written, attached = written | {"data": {}}, attached | {"data": WRITTEN}

    def of(parts: Json, ids_: Json) -> Json:
        one = {"anyOf": [{"required": [name]} for name in parts]} if ask.pictures or ask.videos else {}
        return {"type": "object", "properties": _declared(ask.example, ask.fields) | ids_ | parts} | one

    body: Json = {
        "application/json": {"schema": of(written, ids(ID))},
        "multipart/form-data": {"schema": of(attached, ids(WRITTEN)) | {"minProperties": 1}},
    }
    files = [kind for kind, taken in (("image/*", ask.pictures), ("video/*", ask.videos)) if taken]
    rows = None if model is None or not ask.data or ask.example else openapi_tensors.data_example(model, settings)
    example = ask.example if rows is None else {"data": rows}
    if example is not None:
        body["application/json"]["example"] = example
    if files:
        body |= dict.fromkeys((*files, "application/octet-stream"), {"schema": file})
    return body


def of_route(route: OwnRoute) -> Json:
    """Return the bodies of a route of the service's own code: its pictures, and the fields that it declares."""
    file: Json = {"type": "string", "format": "binary"}
    files: Json = {"type": "array", "items": file, "minItems": route.pictures, "maxItems": route.pictures}
    attached: Json = {"image": file if route.pictures == 1 else files} if route.pictures else {}
    written: Json = ({"image": TEXT} if route.pictures == 1 else {"images": {"type": "array"}}) if route.pictures else {}
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
    """Return the fields that a service declares: those of its example, whatever they may hold, and those to choose from.

    Those that the platform reads by itself are not among them.
    """
    own = {name: {"examples": [value]} for name, value in _named(example).items() if name not in READ}
    return own | _choices(fields)


def _choices(fields: Choices) -> Json:
    return {name: {"type": "string", "enum": list(values)} for name, values in fields.items()}


def ids(schema: Json) -> Json:
    return dict.fromkeys(IDS, schema)


def ids_in_url() -> list[Json]:
    """Return the ids as parameters of a URL, for bodies that are a file's bytes."""
    return [{"name": name, "in": "query", "required": False, "description": "Echoed.", "schema": STRING} for name in IDS]
