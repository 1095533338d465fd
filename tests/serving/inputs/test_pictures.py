"""Pictures become RGB pixels, and no bytes do harm."""

import pickle
import random
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from serving.base.errors import BadInput, TooLarge
from serving.base.process import resident_bytes
from serving.inputs import pictures

Box = tuple[float, float, float, float]
PICTURES = Path(__file__).parents[3] / "examples" / "images"
COFFEE = (PICTURES / "coffee.jpg").read_bytes()
LIMIT = 50_000_000


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def small(mode: str = "RGB") -> Image.Image:
    with Image.open(PICTURES / "chelsea.jpg") as cat:
        return cat.resize((60, 40)).convert(mode)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes) -> bytes:
    """Return a small PNG with chunks inserted behind its header."""
    plain = encoded(small(), "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


SAMPLES = {
    "jpeg": encoded(small(), "JPEG"),
    "progressive": encoded(small(), "JPEG", progressive=True),
    "png": encoded(small(), "PNG"),
    "palette png": encoded(small("P"), "PNG"),
    "webp": encoded(small(), "WEBP"),
    "lossless webp": encoded(small("RGBA"), "WEBP", lossless=True),
    "animated webp": encoded(small(), "WEBP", save_all=True, append_images=[small().rotate(90)], duration=50),
    "gif": encoded(small("P"), "GIF", comment=b"a cat"),
    "bmp": encoded(small(), "BMP"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_of_picture_becomes_rgb_of_its_size(name: str) -> None:
    picture = pictures.decode(SAMPLES[name], LIMIT)
    assert (picture.mode, picture.size) == ("RGB", (60, 40))
    # The same cat, within the losses of compression and palettes.
    ours, theirs = picture.resize((3, 2)).tobytes(), small().resize((3, 2)).tobytes()
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 25


def test_a_photo_decodes_to_the_very_pixels_pil_gives() -> None:
    with Image.open(BytesIO(COFFEE)) as theirs:
        assert pictures.decode(COFFEE, LIMIT).tobytes() == theirs.convert("RGB").tobytes()


def test_a_photo_may_go_to_another_process_and_keeps_no_bytes_of_its_file() -> None:
    sent = bytes(bytearray(COFFEE))
    picture = pictures.decode(sent, LIMIT)
    assert sys.getrefcount(sent) == 2, "this name, and the call's argument"
    assert pickle.loads(pickle.dumps(picture)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("marker", [b"\xff", b"junk", b"\xff\x01", b"\xff\xd0", b"\xff\xe0\0\4ab", b"\xff\xee\0\2"])
@pytest.mark.parametrize("name", ["jpeg", "progressive"])
def test_a_jpeg_with_fill_bytes_junk_and_markers_that_say_nothing_is_the_same_picture(name: str, marker: bytes) -> None:
    plain = SAMPLES[name]
    for at in (plain.index(each) for each in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda")):
        assert pictures.decode(plain[:at] + marker + plain[at:], LIMIT).tobytes() == pictures.decode(plain, LIMIT).tobytes()


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "RGB"])
def test_a_jpeg_of_any_colours_becomes_rgb(mode: str) -> None:
    assert pictures.decode(encoded(small(mode), "JPEG"), LIMIT).mode == "RGB"


CLEAR = Image.new("RGBA", (4, 4), (200, 0, 0, 0))


@pytest.mark.parametrize(
    "data",
    [
        encoded(CLEAR, "PNG"),
        encoded(CLEAR.convert("LA"), "PNG"),
        encoded(CLEAR.quantize(4), "PNG"),
        encoded(Image.new("P", (4, 4), 0), "PNG", transparency=0),
        encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7),
        encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        encoded(CLEAR, "WEBP", lossless=True),
        encoded(CLEAR, "GIF"),
        encoded(Image.new("P", (4, 4), 1), "GIF", transparency=1),
    ],
    ids=["rgba", "grey alpha", "palette alpha", "palette colour", "grey colour", "rgb colour", "webp", "gif", "gif colour"],
)
def test_transparent_parts_show_white(data: bytes) -> None:
    assert pictures.decode(data, LIMIT).getpixel((1, 1)) == (255, 255, 255)


def test_half_transparent_colours_are_mixed_with_white() -> None:
    half = encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG")
    assert pictures.decode(half, LIMIT).getpixel((0, 0)) == (127, 127, 127)


def test_16_bit_grey_keeps_its_high_byte() -> None:
    grey = Image.new("I;16", (4, 1))
    for x, value in enumerate((0, 255, 32768, 65535)):
        grey.putpixel((x, 0), value)
    picture = pictures.decode(encoded(grey, "PNG"), LIMIT)
    assert [picture.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 0, 128, 255)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(small(), kind, exif=exif.tobytes())
    with Image.open(BytesIO(data)) as plain:
        expected = ImageOps.exif_transpose(plain).convert("RGB")
    picture = pictures.decode(data, LIMIT)
    assert picture.size == ((40, 60) if turn > 4 else (60, 40))
    assert picture.tobytes() == expected.tobytes()


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\1\0"])
def test_broken_exif_is_no_reason_to_refuse_a_picture(exif: bytes) -> None:
    assert pictures.decode(encoded(small(), "JPEG", exif=b"Exif\0\0" + exif), LIMIT).size == (60, 40)


def test_an_orientation_that_does_not_exist_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert pictures.decode(encoded(small(), "JPEG", exif=exif.tobytes()), LIMIT).size == (60, 40)


@pytest.mark.parametrize(
    ("at_least", "size"), [((150, 100), (150, 100)), ((151, 100), (300, 200)), ((1, 1), (75, 50)), ((0, 0), (75, 50))]
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_will_do(at_least: tuple[int, int], size: tuple[int, int]) -> None:
    assert pictures.decode(COFFEE, LIMIT, at_least).size == size


def test_a_picture_smaller_than_what_will_do_comes_whole() -> None:
    assert pictures.decode(COFFEE, LIMIT, (5000, 5000)).size == (600, 400)


def test_a_reduced_scale_minds_that_the_picture_will_be_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(BytesIO(COFFEE)) as photo:
        tall = encoded(photo, "JPEG", exif=exif.tobytes())
    assert pictures.decode(tall, LIMIT, (100, 150)).size == (100, 150)
    assert pictures.decode(tall, LIMIT, (150, 100)).size == (200, 300)


def test_the_first_frame_of_an_animation_is_taken_however_many_there_are() -> None:
    frames = [Image.new("RGB", (8, 8), (n % 256, 0, 0)).quantize(4) for n in range(500)]
    gif = encoded(Image.new("RGB", (8, 8), (0, 0, 255)).quantize(4), "GIF", save_all=True, append_images=frames)
    start = time.process_time()
    assert pictures.decode(gif, LIMIT).getpixel((0, 0)) == (0, 0, 255)
    assert time.process_time() - start < 0.2


def test_an_animated_png_shows_its_picture() -> None:
    blue, red = Image.new("RGB", (8, 8), (0, 0, 255)), Image.new("RGB", (8, 8), (255, 0, 0))
    animated = encoded(blue, "PNG", save_all=True, append_images=[red, blue])
    assert pictures.decode(animated, LIMIT).getpixel((0, 0)) == (0, 0, 255)
    assert pictures.decode(png_with(png_chunk(b"acTL", b"\0" * 8)), LIMIT).size == (60, 40)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_picture_at_the_limit_passes_and_one_over_it_is_too_large(name: str) -> None:
    assert pictures.decode(SAMPLES[name], 2400).size == (60, 40)
    with pytest.raises(TooLarge, match="60 x 40 pixels, over the limit of 2399"):
        pictures.decode(SAMPLES[name], 2399)


def huge(name: str) -> bytes:
    """Return a few bytes that claim to be a huge picture."""
    data = SAMPLES[name]
    at, sides = {
        "png": (16, struct.pack(">II", 60_000, 60_000)),
        "jpeg": (data.find(b"\xff\xc0") + 5, struct.pack(">HH", 65_500, 65_500)),
        "gif": (6, struct.pack("<HH", 65_535, 65_535)),
        "bmp": (18, struct.pack("<ii", 65_000, 65_000)),
        "lossless webp": (21, struct.pack("<I", 0x0FFFFFFF)),
        "animated webp": (24, b"\xff\x3f\0" * 2),
        "webp": (26, b"\xff\x3f" * 2),
    }[name]
    return data[:at] + sides + data[at + len(sides) :]


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "bmp", "webp", "lossless webp", "animated webp"])
def test_a_picture_of_too_many_pixels_is_refused_before_memory_is_taken(name: str) -> None:
    before, start = resident_bytes(), time.process_time()
    with pytest.raises(TooLarge, match="over the limit"):
        pictures.decode(huge(name), LIMIT)
    assert time.process_time() - start < 0.5
    assert resident_bytes() - before < 50_000_000


def test_a_gif_frame_larger_than_its_screen_is_refused() -> None:
    gif = SAMPLES["gif"]
    at = gif.index(b",\0\0\0\0" + struct.pack("<HH", 60, 40))
    control = b"!\xf9\4\x08\0\0\0\0"
    with pytest.raises(TooLarge, match="131070 x 131070"):
        pictures.decode(gif[:at] + control + b"," + struct.pack("<HHHH", *[65_535] * 4) + gif[at + 9 :], LIMIT)


def test_limits_above_pils_own_hold_for_large_pictures() -> None:
    wide = encoded(Image.new("L", (20_000, 10_000)), "PNG")
    assert pictures.decode(wide, 200_000_000).size == (20_000, 10_000)


def gif_with(extension: bytes) -> bytes:
    """Return the samples' GIF with one more extension before its others."""
    plain = SAMPLES["gif"]
    start = 13 + (3 << (plain[10] & 7) + 1)  # after the screen and its colours
    return plain[:start] + extension + plain[start:]


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(64_000_000))),
        png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(64_000_000))),
        png_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(64_000_000))),
        png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000))) * 60,
    ],
    ids=["text", "profile", "international text", "many small texts"],
)
def test_a_bomb_in_the_metadata_of_a_png_is_refused(chunk: bytes) -> None:
    start = time.process_time()
    with pytest.raises(TooLarge, match="save it without metadata"):
        pictures.decode(png_with(chunk), LIMIT)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "chunk",
    [png_chunk(b"zTXt", b"k\0\0nonsense"), png_chunk(b"iCCP", b""), png_chunk(b"iTXt", b"k"), png_chunk(b"tEXt", b"k\0text")],
)
def test_metadata_that_makes_no_sense_is_ignored(chunk: bytes) -> None:
    assert pictures.decode(png_with(chunk), LIMIT).size == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe1\0\2" * 1_000_000 + SAMPLES["jpeg"][2:],
        b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000 + SAMPLES["jpeg"][2:],
        png_with(png_chunk(b"abCd", b"") * 300_000),
        gif_with(b"!\xfe" + b"\1x" * 1_000_000 + b"\0"),
        gif_with(b"!\xfe\0" * 2_000_000),
    ],
    ids=["jpeg segments", "jpeg comments", "png chunks", "gif comments", "empty gif comments"],
)
def test_millions_of_empty_parts_are_refused_at_once(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises((TooLarge, BadInput)):
        pictures.decode(data, LIMIT)
    assert time.process_time() - start < 0.5


def test_a_jpeg_that_goes_over_its_pixels_without_end_is_refused() -> None:
    plain = SAMPLES["progressive"]
    last = plain[plain.rindex(b"\xff\xda") : -2]
    bomb = plain[:-2] + last * 50_000 + plain[-2:]
    with pytest.raises(TooLarge, match="save it as a plain JPEG"):
        pictures.decode(bomb, 1_000_000)
    assert pictures.decode(plain, 2400).size == (60, 40)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_truncated_picture_says_so(name: str) -> None:
    data = SAMPLES[name]
    for part in (0.3, 0.5, 0.9):
        with pytest.raises(BadInput, match="truncated or damaged"):
            pictures.decode(data[: int(len(data) * part)], LIMIT)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_picture_cut_at_any_byte_is_a_picture_or_bad_input(name: str) -> None:
    data = SAMPLES[name]
    for length in range(0, len(data), max(1, len(data) // 150)):
        try_it(data[:length])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no bytes were sent"),
        (b"hello", "JPEG, PNG, WebP, GIF or BMP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG, PNG, WebP, GIF or BMP"),
        (b"II*\0" + bytes(100), "JPEG, PNG, WebP, GIF or BMP"),
        (b"\xff\xd8\xff", "truncated or damaged"),
        (SAMPLES["bmp"][:30] + b"\1\0\0\0" + SAMPLES["bmp"][34:], "run-length"),
        (SAMPLES["png"][:16] + bytes(8) + SAMPLES["png"][24:], "no pixels"),
    ],
)
def test_bytes_that_are_no_picture_are_bad_input_in_words(data: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        pictures.decode(data, LIMIT)


def try_it(data: bytes) -> None:
    try:
        picture = pictures.decode(data, 1_000_000, (20, 20))
    except (BadInput, TooLarge):
        pass
    else:
        assert picture.mode == "RGB"
        assert len(picture.tobytes()) == picture.width * picture.height * 3


@given(st.binary(max_size=300), st.sampled_from([magic.rjust(at + len(magic), b"R") for magic, at, _, _ in pictures.FORMATS]))
@example(b"", b"RIFF\0\0\0\0WEBP")
@settings(max_examples=600, deadline=None)
def test_random_bytes_behind_a_pictures_magic_do_no_harm(tail: bytes, magic: bytes) -> None:
    try_it(tail)
    try_it(magic + tail)


@given(
    st.sampled_from(sorted(SAMPLES)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12), st.floats(0, 1)
)
@settings(max_examples=1200, deadline=None)
def test_mutated_headers_do_no_harm(name: str, edits: list[tuple[float, int]], tail: float) -> None:
    data = bytearray(SAMPLES[name])
    for where, value in edits:
        data[int(where * (min(len(data), 400) - 1))] = value
    try_it(bytes(data[: len(data) - int(tail * 40)]))


@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=600, deadline=None)
def test_mutated_pixels_do_no_harm(name: str, seed: int, edits: int) -> None:
    data, dice = bytearray(SAMPLES[name]), random.Random(seed)
    for _ in range(edits):
        data[dice.randrange(len(data))] = dice.randrange(256)
    try_it(bytes(data))


def test_threads_decode_at_once_and_each_gets_its_own_picture() -> None:
    names = sorted(SAMPLES) * 20
    alone = {name: pictures.decode(SAMPLES[name], LIMIT).tobytes() for name in SAMPLES}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: pictures.decode(SAMPLES[name], LIMIT).tobytes(), names))
    assert found == [alone[name] for name in names]


def turned(picture: Image.Image, turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return encoded(picture, "JPEG", exif=exif.tobytes())


ROWS = {
    **SAMPLES,
    **{f"{mode} jpeg": encoded(small(mode), "JPEG") for mode in ("L", "CMYK")},
    **{f"{mode} png": encoded(small(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")},
    "turned": turned(small(), 6),
    **{path.name: path.read_bytes() for path in sorted(PICTURES.glob("*.jpg"))},
}
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def by_hand(picture: Image.Image, box: Box, mean: Any, std: Any) -> Any:
    """Return a picture as services prepared it before `pixels`: float32 [1, 40, 56, 3]."""
    resized = np.asarray(picture.resize((56, 40), Image.Resampling.BILINEAR, box), np.float32)
    return ((resized - np.array(mean, np.float32)) / np.array(std, np.float32))[None]


@pytest.mark.parametrize(("mean", "std"), [((0.0,), (1.0,)), ((0.0,), (255.0,)), ((127.0,), (128.0,)), IMAGENET])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_very_values_of_the_steps_by_hand(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    picture = pictures.decode(ROWS[name], LIMIT)
    expected = by_hand(picture, (0, 0, *picture.size), mean, std)
    for layout, axes in (("NHWC", (0, 1, 2, 3)), ("NCHW", (0, 3, 1, 2))):
        row = pictures.pixels(picture, pictures.form((56, 40), mean, std, "float32", layout, 1.0, True))
        assert np.array_equal(row, expected.transpose(axes))
        assert (str(row.dtype), row.flags.c_contiguous, row.flags.writeable) == ("float32", True, True)


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (41, 7), (7, 1)])
def test_a_crop_is_the_middle_stretched_or_in_the_shape_of_the_row(size: tuple[int, int]) -> None:
    picture = pictures.decode(COFFEE, LIMIT).resize(size)
    wide, high = picture.size
    most = min(wide / 56, high / 40)
    for stretch, across, down in ((True, wide, high), (False, 56 * most, 40 * most)):
        x, y = (wide - 0.8 * across) / 2, (high - 0.8 * down) / 2
        expected = by_hand(picture, (x, y, wide - x, high - y), 0, 1)
        row = pictures.pixels(picture, pictures.form((56, 40), (0.0,), (1.0,), "float32", "NHWC", 0.8, stretch))
        assert np.array_equal(row, expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_within_their_rounding(dtype: str, layout: str) -> None:
    picture = pictures.decode(COFFEE, LIMIT)
    exact = pictures.pixels(picture, pictures.form((56, 40), *IMAGENET, "float64", layout, 1.0, True))
    row = pictures.pixels(picture, pictures.form((56, 40), *IMAGENET, dtype, layout, 1.0, True))
    assert row.dtype == dtype
    assert np.allclose(row, exact, rtol=np.finfo(dtype).eps, atol=2**-20)


def test_bytes_come_as_they_are() -> None:
    picture = pictures.decode(COFFEE, LIMIT)
    row = pictures.pixels(picture, pictures.form((600, 400), (0.0,), (1.0,), "uint8", "NHWC", 1.0, True))
    assert np.array_equal(row[0], np.asarray(picture))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"size": (224,)}, "a width and a height in pixels"),
        ({"size": (0, 224)}, "a width and a height in pixels"),
        ({"size": (224.0, 224)}, "a width and a height in pixels"),
        ({"mean": (1.0, 2.0)}, "one number or three"),
        ({"mean": (float("nan"),)}, "one number or three"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"dtype": "int32"}, "float16, float32, float64, uint8"),
        ({"dtype": "float31"}, "float16, float32, float64, uint8"),
        ({"dtype": "uint8", "std": (255.0,)}, "without mean and std"),
        ({"layout": "CHW"}, "'NCHW' or 'NHWC'"),
        ({"crop": 0.0}, "above 0 up to 1"),
        ({"crop": 1.5}, "above 0 up to 1"),
    ],
)
def test_a_form_that_makes_no_sense_is_a_value_error_in_words(wrong: dict[str, Any], words: str) -> None:
    right = {"size": (8, 8), "mean": (0.0,), "std": (1.0,), "dtype": "float32", "layout": "NCHW", "crop": 1.0, "stretch": True}
    with pytest.raises(ValueError, match=words):
        pictures.form(**right | wrong)


def test_a_picture_of_another_mode_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="the picture is L; convert it to RGB"):
        pictures.pixels(small("L"), pictures.form((8, 8), (0.0,), (1.0,), "float32", "NCHW", 1.0, True))
