"""The body of a request to the service's own route, from bytes to a Payload. The one module that knows werkzeug's decoder.

    application/json        an object with postid, uid, seqid, data, the declared files, and further fields
    a declared file's type  that file itself
    octet-stream            the first declared file itself
    multipart/form-data     the declared files and data, and texts for further fields (RFC 7578)

In JSON, a file is base64, a data: URL, or an http(s) URL, which is fetched. Several of one name are an array, and those of
"image" the array "images". In a form a file may be a base64 text too.

A service that declares no more than pictures and videos takes either, whichever it declares, and one of them at once. Its
form's only file is the picture, whatever its name.

The decoder of forms gets one piece at a time. Between two pieces the request's deadline is checked, and other threads can run.
A part's headers are measured before the decoder reads them, since it would turn 16 MiB of headers into 1.5 GiB. The parts are
held in memory beside the body, which takes twice the body's bytes in all.
"""

import binascii
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import BLANK_LINE_RE, Data, Field, MultipartDecoder, NeedData, State
from werkzeug.sansio.multipart import File as FilePart

from serving.base import json_codec
from serving.base.errors import BadInput, TooLarge, WrongContentType
from serving.base.lifetime import Lifetime
from serving.inputs.files import BYTES, IMAGE, IMAGES, PICTURES, VIDEO, VIDEOS, File, FileKind, FileKinds

IDS = ("postid", "uid", "seqid")
SEND_JSON = "send JSON with -H 'Content-Type: application/json'"
SEND_FILES = "send a file with -F {0}=@{1}, or raw with --data-binary @{1} -H 'Content-Type: {2}', or " + SEND_JSON[5:]
OLDER, ONE = {**PICTURES, **VIDEOS}, FileKind((), 1)
EXAMPLES = {IMAGE: ("picture.jpg", "image/jpeg")}  # a file and its type, for the message
COPIES = {"multipart/form-data": 2, BYTES: 2}
COPIES_OF_JSON = 4  # the body, base64 as a text, that text without line breaks, and the file
URL_SAFE, WHITESPACE = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\v\f"  # in base64

TYPE_NAMES: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "an array"}
NUMBER_PATTERNS: dict[type, re.Pattern[str]] = {
    int: re.compile(r"[+-]?[0-9]{1,18}"),
    float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?"),
}
T = TypeVar("T")

PIECE_BYTES = 64 * 2**10  # that the decoder reads at once, in about a millisecond
MAX_FORM_PARTS = 100
MAX_HEADERS = 8 * 2**10  # bytes of one part's headers, and of the text before the first part
MAX_PARAMETERS = 32  # in one part's headers
MAX_BOUNDARY = 70  # characters; source: RFC 2046, 5.1.1
CHARSETS = ("utf-8", "us-ascii", "ascii", "iso-8859-1")  # that a text may be written in
NO_PARTS = "the form has no parts, or its boundary is not the one its Content-Type names; -F name=value sends one"
NOTHING_FETCHED = "this service fetches no URLs: its setting fetch_hosts is empty; send the bytes, or base64"


class UrlFetcher(Protocol):
    """Fetches a URL. Raises BadInput, TooLarge or DeadlinePassed."""

    def fetch(self, url: str, deadline: float) -> bytes: ...


@dataclass(frozen=True)
class NoFetcher:
    """Fetches nothing. reason: what its BadInput says."""

    reason: str = NOTHING_FETCHED

    def fetch(self, url: str, deadline: float) -> bytes:
        raise BadInput(self.reason)


@dataclass(frozen=True)
class Form:
    """A form's parts by their names. A file may be empty here."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[File, ...]] = field(default_factory=dict)


@dataclass
class Payload:
    """The content of a request. An empty request is an empty Payload."""

    files: dict[str, tuple[File, ...]] = field(default_factory=dict)  # by the names under which they were sent
    data: Any = None  # the JSON value under "data"
    fields: dict[str, Any] = field(default_factory=dict)  # further fields by name; a form's are texts
    ids: dict[str, str | int] = field(default_factory=dict)  # postid, uid and seqid as sent, which the answer echoes


def decode(content_type: str, body: bytes, fetcher: UrlFetcher, life: Lifetime, files: FileKinds = PICTURES) -> Payload:
    """Return a request's payload, which is empty where neither a body nor a content type came, as with a GET.

    life: its deadline ends a fetch, and the reading of a form. files: which the service declares.
    Raises WrongContentType for another content type, BadInput for wrong content, TooLarge for a form of too many parts.
    Raises the fetcher's errors, and while it reads a form the errors of `life.check`.
    """
    kind, taken = content_type.partition(";")[0].strip().lower(), taken_files(files)
    if not kind and not body:
        return Payload()
    if kind == "multipart/form-data":
        found = _form_payload(read_form(content_type, body, life.check), taken, taken is files)
    elif kind == "application/json":
        found = _json(body, lambda url: fetcher.fetch(url, life.deadline), taken, files)
    else:
        name = next((name for name, each in taken.items() if each.takes(kind) or kind == BYTES), None)
        if name is None:
            raise _wrong(kind, taken, files)
        if not body:
            raise BadInput(f"the body is empty: no bytes came as {kind}, for {name}")
        return Payload({name: (File(body, type=kind),)})
    if taken is files:
        _check_types(found.files, files)
    return found


def copies(kind: str, files: FileKinds | None) -> int:
    """Return how many copies of a body its decoding holds at most. kind: its content type without parameters.

    files: as `decode` takes them, None where no file is taken. A file that is the whole body is held once, as it came.
    """
    return 1 if _is_file(kind, files) else COPIES.get(kind, COPIES_OF_JSON)


def values_bytes(kind: str, body: bytes, files: FileKinds | None) -> int:
    """Return about how many bytes a body's values take, beside its copies. kind, files: as `copies` takes them."""
    return 0 if _is_file(kind, files) else json_codec.values_bytes(body)


def taken_files(files: FileKinds) -> FileKinds:
    """Return the files that are taken: those that are declared, and pictures and videos where no others are."""
    if not files:
        return OLDER
    return files if files.keys() - OLDER.keys() else {**OLDER, **files}


def _is_file(kind: str, files: FileKinds | None) -> bool:
    if files is None or kind in ("application/json", "multipart/form-data"):
        return False
    return any(each.takes(kind) for each in taken_files(files).values())


def converted(name: str, value: Any, kind: type[T]) -> T:
    """Return a client's value as a str, int, float, bool or list. Numbers may be texts, as in forms and URLs.

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


def _wrong(kind: str, taken: FileKinds, files: FileKinds) -> WrongContentType:
    name = next(iter(files), "")
    how = SEND_FILES.format(name, *EXAMPLES.get(name, ("FILE", files[name].types[0]))) if files else SEND_JSON
    if kind == "application/x-www-form-urlencoded":
        return WrongContentType(f"curl -d sends {kind} unless -H names another Content-Type: {how}")
    found = f"content type {kind[:100]!r} is not taken" if kind else "the request has no Content-Type"
    types = dict.fromkeys(each for declared in taken.values() for each in declared.types)
    others = f", multipart/form-data, {', '.join(types)} or {BYTES}" if files else " or multipart/form-data"
    return WrongContentType(f"{found}; it may be application/json{others}: {how}")


def _check_types(sent: dict[str, tuple[File, ...]], files: FileKinds) -> None:
    """Raise WrongContentType for a file that says it is of another type. Many clients say that any file is octet-stream."""
    for name, kind in files.items():
        for file in sent.get(name, ()):
            if file.type not in ("", BYTES) and not kind.takes(file.type):
                raise WrongContentType(f"{name} is of type {file.type[:100]!r}; it may be {' or '.join(kind.types)}")


def _json(body: bytes, fetch: Callable[[str], bytes], taken: FileKinds, files: FileKinds) -> Payload:
    sent = json_codec.loads(body)
    if not isinstance(sent, dict):
        such = f'such as {{"{next(iter(files))}": "..."}}' if files else "as /openapi.json shows it"
        raise BadInput(f"the body is {_type_name(sent)}; send an object, {such}")
    ids = {name: _id(name, sent.pop(name)) for name in IDS if name in sent}
    kinds = {**taken, IMAGE: ONE, IMAGES: taken[IMAGE]} if IMAGE in taken else taken
    texts = {name: text for name in kinds if (text := sent.pop(name, None)) is not None}
    alone = (IMAGE, IMAGES) if taken is files else (IMAGE, IMAGES, VIDEO)
    if len(texts) > 1 and len(found := [name for name in alone if name in texts]) > 1:
        raise BadInput(f"{' and '.join(found)} were both sent; send one of them")
    opened = {IMAGE if name == IMAGES else name: _all(name, text, kinds[name], fetch) for name, text in texts.items()}
    return Payload(opened, sent.pop("data", None), sent, ids)


def _all(name: str, text: Any, kind: FileKind, fetch: Callable[[str], bytes]) -> tuple[File, ...]:
    """Return the files of one name in JSON: of a text, or of an array where several are taken."""
    if kind.most == 1 or (isinstance(text, str) and name != IMAGES):
        return (_opened(name, text, fetch),)
    if not isinstance(text, list) or not 0 < len(text) <= kind.most:
        raise BadInput(f"{name} must be an array of 1 to {kind.most} texts, each base64 or an http(s) URL")
    return tuple(_opened(f"{name}[{at}]", each, fetch) for at, each in enumerate(text))


def _form_payload(form: Form, taken: FileKinds, strict: bool) -> Payload:
    """Return a form's payload. strict: whether each file must have a name that is declared."""
    fields: dict[str, Any] = dict(form.texts)
    parts = dict(form.files)
    if not fields and not parts:
        raise BadInput(NO_PARTS)
    ids = {name: _id(name, fields.pop(name)) for name in IDS if name in fields}
    data = _form_data(fields.pop("data", None), parts.pop("data", ()))
    for name, sent in parts.items():
        if not all(file.bytes for file in sent):
            raise BadInput(f"{name[:100]} is empty: the file has no bytes")
    others = sorted(set(parts) - set(taken))
    if not strict and len(others) == len(parts) == 1 and len(parts[others[0]]) == 1 and not set(fields) & set(taken):
        parts[IMAGE] = parts.pop(others[0])
    elif others:
        known = " or ".join((", ".join(taken), "data"))
        raise BadInput(f"the form holds files that are not known: {', '.join(others)[:200]}; name them {known}")
    texts = {name: fields.pop(name) for name in taken if name in fields}
    if texts.keys() & parts.keys() or not strict and len(texts) + len(parts) > 1:
        raise BadInput(f"the form holds more than one {' or '.join(texts.keys() & parts.keys() or taken)}; send one")
    for name, sent in parts.items():
        if len(sent) > taken[name].most:
            raise BadInput(f"the form holds {len(sent)} files named {name}; it may hold {taken[name].most}")
    return Payload(parts | {name: (_opened(name, text, _no_url),) for name, text in texts.items()}, data, fields, ids)


def _form_data(text: str | None, files: tuple[File, ...]) -> Any:
    """Return a form's data: its JSON value, or its text where it is not JSON."""
    parts = [file.bytes for file in files] + ([] if text is None else [text.encode("utf-8", "surrogatepass")])
    if not parts:
        return None
    if len(parts) > 1:
        raise BadInput("data was sent more than once, as a file or as a text; send it once")
    (part,) = parts
    try:
        return json_codec.loads(part, "data")
    except BadInput:
        try:
            return part.decode()
        except UnicodeDecodeError as error:
            raise BadInput("data is neither JSON nor text in UTF-8") from error


def _id(name: str, value: Any) -> str | int:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadInput(f"{name} is {_type_name(value)}; it may be a text or a whole number of up to 64 bits")


def _opened(name: str, text: Any, fetch: Callable[[str], bytes]) -> File:
    """Return the file that a text holds, or whose URL it is. name: of the field, in messages."""
    if not isinstance(text, str):
        raise BadInput(f"{name} is {_type_name(text)}; it may be a text: base64, or an http(s) URL")
    scheme, kind = text[:8].partition(":")[0].lower() if ":" in text[:8] else "", ""
    if scheme in ("http", "https"):
        return File(fetch(text))
    if scheme == "data":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise BadInput(f"{name} is a data: URL without base64; send data:image/jpeg;base64,...")
        kind = head[len("data:") :].partition(";")[0].strip().lower()
    found = _base64(name, text)
    if not found:
        raise BadInput(f"{name} is empty; send base64, or an http(s) URL")
    return File(found, type=kind)


def _base64(name: str, text: str) -> bytes:
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
    raise BadInput("a form cannot hold a URL; send it in JSON")


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def read_form(content_type: str, body: bytes, check: Callable[[], None]) -> Form:
    """Return a body's parts. check: called between pieces; its exception ends the reading.

    Raises BadInput for a body that is not a form and for headers over MAX_HEADERS, TooLarge over MAX_FORM_PARTS parts.
    """
    boundary = _boundary(content_type)
    decoder, parts = MultipartDecoder(boundary), _FormParts()
    for piece in _pieces(body, b"--" + boundary):
        check()
        decoder.receive_data(piece)
        parts.take(decoder)
        if decoder.state is State.EPILOGUE:
            return _form_of(parts)
    raise BadInput(NO_PARTS if decoder.state is State.PREAMBLE else "the form is cut: no last boundary ends it; send it whole")


class _FormParts:
    """The parts so far. The last one may still grow."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, File]] = []
        self._part: Field | FilePart | None = None
        self._content = io.BytesIO()

    def take(self, decoder: MultipartDecoder) -> None:
        """Take every event that the decoder can make of the bytes that it has."""
        while True:
            if decoder.state is State.PART:
                _measure(decoder.buffer)
            try:
                event = decoder.next_event()
            except ValueError as error:  # no Content-Disposition, or bytes that are not UTF-8
                raise BadInput(
                    "the headers of a part of the form are broken; they are UTF-8 and have a Content-Disposition"
                ) from error
            if isinstance(event, NeedData):
                break
            if isinstance(event, Field | FilePart):
                self._begin(event)
            elif isinstance(event, Data):
                self._content.write(event.data)
                if not event.more_data:
                    self._end()
        if decoder.state is State.PREAMBLE and len(decoder.buffer) > MAX_HEADERS:
            raise BadInput(NO_PARTS)

    def _begin(self, part: Field | FilePart) -> None:
        if part.name is None:  # although werkzeug's types say that it never is
            raise BadInput("a part of the form has no name; each says one in Content-Disposition")
        if len(self.texts) + len(self.files) == MAX_FORM_PARTS:
            raise TooLarge(f"the form has more than {MAX_FORM_PARTS} parts, the most that are taken")
        self._part, self._content = part, io.BytesIO()

    def _end(self) -> None:
        content, part = self._content.getvalue(), self._part
        kind, options = parse_options_header(part.headers.get("content-type") if part else None)
        if isinstance(part, FilePart):
            name = part.filename.replace("\\", "/").rpartition("/")[2]  # a client's folders are nobody's business
            self.files.append((part.name, File(content, name, kind.strip().lower())))
        elif part is not None:
            charset = options.get("charset", "").lower()
            self.texts.append((part.name, content.decode(charset if charset in CHARSETS else CHARSETS[0], "replace")))
        self._content = io.BytesIO()


def _pieces(body: bytes, line: bytes) -> Iterator[bytes]:
    """Yield a body in pieces. No piece ends right behind a boundary, or the decoder would add a line break to the part."""
    at = 0
    while at < len(body):
        end = at + PIECE_BYTES
        cut = body.rfind(line, max(0, end - len(line) - 3), end)
        end = end if cut < 0 else cut + len(line) + 4  # with CR LF or -- CR LF
        yield body[at:end]
        at = end


def _form_of(parts: _FormParts) -> Form:
    names = [name for name, _ in parts.texts]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"the form holds {name[:100]!r} more than once; send each text once, or a list in JSON")
    files: dict[str, tuple[File, ...]] = {}
    for name, file in parts.files:
        files[name] = (*files.get(name, ()), file)
    return Form(dict(parts.texts), files)


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "").encode("utf-8", "replace")
    if 0 < len(boundary) <= MAX_BOUNDARY:
        return boundary
    raise BadInput(f"the form's Content-Type names no boundary of 1 to {MAX_BOUNDARY} characters; let your client write it")


def _measure(buffer: bytearray) -> None:
    """Raise BadInput where the part's headers, with which the buffer begins, are too long to be read."""
    end = BLANK_LINE_RE.search(buffer, 0, MAX_HEADERS)
    if end is None and len(buffer) >= MAX_HEADERS:
        raise BadInput(f"the headers of a part of the form are longer than {MAX_HEADERS} bytes, the most that is read")
    if end is not None and buffer.count(b";", 0, end.start()) > MAX_PARAMETERS:
        raise BadInput(f"the headers of a part of the form have more than {MAX_PARAMETERS} parameters, the most that are read")
