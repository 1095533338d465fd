"""A form is read in pieces, within bounds and a deadline. It gives its parts as they were sent, or a refusal in words."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.base.errors import BadInput, DeadlinePassed, ServingError, TooLarge
from serving.base.lifetime import Lifetime
from serving.base.process_memory import peak_bytes
from serving.inputs import forms
from serving.inputs.files import File
from serving.inputs.forms import Form
from tests.memory import MIB, forget_peak, settled_bytes
from tests.multipart import BOUNDARY, multipart
from tests.running import get, make_service, running

KIND = f"multipart/form-data; boundary={BOUNDARY}"
LINE = f"--{BOUNDARY}\r\n".encode()
END = f"--{BOUNDARY}--\r\n".encode()
NAMED = b"Content-Disposition: form-data; name=a"


def read(body: bytes, kind: str = KIND, check: Callable[[], None] = lambda: None) -> Form:
    return forms.read(kind, body, check)


def headed(head: bytes, content: bytes = b"x") -> bytes:
    """A form of one part with headers of its own."""
    return LINE + head + b"\r\n\r\n" + content + b"\r\n" + END


def test_parts_come_as_they_were_sent_whatever_their_length() -> None:
    chance = random.Random(7)
    files = [
        chance.randbytes(length) for length in (0, 1, forms.PIECE_BYTES - 200, forms.PIECE_BYTES, 3 * forms.PIECE_BYTES + 1)
    ]
    parts = [(f"f{number}", content, True) for number, content in enumerate(files)]
    found = read(multipart([("text", "höher\r\n".encode(), False), *parts]))
    assert found == Form({"text": "höher\r\n"}, {f"f{n}": (File(content, f"f{n}"),) for n, content in enumerate(files)})


@pytest.mark.parametrize(
    "content", [b"\r" * 200_000, b"\n--" * 70_000, b"x" + LINE.strip() * 2000, b"\r\n--" + BOUNDARY.encode()[:-1]]
)
def test_a_content_that_looks_like_a_boundary_is_kept(content: bytes) -> None:
    assert read(multipart([("image", content, True)])).files == {"image": (File(content, "image"),)}


def test_wherever_the_pieces_are_cut_the_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    body = multipart([("a", b"\r\n--a-boundary", False), ("image", b"one", True), ("image", b"\r\ntwo\r\n", True)])
    for piece in range(1, len(body) + 1):
        monkeypatch.setattr(forms, "PIECE_BYTES", piece)
        assert read(body) == Form(
            {"a": "\r\n--a-boundary"}, {"image": (File(b"one", "image"), File(b"\r\ntwo\r\n", "image"))}
        ), piece


def test_a_file_keeps_its_name_without_folders_and_its_type() -> None:
    head = b'Content-Disposition: form-data; name=a; filename="%s"\r\nContent-Type: %s'
    for name, kind in (
        (b"go.wav", b"Audio/WAV; rate=8000"),
        (b"/etc/go.wav", b"audio/wav"),
        (b"C:\\\\x\\\\go.wav", b"audio/wav"),
    ):
        assert read(headed(head % (name, kind))).files == {"a": (File(b"x", "go.wav", "audio/wav"),)}


def test_a_text_is_read_in_the_charset_that_its_part_names() -> None:
    head = NAMED + b"\r\nContent-Type: text/plain; charset=%s"
    for charset, sent in (("iso-8859-1", b"h\xf6her"), ("utf-8", "höher".encode()), ("utf-7", "höher".encode())):
        assert read(headed(head % charset.encode(), sent)).texts == {"a": "höher"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no parts"),
        (b"x" * 100_000, "no parts"),
        (LINE.replace(b"a-", b"b-") + NAMED, "no parts"),
        (LINE + NAMED + b"\r\n\r\nx", "the form is cut: no last boundary ends it"),
        (headed(b"X: y"), "headers of a part of the form are broken"),
        (headed(NAMED + b"\xff"), "headers of a part of the form are broken"),
        (headed(b"Content-Disposition: form-data"), "has no name"),
        (headed(NAMED + b"; b=" + b"c" * 8192), "longer than 8192 bytes"),
        (headed(NAMED + b"*=utf-8''" + b"%41" * 5_000_000), "longer than 8192 bytes"),
        (headed(NAMED + b"\r\n" + b" b\r\n" * 5000), "longer than 8192 bytes"),
        (LINE + b"x" * 9000, "longer than 8192 bytes"),
        (headed(NAMED + b";b=c" * 40), "more than 32 parameters"),
        (multipart([("a", b"1", False)] * 2), "holds 'a' more than once"),
    ],
)
def test_a_body_that_is_no_form_or_over_a_bound_is_bad_input_in_words(body: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read(body)
    assert len(str(caught.value)) < 200


def test_a_form_has_a_hundred_parts_at_most() -> None:
    parts = [(f"n{number}", b"", number % 2 == 0) for number in range(forms.MOST_FORM_PARTS + 1)]
    found = read(multipart(parts[:-1]))
    assert len(found.texts) + len(found.files) == forms.MOST_FORM_PARTS
    with pytest.raises(TooLarge, match="more than 100 parts"):
        read(multipart(parts))


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", KIND + "x" * 70])
def test_a_boundary_has_1_to_70_characters(kind: str) -> None:
    with pytest.raises(BadInput, match="no boundary of 1 to 70 characters"):
        read(headed(NAMED), kind)


def test_a_deadline_ends_the_reading_between_two_pieces() -> None:
    life, pieces = Lifetime(time.monotonic(), 60), 0

    def check() -> None:
        nonlocal pieces
        pieces += 1
        life.shorten(60 if pieces < 3 else 0)
        life.check()

    with pytest.raises(DeadlinePassed):
        read(headed(NAMED, bytes(100 * forms.PIECE_BYTES)), check=check)
    assert pieces == 3


def test_any_bytes_are_a_form_or_are_refused() -> None:
    chance = random.Random(3)
    words = [
        LINE,
        END,
        b"\r\n",
        b"\r",
        b"\n",
        NAMED,
        b"; filename=b",
        b": ",
        b";",
        b"=",
        b'"',
        b"\xff",
        b"--",
        bytes(9),
        b"Content-Type: a",
    ]
    for _ in range(3000):
        body = LINE * chance.randint(0, 1) + b"".join(chance.choices(words, k=chance.randint(0, 25)))
        try:
            found = read(body)
        except ServingError as error:
            assert error.status in (400, 413)  # noqa: PT017  a refusal is one of two right ends
        else:
            assert sum(len(file.bytes) for files in found.files.values() for file in files) <= len(body)


def test_a_served_hostile_form_costs_no_more_than_its_bytes(tmp_path: Path) -> None:
    server = """
from serving.service.service import Service


class Counts(Service):
    def handle(self, request):
        return len(request.image_bytes)
"""
    folder = make_service(tmp_path / "small", 'memory = "2Gi"', server)
    hostile = {
        "percents": headed(NAMED + b"*=utf-8''" + b"%41" * 5_000_000),
        "semicolons": headed(NAMED + b";" * 15_000_000),
        "folded lines": headed(NAMED + b"\r\n" + b" \r\n" * 5_000_000),
        "parts": (LINE + NAMED + b"\r\n\r\n\r\n") * 150_000 + END,
        "no end": LINE + NAMED + b"\r\n\r\n" + b"\r\n--" * 3_500_000,
    }
    with running(folder) as service:
        process = service.process.pid
        before = settled_bytes(process)
        forget_peak(process)
        for name, body in hostile.items():
            began = time.monotonic()
            status, answer = get(service.url + "/api/small", body, {"Content-Type": KIND})
            assert status in (400, 413), (name, answer)
            assert time.monotonic() - began < 5, name
        good = get(service.url + "/api/small", multipart([("image", bytes(15 * MIB), True)]), {"Content-Type": KIND})
        assert good == (200, b'{"results":15728640,"msg":""}')
        assert peak_bytes(process) - before < 60 * MIB  # a body and its parts, once each, and the pieces in between
