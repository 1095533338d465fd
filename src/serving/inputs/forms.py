"""Forms (multipart/form-data, RFC 7578): a body's bytes to its parts. The one module that knows werkzeug's decoder.

Knows boundaries, parts and their headers, and the limits of both. Does not know what a part means.

The decoder gets one piece at a time. Between two pieces the request's deadline is checked, and other threads can run. A part's
headers are measured before the decoder reads them, since it would turn 16 MiB of headers into 1.5 GiB. The parts are held in
memory beside the body, which takes twice the body's bytes in all.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import BLANK_LINE_RE, Data, Field, File, MultipartDecoder, NeedData, State

from serving.base.errors import BadInput, TooLarge
from serving.inputs.files import File as SentFile

PIECE_BYTES = 64 * 2**10  # that the decoder reads at once, in about a millisecond
MOST_FORM_PARTS = 100
LONGEST_HEADERS = 8 * 2**10  # bytes of one part's headers, and of the text before the first part
MOST_PARAMETERS = 32  # in one part's headers
LONGEST_BOUNDARY = 70  # characters; source: RFC 2046, 5.1.1
CHARSETS = ("utf-8", "us-ascii", "ascii", "iso-8859-1")  # that a text may be written in
NO_PARTS = "the form has no parts, or its boundary is not the one its Content-Type names; -F name=value sends one"


@dataclass(frozen=True)
class Form:
    """A form's parts by their names. A file may be empty here."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[SentFile, ...]] = field(default_factory=dict)


def read(content_type: str, body: bytes, check: Callable[[], None]) -> Form:
    """Return a body's parts. check: called between pieces; its exception ends the reading.

    Raises BadInput for a body that is no form and for headers over LONGEST_HEADERS, TooLarge over MOST_FORM_PARTS parts.
    """
    boundary = _boundary(content_type)
    decoder, parts = MultipartDecoder(boundary), _Parts()
    for piece in _pieces(body, b"--" + boundary):
        check()
        decoder.receive_data(piece)
        parts.take(decoder)
        if decoder.state is State.EPILOGUE:
            return _form(parts)
    raise BadInput(NO_PARTS if decoder.state is State.PREAMBLE else "the form is cut: no last boundary ends it; send it whole")


class _Parts:
    """The parts so far. The last one may still grow."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, SentFile]] = []
        self._part: Field | File | None = None
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
            if isinstance(event, Field | File):
                self._begin(event)
            elif isinstance(event, Data):
                self._content.write(event.data)
                if not event.more_data:
                    self._end()
        if decoder.state is State.PREAMBLE and len(decoder.buffer) > LONGEST_HEADERS:
            raise BadInput(NO_PARTS)

    def _begin(self, part: Field | File) -> None:
        if part.name is None:  # although werkzeug's types say that it never is
            raise BadInput("a part of the form has no name; each says one in Content-Disposition")
        if len(self.texts) + len(self.files) == MOST_FORM_PARTS:
            raise TooLarge(f"the form has more than {MOST_FORM_PARTS} parts, the most that are taken")
        self._part, self._content = part, io.BytesIO()

    def _end(self) -> None:
        content, part = self._content.getvalue(), self._part
        kind, options = parse_options_header(part.headers.get("content-type") if part else None)
        if isinstance(part, File):
            name = part.filename.replace("\\", "/").rpartition("/")[2]  # a client's folders are nobody's business
            self.files.append((part.name, SentFile(content, name, kind.strip().lower())))
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


def _form(parts: _Parts) -> Form:
    names = [name for name, _ in parts.texts]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"the form holds {name[:100]!r} more than once; send each text once, or a list in JSON")
    files: dict[str, tuple[SentFile, ...]] = {}
    for name, file in parts.files:
        files[name] = (*files.get(name, ()), file)
    return Form(dict(parts.texts), files)


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "").encode("utf-8", "replace")
    if 0 < len(boundary) <= LONGEST_BOUNDARY:
        return boundary
    raise BadInput(f"the form's Content-Type names no boundary of 1 to {LONGEST_BOUNDARY} characters; let your client write it")


def _measure(buffer: bytearray) -> None:
    """Raise BadInput where the part's headers, with which the buffer begins, are too long to be read."""
    end = BLANK_LINE_RE.search(buffer, 0, LONGEST_HEADERS)
    if end is None and len(buffer) >= LONGEST_HEADERS:
        raise BadInput(f"the headers of a part of the form are longer than {LONGEST_HEADERS} bytes, the most that is read")
    if end is not None and buffer.count(b";", 0, end.start()) > MOST_PARAMETERS:
        raise BadInput(f"the headers of a part of the form have more than {MOST_PARAMETERS} parameters, the most that are read")
