"""Encoded pictures to RGB pixels, and these to a model's input. The one module that imports PIL.

A picture's size is checked before a pixel is decoded. Every failure is a client error that says what to change.

No decoder sees metadata. PIL's decoders read it in slow Python and keep all of it: a few megabytes of empty segments would take
seconds and hundreds of megabytes. Here the parts are counted, and text, colour profiles, comments and animations are left out.
"""

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from serving.base.errors import BadInput, ServingError, TooLarge
from serving.base.process import WorkingMemory
from serving.models.tensors import Array

MAX_PICTURE_PARTS = 20_000
MAX_INFLATED = 4 * 1024 * 1024  # bytes of text and profiles; usual pictures hold a tenth of it
FORMAT_NAMES = "JPEG, PNG, WebP, GIF or BMP"

# Frame headers, tables and the restart interval; JFIF and Adobe, which say how colours are stored.
JPEG_KEPT = frozenset({*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE})
JPEG_FRAMES = JPEG_KEPT & frozenset(range(0xC0, 0xD0)) - {0xC4, 0xCC}
SEGMENT = struct.Struct(">BH").unpack_from  # a marker without its FF, and its length
JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_PACKED = frozenset({b"iCCP", b"zTXt", b"iTXt"})


# Image.open is not used: it tries further formats, warns at a size limit of its own, and reads metadata.
DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DTYPES = tuple(np.dtype(name) for name in ("float16", "float32", "float64", "uint8"))  # of a row of a model's input
KEPT_BYTES = 7  # a pixel of a decoded picture: 4 of PIL, and 3 of the array made from it
MAX_SCANS = 20  # of max_pixels; a progressive JPEG has about 10, each over all pixels


class Parts(NamedTuple):
    """A picture to be decoded, without its metadata."""

    kind: str  # JPEG, PNG, WebP, GIF or BMP
    data: bytes
    size: tuple[int, int] | None = None  # width and height in pixels, None where only the decoder can tell
    orientation: int = 1  # of EXIF, 1 to 8
    scans: int = 1  # passes of the decoder over the pixels
    usual: bool = False  # whether it is a JPEG of three colours of 8 bits that is baseline or progressive


class UsualJpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG whose header `_jpeg` has read. PIL would read it again in Python, in a tenth of a small picture's time."""

    def __init__(self, parts: Parts):
        self._read = parts.size or (0, 0)
        super().__init__(BytesIO(parts.data))
        self.decodermaxblock = len(parts.data)  # one step of the decoder, which takes the interpreter's lock once

    def _open(self) -> None:
        self._size, self._mode, self.layers, self.layer = self._read, "RGB", 3, []
        self.tile = [ImageFile._Tile("jpeg", (0, 0, *self._read), 0, ("RGB", ""))]


def _parts(data: bytes) -> Parts:
    """Return a picture without its metadata. Raises BadInput for other bytes, TooLarge for too much metadata."""
    for magic, at, kind, walk in FORMATS:
        if data.startswith(magic, at) and (kind != "WebP" or data.startswith(b"RIFF")):
            try:
                return walk(data)
            except (struct.error, IndexError, ValueError) as error:
                raise _damaged(kind) from error
    if not data:
        raise BadInput("the picture is empty: no bytes were sent")
    raise BadInput(f"this is not a picture of a kind that can be read; send {FORMAT_NAMES}")


def _damaged(kind: str) -> BadInput:
    return BadInput(f"the {kind} picture is truncated or damaged; check that the whole file was sent")


def _orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block states, or else 1."""
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
    return TooLarge(f"the {kind} picture has more than {MAX_PICTURE_PARTS} parts before its pixels; save it without metadata")


def _jpeg(data: bytes) -> Parts:
    kept, begin, at, size, turned, frame, usual = list[bytes](), 0, 2, (0, 0), 1, 0, True
    for _ in range(MAX_PICTURE_PARTS):
        if data[at] != 0xFF:  # no marker
            kept.append(data[begin:at])
            at = begin = data.index(b"\xff", at)
        marker, length = SEGMENT(data, at + 1)
        end = at + (1 if marker == 0xFF else 2 if marker in JPEG_BARE else 2 + max(2, length))
        if marker == 0xDA:
            usual = usual and data[frame + 1] < 0xC3 and data[frame + 4] == 8 and data[frame + 9] == 3
            kept.append(data[begin:])
            return Parts("JPEG", b"".join(kept), size, turned, _scans(data, frame, at), usual)
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            size, frame = (width, height), at
        elif marker not in JPEG_KEPT:
            kept.append(data[begin:at])
            begin = end
            if marker == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
                turned = _orientation(data[at + 4 : end])
            elif marker == 0xD9:
                raise _damaged("JPEG")
        elif marker >= 0xE0:
            usual = usual and length >= 14
        at = end
    raise _too_many("JPEG")


def _scans(data: bytes, frame: int, scan: int) -> int:
    """Return the number of scans. A sequential frame whose first scan has all its components counts as 1."""
    sequential, components = data[frame + 1] in (0xC0, 0xC1), data[frame + 9]
    return 1 if sequential and data[scan + 4] >= components else data.count(b"\xff\xda", scan)


def _png(data: bytes) -> Parts:
    kept, turned, room, at = [data[:8]], 1, MAX_INFLATED, 8
    for _ in range(MAX_PICTURE_PARTS):
        name, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if name in PNG_KEPT:
            kept.append(data[at:end])
        elif name in PNG_PACKED:
            room -= _inflated(name, data[at + 8 : end - 4], room)
        elif name == b"eXIf":
            turned = _orientation(data[at + 8 : end - 4])
        if name == b"IEND" or end >= len(data):
            break
        at = end
    else:
        raise _too_many("PNG")
    return Parts("PNG", b"".join(kept), struct.unpack_from(">II", data, 16), turned)


def _inflated(name: bytes, chunk: bytes, room: int) -> int:
    """Return how many bytes a chunk's text inflates to. Raises TooLarge for more than `room` bytes."""
    body = chunk.partition(b"\0")[2]
    packed = body[1:]
    if name == b"iTXt":
        packed = body[2:].split(b"\0", 2)[-1] if body.startswith(b"\1") else b""
    try:
        length = len(zlib.decompressobj().decompress(packed, room + 1))
    except zlib.error:
        return 0
    if length > room:
        raise TooLarge(f"the PNG picture's text and profiles are over {MAX_INFLATED} bytes; save it without metadata")
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
    head, control, left = data[:at], b"", MAX_PICTURE_PARTS
    while data[at] == 0x21:
        end, left = _gif_blocks(data, at + 2, left - 1)
        if data[at + 1] == 0xF9:
            control = data[at:end]
        at = end
    if data[at] != 0x2C:
        raise _damaged("GIF")
    x, y, across, down = struct.unpack_from("<HHHH", data, at + 1)
    return Parts("GIF", head + control + data[at:], (max(wide, x + across), max(high, y + down)))


def _gif_blocks(data: bytes, at: int, left: int) -> tuple[int, int]:
    """Return the position after a run of blocks, and how many of `left` parts are still allowed."""
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


def decode(
    data: bytes, max_pixels: int, at_least: tuple[int, int] | None = None, memory: WorkingMemory | None = None
) -> Image.Image:
    """Return a picture as RGB, turned as its EXIF says, with all pixels loaded. Safe on any thread.

    Transparent pixels become white, 16-bit grey keeps its high byte, and an animation gives its first frame.
    at_least: a sufficient width and height in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, which is
    faster, but never below at_least. Other formats are decoded at full size.
    memory: counts the bytes of the decoding, and then of the picture as long as it lives.
    Raises BadInput for bytes that are not a picture or a broken one, TooLarge over max_pixels, and the errors of memory.
    """
    parts = _parts(data)
    try:
        picture, turn = _open(parts, max_pixels)
        if at_least is not None and parts.kind == "JPEG":
            wide, high = at_least if turn < 5 else at_least[::-1]
            picture.draft(None, (max(1, wide), max(1, high)))
        pixels = picture.width * picture.height
        needed = pixels * _bytes_a_pixel(picture, parts, turn) + len(parts.data)
        taken = memory.reserve(needed, f"a picture of {picture.width} x {picture.height} pixels") if memory else 0
        try:
            picture = _decoded(picture, turn)
            kept = min(taken, pixels * KEPT_BYTES)
            if memory:
                memory.release_with(picture, kept)
                taken -= kept
            return picture
        finally:
            if memory:
                memory.release(taken)
    except ServingError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise TooLarge("the picture needs more memory than there is for one; send a smaller one") from error
    except Exception as error:  # decoders raise anything at all for broken bytes
        raise _damaged(parts.kind) from error


def size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return the width and height in pixels that `decode` would give, from the picture's header. Raises as `decode` does."""
    parts = _parts(data)
    try:
        picture, turn = _open(parts, max_pixels)
    except ServingError:
        raise
    except Exception as error:
        raise _damaged(parts.kind) from error
    width, height = picture.size
    return (width, height) if turn < 5 else (height, width)


def _decoded(picture: Image.Image, turn: int) -> Image.Image:
    picture.load()
    picture = _rgb(picture)
    return picture.transpose(TURNS[turn]) if turn in TURNS else picture


def _bytes_a_pixel(picture: Image.Image, parts: Parts, turn: int) -> int:
    """Return the most bytes that decoding takes for each pixel, up to the RGB picture.

    PIL holds a pixel of one channel in one byte, and a pixel of several channels in four. For a progressive JPEG, libjpeg
    holds all coefficients, two bytes each. For a WebP picture, libwebp holds two canvases and returns a copy.
    """
    clear = picture.has_transparency_data
    decoded = {"1": 1, "L": 1, "P": 1}.get(picture.mode, 4)
    converted = 12 if picture.mode.startswith("I") else 4 * (picture.mode != "RGB" or clear)
    aside = 8 if parts.scans > 1 else 12 if parts.kind == "WebP" else 0
    return decoded + converted + 5 * clear + 4 * (turn in TURNS) + aside


def _open(parts: Parts, max_pixels: int) -> tuple[Image.Image, int]:
    """Return a picture of a checked size, with no pixel decoded yet, and its EXIF orientation, 1 to 8."""
    if parts.kind in ("WebP", "GIF") and Image.MAX_IMAGE_PIXELS:
        max_pixels = min(max_pixels, Image.MAX_IMAGE_PIXELS)  # PIL applies its own limit to these two in any case
    if parts.size:
        _check(parts.size, parts.scans, max_pixels)
    picture = UsualJpeg(parts) if parts.usual else DECODERS[parts.kind](BytesIO(parts.data))
    _check(picture.size, parts.scans, max_pixels)
    turn = _orientation(picture.info.get("exif", b"")) if parts.kind == "WebP" else parts.orientation
    return picture, turn


def _check(size: tuple[int, int], scans: int, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadInput(f"the picture has no pixels: it is {width} x {height}")
    if width * height > max_pixels:
        raise TooLarge(f"the picture is {width} x {height} pixels, over the limit of {max_pixels}; send a smaller one")
    if scans * width * height > MAX_SCANS * max_pixels:
        raise TooLarge(f"the JPEG picture has {scans} scans of its {width} x {height} pixels; save it as a plain JPEG")


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


class Form(NamedTuple):
    """How an RGB picture becomes a row of a model's input. Made by `form`, which checks it."""

    size: tuple[int, int]  # width and height in pixels
    layout: str
    crop: float
    stretch: bool
    dtype: Any
    floats: np.dtype[Any]  # in which the values are computed
    mean: Array | None  # as the layout needs it, None where there is nothing to do; so is std
    std: Array | None


@lru_cache(maxsize=64)
def form(
    size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...], dtype: Any, layout: str, crop: float, stretch: bool
) -> Form:
    """Return a checked form. mean, std: one number or three. Raises ValueError as `Request.pixels` describes."""
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"size is {size}; it must be a width and a height in pixels")
    if layout not in ("NCHW", "NHWC") or not 0 < crop <= 1:
        raise ValueError(f"layout is {layout!r} and crop is {crop}; they must be 'NCHW' or 'NHWC', and above 0 up to 1")
    if not {len(mean), len(std)} <= {1, 3} or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError(f"mean is {mean} and std is {std}; each must be one number or three, and std above 0")
    plain = {*mean} == {0} and {*std} == {1}
    if dtype not in DTYPES or (np.dtype(dtype) == np.uint8 and not plain):
        raise ValueError(f"dtype is {dtype}; it must be {', '.join(map(str, DTYPES))}, the last without mean and std")
    floats = np.dtype(dtype) if plain else np.promote_types(dtype, np.float32)

    def shaped(each: tuple[float, ...]) -> Array:
        three = np.resize(np.array(each, floats), 3)
        return three.reshape(3, 1, 1) if layout == "NCHW" else np.tile(three, size[0])

    shift, divisor = shaped(mean) if {*mean} != {0} else None, shaped(std) if {*std} != {1} else None
    return Form(size, layout, crop, stretch, dtype, floats, shift, divisor)


def pixels(picture: Image.Image, form: Form) -> Array:
    """Return an RGB picture as one row in a form, in C order. Safe on any thread. Raises ValueError for another mode.

    The values are `(np.asarray(resized, np.float32) - mean) / std`. PIL's resizing and numpy's steps over all pixels leave the
    interpreter's lock to other threads, so the steps are few and large.
    """
    if picture.mode != "RGB":
        raise ValueError(f"the picture is {picture.mode}; convert it to RGB")
    (width, height), (wide, high) = form.size, picture.size
    scale = min(wide / width, high / height)
    across, down = picture.size if form.stretch else (width * scale, height * scale)
    x, y = max(0.0, (wide - across * form.crop) / 2), max(0.0, (high - down * form.crop) / 2)
    small = picture.resize(form.size, Image.Resampling.BILINEAR, (x, y, wide - x, high - y))
    if form.layout == "NCHW":  # PIL holds RGB as RGBX, and copies that fastest; the copy holds the lock
        shape = (1, 3, height, width)
        colours = np.frombuffer(small.tobytes("raw", "RGBX"), np.uint8).reshape(height, width, 4)[..., :3].transpose(2, 0, 1)
    else:  # as whole lines, since loops over three channels take numpy five times as long
        shape = (1, height, width, 3)
        colours = np.frombuffer(small.tobytes(), np.uint8).reshape(height, width * 3)
    found = colours.astype(form.floats, order="C")
    if form.mean is not None:
        found -= form.mean
    if form.std is not None:
        found /= form.std
    return found.astype(form.dtype, copy=False).reshape(shape)
