"""Request bodies, made of files, JSON texts and forms.

Knows content types and files. Does not know where bodies go, or how often.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from serving.inputs.files import content_type

PICTURE = "image/"
BOUNDARY = "monopod-bench-the-next-part-follows"


class BenchError(Exception):
    """The command cannot be carried out. The text says why, and names the cure."""


@dataclass(frozen=True)
class Body:
    """The body of one request, whole in memory, so that sending it reads no disk.

    pieces: its bytes, cut after the end of each picture.
    """

    pieces: tuple[bytes, ...]
    content_type: str

    @cached_property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    def varied(self, mark: bytes) -> bytes:
        """Return the content with a mark behind each picture. Decoders skip it, and to a cache each mark is a new file."""
        return mark.join(self.pieces)


def bodies(files: Sequence[Path], texts: Sequence[str], fields: Sequence[str]) -> list[Body]:
    """Return a body for each file, then for each text, then one for all of a form's fields.

    texts: JSON, or @FILE that holds JSON. fields: NAME=TEXT or NAME=@FILE. Raises BenchError and OSError.
    """
    found = []
    for path in files:
        kind = content_type(path)
        end = (b"",) if kind.startswith(PICTURE) else ()
        found.append(Body((_content(path), *end), kind))
    found += [Body((_json(text),), "application/json") for text in texts]
    return found + ([form(fields)] if fields else [])


def form(fields: Sequence[str]) -> Body:
    """Return a multipart body (RFC 7578). fields: NAME=TEXT or NAME=@FILE, a part each. Raises BenchError, OSError."""
    parts = [_part(field) for field in fields]
    boundary = BOUNDARY
    while any(boundary.encode() in content for _, _, content in parts):
        boundary += "-"
    pieces, line = [b""], b"--" + boundary.encode()
    for head, kind, content in parts:
        pieces[-1] += line + b"\r\n" + head.encode() + b"\r\n\r\n" + content
        if kind.startswith(PICTURE):
            pieces.append(b"")
        pieces[-1] += b"\r\n"
    pieces[-1] += line + b"--\r\n"
    return Body(tuple(pieces), f"multipart/form-data; boundary={boundary}")


def _part(field: str) -> tuple[str, str, bytes]:
    """Return a part's headers, its content type ("" for text), and its content."""
    name, equals, value = field.partition("=")
    if not name or not equals or '"' in name:
        raise BenchError(f"--form {field!r}: write NAME=TEXT or NAME=@FILE, such as image=@picture.jpg")
    head = f'Content-Disposition: form-data; name="{name}"'
    if not value.startswith("@"):
        return head, "", value.encode()
    path = Path(value[1:])
    kind, file = content_type(path), path.name.replace('"', "%22")
    return f'{head}; filename="{file}"\r\nContent-Type: {kind}', kind, _content(path)


def _json(text: str) -> bytes:
    content = _content(Path(text[1:])) if text.startswith("@") else text.encode()
    try:
        json.loads(content)
    except ValueError as error:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise BenchError(f'--data {shown!r} is not JSON: {error}; write it as \'{{"question": "..."}}\' or @FILE') from None
    return content


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content:
        raise BenchError(f"{path}: is empty; name a file that holds something")
    return content
