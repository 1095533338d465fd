"""Encoded pictures to RGB pixels.

A picture's size is checked before a pixel is decoded. Metadata never reaches the decoder. Every failure is a client error that
says what to change. The one module that imports PIL. Does not know requests, models or arrays.
"""

from io import BytesIO

from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from serving.base.errors import BadInput, ServingError, TooLarge
from serving.base.working_memory import WorkingMemory
from serving.inputs import picture_parts
from serving.inputs.picture_parts import Parts

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
KEPT_BYTES = 7  # a pixel of a decoded picture: 4 of PIL, and 3 of the array made from it
MOST_SCANS = 20  # of max_pixels; a progressive JPEG has about 10, each over all pixels


def decode(
    data: bytes, max_pixels: int, at_least: tuple[int, int] | None = None, memory: WorkingMemory | None = None
) -> Image.Image:
    """Return a picture as RGB, turned as its EXIF says, with all pixels loaded. Safe on any thread.

    Transparent pixels become white, 16-bit grey keeps its high byte, and an animation gives its first frame.
    at_least: a sufficient width and height in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, which is
    faster, but never below at_least. Other formats are decoded at full size.
    memory: counts the bytes of the decoding, and then of the picture as long as it lives.
    Raises BadInput for bytes that are no picture or a broken one, TooLarge over max_pixels, and the errors of memory.
    """
    parts = picture_parts.cut(data)
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
        raise picture_parts.damaged(parts.kind) from error


def size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return the width and height in pixels that `decode` would give, from the picture's header. Raises as `decode` does."""
    parts = picture_parts.cut(data)
    try:
        picture, turn = _open(parts, max_pixels)
    except ServingError:
        raise
    except Exception as error:
        raise picture_parts.damaged(parts.kind) from error
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
    picture = DECODERS[parts.kind](BytesIO(parts.data))
    _check(picture.size, parts.scans, max_pixels)
    turn = picture_parts.orientation(picture.info.get("exif", b"")) if parts.kind == "WebP" else parts.orientation
    return picture, turn


def _check(size: tuple[int, int], scans: int, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadInput(f"the picture has no pixels: it is {width} x {height}")
    if width * height > max_pixels:
        raise TooLarge(f"the picture is {width} x {height} pixels, over the limit of {max_pixels}; send a smaller one")
    if scans * width * height > MOST_SCANS * max_pixels:
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
