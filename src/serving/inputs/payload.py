"""The body of a request to the service's own route, from bytes to a Payload.

Knows JSON, raw bytes and the parts of a form, and what each may hold. Does not know web frameworks, pictures or models.

    application/json        an object with postid, uid, seqid, data, image (or an array images) or video, and further fields
    image/*, octet-stream   the picture itself
    video/*                 the video itself
    multipart/form-data     files named image (several may be), video and data, and texts for further fields

In JSON, image and video are base64, a data: URL, or an http(s) URL, which is fetched. In a form they may be base64 texts too. A
form's only file is the picture, whatever its name.
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
SEND_JSON = "send JSON with -H 'Content-Type: application/json'"
SEND_FILES = (
    "send a picture with -F image=@picture.jpg, or raw with --data-binary @picture.jpg -H 'Content-Type: image/jpeg', "
    "or JSON with -H 'Content-Type: application/json'"
)
CONTENT_TYPES_WITHOUT_FILES = "application/json or multipart/form-data"
CONTENT_TYPES = "application/json, multipart/form-data, image/*, video/* or application/octet-stream"
UNDECODED = ("image/", "video/")  # the body is held once, as it came
COPIES = {"multipart/form-data": 2, "application/octet-stream": 2}
COPIES_OF_JSON = 4  # the body, base64 as a text, that text without line breaks, and the file
URL_SAFE, WHITESPACE = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\v\f"  # in base64

TYPE_NAMES: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "an array"}
NUMBER_PATTERNS: dict[type, re.Pattern[str]] = {
    int: re.compile(r"[+-]?[0-9]{1,18}"),
    float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?"),
}
T = TypeVar("T")


class UrlFetcher(Protocol):
    """Fetches a URL. Raises BadInput, TooLarge or DeadlinePassed."""

    def fetch(self, url: str, deadline: float) -> bytes: ...


@dataclass
class Payload:
    """The content of a request. An empty request is an empty Payload."""

    image: bytes | None = None  # the encoded file
    video: bytes | None = None
    data: Any = None  # the JSON value under "data"
    fields: dict[str, Any] = field(default_factory=dict)  # further fields by name; a form's are texts
    ids: dict[str, str | int] = field(default_factory=dict)  # postid, uid and seqid as sent, which the answer echoes
    further_images: tuple[bytes, ...] = ()  # after the first


def decode(content_type: str, body: bytes, fetcher: UrlFetcher, life: Lifetime, files: bool = True) -> Payload:
    """Return a request's payload; it is empty where neither a body nor a content type came, as with a GET.

    life: its deadline ends a fetch, and the reading of a form. files: whether errors suggest to send a picture or a video.
    Raises WrongContentType for another content type, BadInput for wrong content, TooLarge for a form of too many parts.
    Raises the fetcher's errors, and while it reads a form the errors of `life.check`.
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
    """Return how many copies of a body its decoding holds at most. kind: its content type without parameters."""
    return 1 if kind.startswith(UNDECODED) else COPIES.get(kind, COPIES_OF_JSON)


def values_bytes(kind: str, body: bytes) -> int:
    """Return about how many bytes a body's values take, beside its copies. kind: its content type without parameters."""
    return 0 if kind.startswith(UNDECODED) else jsons.values_bytes(body)


def converted(name: str, value: Any, kind: type[T]) -> T:
    """Return a client's value as a str, int, float, bool or list. Numbers may be texts, as forms and URLs send them.

    name: of the field, in the message. Raises BadInput for a value of another type.
    """
    found = value
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        if kind is bool:
            found = {"true": True, "1": True, "false": False, "0": False}.get(text)
        elif kind in NUMBER_PATTERNS and NUMBER_PATTERNS[kind].fullmatch(text):
            found = kind(text)  # type: ignore[call-arg]  # int and float
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is kind:  # isinstance takes true for an int
        return found
    given = repr(value[:60]) if isinstance(value, str) else _type_name(value)
    raise BadInput(f"{name} is {given}; it must be {TYPE_NAMES[kind]}")


def _wrong(kind: str, files: bool) -> WrongContentType:
    how = SEND_FILES if files else SEND_JSON
    if kind == "application/x-www-form-urlencoded":
        return WrongContentType(f"{kind} is what curl -d says where no Content-Type is given: {how}")
    found = f"content type {kind[:100]!r} is not taken" if kind else "the request has no Content-Type"
    return WrongContentType(f"{found}; it may be {CONTENT_TYPES if files else CONTENT_TYPES_WITHOUT_FILES}: {how}")


def _json(body: bytes, fetch: Callable[[str], bytes], files: bool) -> Payload:
    sent = jsons.loads(body)
    if not isinstance(sent, dict):
        such = 'such as {"image": "..."}' if files else "as /openapi.json shows it"
        raise BadInput(f"the body is {_type_name(sent)}; send an object, {such}")
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
    """Return a form's data: its JSON value, or its text where it is no JSON."""
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
    raise BadInput(f"{name} is {_type_name(value)}; it may be a text or a whole number of up to 64 bits")


def _opened(name: str, text: Any, fetch: Callable[[str], bytes]) -> bytes:
    """Return the file that a text holds, or whose URL it is. name: of the field, in messages."""
    if not isinstance(text, str):
        raise BadInput(f"{name} is {_type_name(text)}; it may be a text: base64, or an http(s) URL")
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
        pass  # cleaned below in one step, since a list of its pieces would take many times its bytes
    try:
        plain = text.encode("ascii").translate(URL_SAFE, WHITESPACE)
        return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise BadInput(
            f"{name} is neither base64 nor an http(s) URL; a file's own bytes go into a form or a raw body"
        ) from error


def _no_url(url: str) -> bytes:
    raise BadInput("a form takes no URL; send it in JSON, as the value of image or video")


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
