"""What the service's own routes take, as OpenAPI writes it.

Knows the fields that the platform reads, and what a service says of its routes. Does not know answers or the protocols' routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving import openapi_tensors
from serving.inputs import MOST_PICTURES
from serving.openapi_tensors import STRING
from serving.schema.settings import Settings
from serving.tensors import ModelSpec

Json = dict[str, Any]
Choices = Mapping[str, Sequence[str]]

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
    """What the service's own answer is asked with. pictures: a picture may be the whole body. example: a JSON body, or None.

    fields: name -> values to choose from.
    """

    pictures: bool = False
    example: Any = None
    fields: Choices = field(default_factory=dict)


def of_service(settings: Settings, model: ModelSpec | None, ask: Ask) -> Json:
    """Return the bodies of the service's own answer."""
    file: Json = {"type": "string", "format": "binary", "minLength": 1}
    text: Json = {"type": ["string", "null"], "minLength": 1, "description": "Base64, or an http(s) URL of an allowed host."}
    several: Json = {"type": ["array", "null"], "items": text | {"type": "string"}, "minItems": 1, "maxItems": MOST_PICTURES}
    fields = ids(ID) | _choices(ask.fields) | {"image": text, "images": several, "video": text, "data": {}}
    parts = ids(STRING) | _choices(ask.fields) | {"image": file, "video": file, "data": STRING}

    def one(*names: str) -> Json:
        return {"anyOf": [{"required": [name]} for name in names]} if ask.pictures else {}

    body: Json = {
        "application/json": {"schema": {"type": "object", "properties": fields} | one("image", "images", "video", "data")},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": parts, "minProperties": 1} | one("image", "video", "data")
        },
    }
    rows = None if model is None or ask.pictures or ask.example else openapi_tensors.data_example(model, settings)
    example = ask.example if rows is None else {"data": rows}
    if example is not None:
        body["application/json"]["example"] = example
    if ask.pictures:
        body |= dict.fromkeys(("image/*", "video/*", "application/octet-stream"), {"schema": file})
    return body


def of_route(route: OwnRoute) -> Json:
    """Return the bodies of a route of the service's own code, of which its example and its number of pictures are known."""
    file: Json = {"type": "string", "format": "binary"}
    files: Json = {"type": "array", "items": file, "minItems": route.pictures, "maxItems": route.pictures}
    picture: Json = {"image": file if route.pictures == 1 else files} if route.pictures else {}
    parts: Json = {"properties": picture | _choices(route.fields)}
    return {
        "application/json": {"schema": {"type": "object"}} | ({} if route.example is None else {"example": route.example}),
        "multipart/form-data": {"schema": {"type": "object"} | parts},
        "image/*": {},
    }


def _choices(fields: Choices) -> Json:
    return {name: {"type": "string", "enum": list(values)} for name, values in fields.items()}


def ids(schema: Json) -> Json:
    return dict.fromkeys(("postid", "uid", "seqid"), schema)
