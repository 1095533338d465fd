"""A request of the service's own route, from its bytes to a Payload.

Knows JSON, raw bytes and the parts of a form, and what each may hold. Does not know web frameworks, pictures or models.

    application/json        an object: postid, uid, seqid, data, image (or images, a list) or video, and anything else
    image/*, octet-stream   the picture itself
    video/*                 the video itself
    multipart/form-data     files image (once or more), video and data; texts for the rest. One file of another name is the
                            picture.

In JSON image and video are base64 (a data: URL too) or an http(s) URL, which is fetched; in a form base64 text will do.
"""

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from serving.base import jsons
from serving.base.errors import BadInput, WrongContentType
from serving.base.lifetime import Lifetime
from serving.inputs import forms
from serving.inputs.forms import Form

IDS = ("postid", "uid", "seqid")
FILES = ("image", "video")
MOST_PICTURES = 16  # of one request
JSON_ALONE = "send JSON with -H 'Content-Type: application/json'"
HOW = (
    "send a picture with -F image=@picture.jpg, or raw with --data-binary @picture.jpg -H 'Content-Type: image/jpeg', "
    "or JSON with -H 'Content-Type: application/json'"
)
ALLOWED_ALONE = "application/json or multipart/form-data"
ALLOWED = "application/json, multipart/form-data, image/*, video/* or application/octet-stream"
AS_SENT = ("image/", "video/")  # of which nothing but the bytes is held
COPIES = {"multipart/form-data": 2, "application/octet-stream": 2}
COPIES_OF_JSON = 4  # base64 is a text, then perhaps one without line breaks, and then a file
URL_SAFE, WHITESPACE = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\v\f"  # in base64

KINDS: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "an array"}
READ: dict[type, re.Pattern[str]] = {
    int: re.compile(r"[+-]?[0-9]{1,18}"),
    float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?"),
}
T = TypeVar("T")


class Fetches(Protocol):
    """What fetches a URL: raises BadInput, TooLarge or DeadlinePassed."""

    def fetch(self, url: str, deadline: float) -> bytes: ...


@dataclass
class Payload:
    """What a client sent. Nothing at all is a Payload too.

    image, video: the encoded file. data: the JSON value under "data". fields: everything else, by name; texts where a form
    was sent. ids: postid, uid and seqid where they were sent, to be echoed: texts or whole numbers. further_images: the
    pictures after the first, of a request that sent several.
    """

    image: bytes | None = None
    video: bytes | None = None
    data: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    ids: dict[str, str | int] = field(default_factory=dict)
    further_images: tuple[bytes, ...] = ()


def decode(content_type: str, body: bytes, fetcher: Fetches, life: Lifetime, files: bool = True) -> Payload:
    """Return a request's payload. life: until when it is worth to fetch, and to read on. files: whether who is asked says
    that it takes pictures or videos, so that errors suggest them.

    Neither a body nor a content type is an empty payload, as a GET of a service's own route sends.
    Raises WrongContentType, BadInput for content that is wrong, TooLarge for a form of too many parts, what the fetcher
    raises, and in a form what `life.check` does.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _form(forms.read(content_type, body, life.check))
    if not kind and not body:
        return Payload()
    if kind == "application/json":
        return _json(body, lambda url: fetcher.fetch(url, life.deadline), files)
    is_video = kind.startswith("video/")
    if not is_video and not kind.startswith("image/") and kind != "application/octet-stream":
        raise _wrong(kind, files)
    if not body:
        raise BadInput(f"the body is empty: no bytes came as {kind}")
    return Payload(video=body) if is_video else Payload(image=body)


def copies(kind: str) -> int:
    """Return how many times a body's bytes are held at most while it is decoded. kind: its content type without parameters."""
    return 1 if kind.startswith(AS_SENT) else COPIES.get(kind, COPIES_OF_JSON)


def values_bytes(kind: str, body: bytes) -> int:
    """Return about how many bytes a body's values take beside its copies."""
    return 0 if kind.startswith(AS_SENT) else jsons.values_bytes(body)


def converted(name: str, value: Any, kind: type[T]) -> T:
    """Return what a client sent by a name as a str, int, float, bool or list; from a text too, as forms and URLs send numbers.

    Raises BadInput for anything else.
    """
    found = value
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        if kind is bool:
            found = {"true": True, "1": True, "false": False, "0": False}.get(text)
        elif kind in READ and READ[kind].fullmatch(text):
            found = kind(text)  # type: ignore[call-arg]  # int and float
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is kind:  # isinstance takes true for an int
        return found
    given = repr(value[:60]) if isinstance(value, str) else _named(value)
    raise BadInput(f"{name} is {given}; it must be {KINDS[kind]}")


def _wrong(kind: str, files: bool) -> WrongContentType:
    how = HOW if files else JSON_ALONE
    if kind == "application/x-www-form-urlencoded":
        return WrongContentType(f"{kind} is what curl -d says where no Content-Type is given: {how}")
    found = f"content type {kind[:100]!r} is not taken" if kind else "the request has no Content-Type"
    return WrongContentType(f"{found}; it may be {ALLOWED if files else ALLOWED_ALONE}: {how}")


def _json(body: bytes, fetch: Callable[[str], bytes], files: bool) -> Payload:
    sent = jsons.loads(body)
    if not isinstance(sent, dict):
        such = 'such as {"image": "..."}' if files else "as /openapi.json shows it"
        raise BadInput(f"the body is {_named(sent)}; send an object, {such}")
    ids = {name: _id(name, sent.pop(name)) for name in IDS if name in sent}
    texts = {name: sent.pop(name, None) for name in (*FILES, "images")}
    found = [name for name, text in texts.items() if text is not None]
    if len(found) > 1:
        raise BadInput(f"{' and '.join(found)} were both sent; send one of them")
    opened = {name: _opened(name, texts[name], fetch) for name in FILES if texts[name] is not None}
    if texts["images"] is not None:
        opened["image"], *further = _pictures(texts["images"], fetch)
    else:
        further = []
    return Payload(opened.get("image"), opened.get("video"), sent.pop("data", None), sent, ids, tuple(further))


def _pictures(texts: Any, fetch: Callable[[str], bytes]) -> list[bytes]:
    if not isinstance(texts, list) or not 0 < len(texts) <= MOST_PICTURES:
        raise BadInput(f"images must be an array of 1 to {MOST_PICTURES} texts, each base64 or an http(s) URL")
    return [_opened(f"images[{at}]", text, fetch) for at, text in enumerate(texts)]


def _form(form: Form) -> Payload:
    fields: dict[str, Any] = dict(form.texts)
    parts, further = dict(form.files), form.further_images
    if not fields and not parts:
        raise BadInput(forms.NO_PARTS)
    ids = {name: _id(name, fields.pop(name)) for name in IDS if name in fields}
    data = _form_data(fields.pop("data", None), parts.pop("data", None))
    others = sorted(set(parts) - set(FILES))
    if len(others) == 1 and len(parts) == 1 and not set(fields) & set(FILES):
        parts["image"] = parts.pop(others[0])
    elif others:
        raise BadInput(f"the form holds files that are not known: {', '.join(others)}; name one image, video or data")
    if sum(name in part for part in (fields, parts) for name in FILES) > 1:
        raise BadInput("the form holds more than one image or video; send one")
    if len(further) >= MOST_PICTURES:
        raise BadInput(f"the form holds {len(further) + 1} pictures; {MOST_PICTURES} at most are taken at once")
    for name, part in [*parts.items(), *(("image", part) for part in further)]:
        if not part:
            raise BadInput(f"{name} is empty: the file has no bytes")
    parts |= {name: _opened(name, fields.pop(name), _no_url) for name in FILES if name in fields}
    return Payload(parts.get("image"), parts.get("video"), data, fields, ids, further)


def _form_data(text: str | None, part: bytes | None) -> Any:
    """Return a form's data: the JSON value where it is JSON, else the text."""
    if part is None:
        if text is None:
            return None
        part = text.encode("utf-8", "surrogatepass")
    elif text is not None:
        raise BadInput("data was sent both as a file and as a text; send one of them")
    try:
        return jsons.loads(part, "data")
    except BadInput:
        try:
            return part.decode()
        except UnicodeDecodeError as error:
            raise BadInput("data is neither JSON nor text in UTF-8") from error


def _id(name: str, value: Any) -> str | int:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadInput(f"{name} is {_named(value)}; it may be a text or a whole number of up to 64 bits")


def _opened(name: str, text: Any, fetch: Callable[[str], bytes]) -> bytes:
    """Return the file that a text holds or names. name: the field's, for error messages."""
    if not isinstance(text, str):
        raise BadInput(f"{name} is {_named(text)}; it may be a text: base64, or an http(s) URL")
    scheme = text[:8].partition(":")[0].lower() if ":" in text[:8] else ""
    if scheme in ("http", "https"):
        return fetch(text)
    if scheme == "data":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise BadInput(f"{name} is a data: URL without base64; send data:image/jpeg;base64,...")
    found = _base64(name, text)
    if not found:
        raise BadInput(f"{name} is empty; send base64, or an http(s) URL")
    return found


def _base64(name: str, text: str) -> bytes:
    """Decode base64: standard or URL-safe, with or without padding and line breaks."""
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        pass  # not plain base64; the text is cleaned in one step, since a list of its pieces would take many times its bytes
    try:
        plain = text.encode("ascii").translate(URL_SAFE, WHITESPACE)
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise BadInput(
            f"{name} is neither base64 nor an http(s) URL; a file's own bytes go into a form or a raw body"
        ) from error


def _no_url(url: str) -> bytes:
    raise BadInput("a form takes no URL; send it in JSON, as the value of image or video")


def _named(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
