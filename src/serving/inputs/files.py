"""The files of a request: those that a class or a route declares, and each one as it was sent."""

import builtins
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

IMAGE, IMAGES, VIDEO = "image", "images", "video"
BYTES = "application/octet-stream"
MAX_PICTURES = 16  # of one request
RESERVED = ("data", IMAGES, "postid", "uid", "seqid")  # names that mean something else in a body
NAME, TYPE = re.compile(r"[\w.-]+"), re.compile(r"\*/\*|[a-z]+/(\*|[a-z0-9.+-]+)")
# Types that Python's own table lacks, or takes from a file of the machine.
TYPES = {
    ".avi": "video/x-msvideo",
    ".bmp": "image/bmp",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
}

Declared = Mapping[str, str | tuple[str, int]]  # name -> content types, and how many files where it is more than one


@dataclass(frozen=True)
class File:
    """A file as a client sent it.

    bytes: its content, which is never empty. name: of the file, without folders. type: its content type without parameters.
    Each text is "" where the client did not say it.
    """

    bytes: builtins.bytes = field(repr=False)
    name: str = ""
    type: str = ""


class FileKind(NamedTuple):
    """The files that are taken under a name. types: content types such as "audio/*". most: of one request."""

    types: tuple[str, ...]
    most: int = 1

    def takes(self, type: str) -> bool:
        """Return whether a content type is one of these. An "x-" in it means nothing: audio/x-wav is audio/wav (RFC 6648)."""
        sent = type.replace("/x-", "/")
        admitting = {sent, sent.partition("/")[0] + "/*", "*/*"}
        return "/" in sent and any(each.replace("/x-", "/") in admitting for each in self.types)


FileKinds = Mapping[str, FileKind]
PICTURES: FileKinds = {IMAGE: FileKind(("image/*",), MAX_PICTURES)}
VIDEOS: FileKinds = {VIDEO: FileKind(("video/*",))}


def file_kinds(declared: Declared, pictures: int = 0, videos: bool = False) -> FileKinds:
    """Return which files are taken under each name. pictures, videos: whether they are taken, as "image" and "video".

    Raises ValueError for a name or a type that cannot be declared.
    """
    found = {**(PICTURES if pictures else {}), **(VIDEOS if videos else {})}
    for name, said in declared.items():
        types, most = (said, 1) if isinstance(said, str) else said
        kind = FileKind(tuple(each.strip().lower() for each in types.split(",")), most)
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"files names {name!r}; it must be a word other than {', '.join(RESERVED)}")
        if type(most) is not int or most < 1 or not all(map(TYPE.fullmatch, kind.types)):
            raise ValueError(f"files says {said!r} for {name!r}; write 'audio/*', 'audio/wav, audio/flac' or ('image/*', 5)")
        found[name] = kind
    return found


def content_type(path: PurePath) -> str:
    """Return the content type of a file by its suffix, such as image/png; BYTES where it is unknown."""
    return TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or BYTES
