"""A picture's format, size and orientation, and its bytes without metadata, so that no decoder reads any.

PIL's decoders read metadata in slow Python and keep all of it: a few megabytes of empty segments would take seconds and
hundreds of megabytes. Here the parts are counted, and text, colour profiles, comments and animations are left out.

Knows how JPEG, PNG, WebP, GIF and BMP files are laid out. Decodes no pixel and imports no picture library.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from serving.base.errors import BadInput, TooLarge

MOST_PICTURE_PARTS = 20_000
MOST_INFLATED = 4 * 1024 * 1024  # bytes of text and profiles; usual pictures hold a tenth of it
FORMAT_NAMES = "JPEG, PNG, WebP, GIF or BMP"

# Frame headers, tables and the restart interval; JFIF and Adobe, which say how colours are stored.
JPEG_KEPT = frozenset({*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE})
JPEG_FRAMES = JPEG_KEPT & frozenset(range(0xC0, 0xD0)) - {0xC4, 0xCC}
JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_PACKED = frozenset({b"iCCP", b"zTXt", b"iTXt"})


@dataclass(frozen=True)
class Parts:
    """A picture to be decoded, without its metadata."""

    kind: str  # JPEG, PNG, WebP, GIF or BMP
    data: bytes
    size: tuple[int, int] | None = None  # width and height in pixels, None where only the decoder can tell
    orientation: int = 1  # of EXIF, 1 to 8
    scans: int = 1  # passes of the decoder over the pixels


def cut(data: bytes) -> Parts:
    """Return a picture's parts. Raises BadInput for bytes that are no picture, TooLarge for too much metadata."""
    for magic, at, kind, walk in FORMATS:
        if data.startswith(magic, at) and (kind != "WebP" or data.startswith(b"RIFF")):
            try:
                return walk(data)
            except (struct.error, IndexError) as error:
                raise damaged(kind) from error
    if not data:
        raise BadInput("the picture is empty: no bytes were sent")
    raise BadInput(f"this is not a picture of a kind that can be read; send {FORMAT_NAMES}")


def damaged(kind: str) -> BadInput:
    """Return the error for a broken picture of a format."""
    return BadInput(f"the {kind} picture is truncated or damaged; check that the whole file was sent")


def orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block states, 1 where it states none."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for n in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * n)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _too_many(kind: str) -> TooLarge:
    return TooLarge(f"the {kind} picture has more than {MOST_PICTURE_PARTS} parts before its pixels; save it without metadata")


def _jpeg(data: bytes) -> Parts:
    kept, size, turned, frame = [b"\xff\xd8"], (0, 0), 1, 0
    for marker, at, end in _segments(data):
        if marker == 0xDA:
            kept.append(data[at:])
            return Parts("JPEG", b"".join(kept), size, turned, _scans(data, frame, at))
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size, frame = (width, height), at
        if marker in JPEG_KEPT:
            kept.append(data[at:end])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
            turned = orientation(data[at + 4 : end])
    raise damaged("JPEG")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each JPEG segment's marker, start and end."""
    at = 2
    for _ in range(MOST_PICTURE_PARTS):
        at = data.find(b"\xff", at)
        if at < 0 or data[at + 1] == 0xD9:
            return
        marker = data[at + 1]
        if marker == 0xFF or marker in JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        yield marker, at, end
        at = end
    raise _too_many("JPEG")


def _scans(data: bytes, frame: int, scan: int) -> int:
    """Return the number of scans. A sequential frame whose first scan has all its components counts as 1."""
    sequential, components = data[frame + 1] in (0xC0, 0xC1), data[frame + 9]
    return 1 if sequential and data[scan + 4] >= components else data.count(b"\xff\xda", scan)


def _png(data: bytes) -> Parts:
    kept, turned, room, at = [data[:8]], 1, MOST_INFLATED, 8
    for _ in range(MOST_PICTURE_PARTS):
        name, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if name in PNG_KEPT:
            kept.append(data[at:end])
        elif name in PNG_PACKED:
            room -= _inflated(name, data[at + 8 : end - 4], room)
        elif name == b"eXIf":
            turned = orientation(data[at + 8 : end - 4])
        if name == b"IEND" or end >= len(data):
            break
        at = end
    else:
        raise _too_many("PNG")
    return Parts("PNG", b"".join(kept), struct.unpack_from(">II", data, 16), turned)


def _inflated(name: bytes, chunk: bytes, room: int) -> int:
    """Return how many bytes a chunk's text inflates to. room: bytes, of which no more are held. Raises TooLarge over it."""
    body = chunk.partition(b"\0")[2]
    packed = body[1:]
    if name == b"iTXt":
        packed = body[2:].split(b"\0", 2)[-1] if body.startswith(b"\1") else b""
    try:
        length = len(zlib.decompressobj().decompress(packed, room + 1))
    except zlib.error:
        return 0
    if length > room:
        raise TooLarge(f"the PNG picture's text and profiles are over {MOST_INFLATED} bytes; save it without metadata")
    return length


def _webp(data: bytes) -> Parts:
    chunk = data[12:16]
    if chunk == b"VP8X":
        wide, high = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        wide, high = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        wide, high = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Parts("WebP", data, (wide, high))


def _gif(data: bytes) -> Parts:
    """Keep the screen, the first frame, and the extension that names its transparent colour."""
    wide, high, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    head, control, left = data[:at], b"", MOST_PICTURE_PARTS
    while data[at] == 0x21:
        end, left = _gif_blocks(data, at + 2, left - 1)
        if data[at + 1] == 0xF9:
            control = data[at:end]
        at = end
    if data[at] != 0x2C:
        raise damaged("GIF")
    x, y, across, down = struct.unpack_from("<HHHH", data, at + 1)
    return Parts("GIF", head + control + data[at:], (max(wide, x + across), max(high, y + down)))


def _gif_blocks(data: bytes, at: int, left: int) -> tuple[int, int]:
    """Return the position after a run of blocks, and how many further parts are allowed. left: allowed before the run."""
    while left >= 0:
        if not data[at]:
            return at + 1, left
        at, left = at + 1 + data[at], left - 1
    raise _too_many("GIF")


def _bmp(data: bytes) -> Parts:
    size, compression = struct.unpack_from("<I", data, 14)[0], 0
    if size >= 40:
        (compression,) = struct.unpack_from("<I", data, 30)
    if compression in (1, 2):
        raise BadInput("run-length encoded BMP pictures cannot be read; save it as PNG")
    return Parts("BMP", data)


FORMATS: tuple[tuple[bytes, int, str, Callable[[bytes], Parts]], ...] = (
    (b"\xff\xd8\xff", 0, "JPEG", _jpeg),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG", _png),
    (b"WEBP", 8, "WebP", _webp),
    (b"GIF87a", 0, "GIF", _gif),
    (b"GIF89a", 0, "GIF", _gif),
    (b"BM", 0, "BMP", _bmp),
)
