"""A request of the service's own route becomes a payload, or is refused in words.

A form is read in pieces, within bounds and a deadline. It gives its parts as they were sent, or a refusal in words.
"""

import base64
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.base.errors import BadInput, DeadlinePassed, ServingError, TooLarge, WrongContentType
from serving.base.lifetime import Lifetime
from serving.base.process import peak_bytes
from serving.inputs import payload
from serving.inputs.fetch import Fetcher
from serving.inputs.files import BYTES, File, file_kinds
from serving.inputs.payload import Form, Payload, decode
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import BOUNDARY, get, make_service, multipart, running

PICTURE = bytes(range(256)) * 3 + b"!"
TEXT = base64.b64encode(PICTURE).decode()


class DictionaryFetcher:
    """Fetches from a dictionary, and keeps the deadline that it was given."""

    def __init__(self, **files: bytes):
        self.files = {f"http://{host}.example.com/a.jpg": body for host, body in files.items()}
        self.deadlines: list[float] = []

    def fetch(self, url: str, deadline: float) -> bytes:
        self.deadlines.append(deadline)
        if url.lower() not in self.files:
            raise BadInput(f"{url} could not be fetched")
        return self.files[url.lower()]


LIFE = Lifetime(time.monotonic(), 1e6)  # seconds: longer than all tests take, however slow the machine


def bare(payload: Payload) -> Payload:
    """Return a payload whose files have neither name nor type."""
    files = {name: tuple(File(file.bytes) for file in files) for name, files in payload.files.items()}
    return replace(payload, files=files)


def holding(image: bytes = b"", video: bytes = b"", further_images: tuple[bytes, ...] = (), **more: Any) -> Payload:
    """Return the payload of a picture or a video, and of other values."""
    files = {"image": (image, *further_images) if image else (), "video": (video,) if video else ()}
    return Payload({name: tuple(map(File, contents)) for name, contents in files.items() if contents}, **more)


def only(payload: Payload, name: str) -> bytes:
    """Return the content of a payload's only file."""
    ((file,),) = payload.files.values()
    assert list(payload.files) == [name]
    return file.bytes


def sent(body: Any, content_type: str = "application/json", fetcher: DictionaryFetcher | None = None) -> Payload:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bare(decode(content_type, data, fetcher or DictionaryFetcher(), LIFE))


def test_several_pictures_come_in_a_list_or_under_one_name() -> None:
    fetcher = DictionaryFetcher(img=b"fetched")
    url = "http://img.example.com/a.jpg"
    assert sent({"images": [TEXT, url, TEXT]}, fetcher=fetcher) == holding(image=PICTURE, further_images=(b"fetched", PICTURE))
    assert sent({"images": [TEXT]}) == holding(image=PICTURE)
    both = form_of([("image", PICTURE, True), ("image", b"second", True)])
    assert both == holding(image=PICTURE, further_images=(b"second",))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"images": TEXT}, "images must be an array of 1 to 16"),
        ({"images": []}, "images must be an array of 1 to 16"),
        ({"images": [TEXT] * 17}, "images must be an array of 1 to 16"),
        ({"images": [TEXT, 5]}, r"images\[1\] is a number"),
        ({"images": [TEXT, "?"]}, r"images\[1\] is neither base64"),
        ({"images": [TEXT], "image": TEXT}, "image and images were both sent"),
    ],
)
def test_several_pictures_that_are_wrong_are_bad_input(body: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        sent(body)


def test_a_form_of_too_many_or_of_empty_pictures_is_bad_input() -> None:
    for further, words in (([PICTURE] * 16, "17 files named image; it may hold 16"), ([b""], "image is empty")):
        with pytest.raises(BadInput, match=words):
            form_of([("image", picture, True) for picture in (PICTURE, *further)])


def form_of(parts: list[tuple[str, bytes, bool]]) -> Payload:
    """Send a form. parts: name, content, and whether it is a file."""
    body = multipart(parts)
    return bare(decode(f"multipart/form-data; boundary={BOUNDARY}", body, DictionaryFetcher(img=PICTURE), LIFE))


def form(texts: dict[str, str] | None = None, **files: bytes) -> Payload:
    named = [(name, text.encode(), False) for name, text in (texts or {}).items()]
    return form_of(named + [(name, content, True) for name, content in files.items()])


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/JPEG", "image/webp; q=1", "application/octet-stream"])
def test_raw_bytes_are_the_picture(kind: str) -> None:
    assert sent(PICTURE, kind) == holding(image=PICTURE)


def test_raw_video_is_the_video() -> None:
    assert sent(PICTURE, "video/mp4") == holding(video=PICTURE)


def test_an_object_is_taken_apart() -> None:
    body = {"postid": "p1", "uid": 7, "seqid": -3, "image": TEXT, "material": "gold", "top_k": 5, "deep": {"a": [1, None]}}
    assert sent(body) == holding(
        image=PICTURE,
        fields={"material": "gold", "top_k": 5, "deep": {"a": [1, None]}},
        ids={"postid": "p1", "uid": 7, "seqid": -3},
    )


@pytest.mark.parametrize("data", [[[1.5, 2]], {"x": [1]}, "text", 0, False, None, []])
def test_data_is_any_json_value(data: Any) -> None:
    assert sent({"data": data}) == holding(data=data)


def test_data_may_come_with_a_picture() -> None:
    assert sent({"image": TEXT, "data": [1]}) == holding(image=PICTURE, data=[1])


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(PICTURE).decode(),
        base64.encodebytes(PICTURE).decode(),
        base64.encodebytes(PICTURE).decode().replace("\n", "\r\n"),
        f"data:image/png;base64,{TEXT}",
        f"DATA:;BASE64,{TEXT}",
    ],
    ids=["plain", "no padding", "url-safe", "lines", "windows lines", "data url", "upper-case data url"],
)
def test_base64_is_read_as_people_write_it(text: str) -> None:
    assert only(sent({"image": text}), "image") == PICTURE
    assert only(sent({"video": text}), "video") == PICTURE
    assert only(form({"image": text}), "image") == PICTURE


def test_base64_in_many_pieces_takes_no_more_memory_than_in_one() -> None:
    def peak(piece: bytes) -> int:
        tracemalloc.start()
        try:
            assert len(only(sent(b'{"image":"' + piece * 400_000 + b'"}'), "image")) == 1_200_000
            return tracemalloc.get_traced_memory()[1] // len(piece)
        finally:
            tracemalloc.stop()

    assert peak(b"QU JD ") < 1.2 * peak(b"QUJD")


@pytest.mark.parametrize("url", ["http://img.example.com/a.jpg", "HTTP://IMG.example.com/a.jpg"])
def test_a_url_is_fetched_within_the_requests_deadline(url: str) -> None:
    fetcher = DictionaryFetcher(img=PICTURE)
    assert only(sent({"image": url}, fetcher=fetcher), "image") == PICTURE
    assert only(sent({"video": url}, fetcher=fetcher), "video") == PICTURE
    assert fetcher.deadlines == [LIFE.deadline, LIFE.deadline]


def test_the_real_fetcher_refuses_a_url_where_no_host_is_allowed() -> None:
    body = b'{"image": "http://img.example.com/a.jpg"}'
    with pytest.raises(BadInput, match="fetch_hosts"):
        decode("application/json", body, Fetcher([], 1000, 1), LIFE)


def test_null_for_a_file_is_as_good_as_none() -> None:
    assert sent({"image": None, "video": None, "data": 1}) == holding(data=1)
    assert sent({"image": TEXT, "video": None}) == holding(image=PICTURE)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b"{", "not JSON"),
        (b'{"data": NaN}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ([1, 2], "the body is an array; send an object"),
        ("text", "the body is a text; send an object"),
        (12, "the body is a number"),
        (None, "the body is null"),
        ({"image": 5}, "image is a number"),
        ({"image": ["a"]}, "image is an array"),
        ({"image": {"url": "http://img.example.com/"}}, "image is an object"),
        ({"image": True}, "image is true or false"),
        ({"video": 1.5}, "video is a number"),
        ({"image": ""}, "image is empty"),
        ({"image": "data:image/png;base64,"}, "image is empty"),
        ({"image": "data:image/png,abc"}, "without base64"),
        ({"image": "photo.jpg"}, "image is neither base64 nor an http"),
        ({"image": "QUJD!"}, "neither base64"),
        ({"image": "QQ==QQ=="}, "neither base64"),
        ({"image": "a"}, "neither base64"),
        ({"image": "caf\u00e9"}, "neither base64"),
        ({"image": "ftp://img.example.com/a.jpg"}, "neither base64 nor an http"),
        ({"image": "file:///etc/passwd"}, "neither base64 nor an http"),
        ({"image": "http://gone.example.com/"}, "could not be fetched"),
        ({"image": TEXT, "video": TEXT}, "both sent"),
        ({"postid": 1.5}, "postid is a number; it may be a text or a whole number"),
        ({"uid": None}, "uid is null"),
        ({"uid": True}, "uid is true or false"),
        ({"seqid": {"a": 1}}, "seqid is an object"),
        ({"seqid": [1]}, "seqid is an array"),
        ({"seqid": 10**30}, "whole number of up to 64 bits"),
    ],
)
def test_an_object_that_is_wrong_is_bad_input_in_words(body: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        sent(body)


@pytest.mark.parametrize("kind", ["image/jpeg", "video/mp4", "application/octet-stream"])
def test_no_bytes_are_bad_input(kind: str) -> None:
    with pytest.raises(BadInput, match=f"no bytes came as {kind}"):
        sent(b"", kind)


def test_neither_body_nor_content_type_is_an_empty_payload() -> None:
    assert sent(b"", "") == Payload()


def test_curls_default_content_type_is_told_what_to_send() -> None:
    with pytest.raises(WrongContentType, match="curl -d.*-F image=@picture.jpg.*--data-binary @picture.jpg.*application/json"):
        sent(b'{"a": 1}', "application/x-www-form-urlencoded")


@pytest.mark.parametrize("kind", ["", "text/plain", "text/html; charset=utf-8", "nonsense", "application/xml", "image", ";"])
def test_another_content_type_is_refused_with_those_allowed(kind: str) -> None:
    with pytest.raises(WrongContentType, match="application/json, multipart/form-data, image/\\*, video/\\*"):
        sent(b"hello", kind)


def test_a_form_holds_files_and_texts() -> None:
    texts = {"postid": "p1", "uid": "7", "material": "gold", "top_k": "5"}
    assert form(texts, image=PICTURE) == holding(
        image=PICTURE, fields={"material": "gold", "top_k": "5"}, ids={"postid": "p1", "uid": "7"}
    )
    assert form(video=PICTURE) == holding(video=PICTURE)


def test_one_file_of_any_other_name_is_the_picture() -> None:
    assert form(upload=PICTURE) == holding(image=PICTURE)
    assert form({"top_k": "5"}, file=PICTURE, data=b"[1]") == holding(image=PICTURE, data=[1], fields={"top_k": "5"})


@pytest.mark.parametrize(
    ("text", "data"), [("[1, 2]", [1, 2]), ('{"a": 1}', {"a": 1}), ("12", 12), ("a text", "a text"), ("NaN", "NaN"), ("", "")]
)
def test_a_forms_data_is_json_or_text(text: str, data: Any) -> None:
    assert form({"data": text}) == holding(data=data)
    assert form(data=text.encode()) == holding(data=data)


@pytest.mark.parametrize(
    ("texts", "files", "words"),
    [
        ({}, {}, "no parts"),
        ({}, {"image": b""}, "image is empty"),
        ({}, {"upload": b""}, "upload is empty"),
        ({}, {"a": b"1", "b": b"2"}, "not known: a, b"),
        ({}, {"image": b"1", "b": b"2"}, "not known: b"),
        ({"image": TEXT}, {"b": b"2"}, "not known: b"),
        ({}, {"image": b"1", "video": b"2"}, "more than one"),
        ({"image": TEXT}, {"image": b"1"}, "more than one"),
        ({"image": "http://img.example.com/a.jpg"}, {"image": b"1"}, "more than one"),
        ({"image": "http://img.example.com/a.jpg"}, {}, "a form cannot hold a URL"),
        ({"image": "photo.jpg"}, {}, "neither base64"),
        ({"image": ""}, {}, "image is empty"),
        ({"data": "1"}, {"data": b"2"}, "data was sent more than once"),
        ({}, {"data": b"\xff\xfe"}, "neither JSON nor text"),
    ],
)
def test_a_form_that_is_wrong_is_bad_input_in_words(texts: dict[str, str], files: dict[str, bytes], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        form(texts, **files)


DECLARED = file_kinds({"audio": "audio/*", "pages": ("image/png, application/pdf", 3)})


def declared(body: bytes | dict[str, Any], kind: str = "application/json", fetcher: DictionaryFetcher | None = None) -> Payload:
    """Read a body for a service that declares files of its own."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(kind, data, fetcher or DictionaryFetcher(), LIFE, DECLARED)


def test_a_declared_file_is_the_whole_body_by_its_type_and_the_first_one_without_a_type() -> None:
    for kind, name in (("audio/wav", "audio"), ("AUDIO/x-wav; a=b", "audio"), ("application/pdf", "pages"), (BYTES, "audio")):
        assert declared(PICTURE, kind).files == {name: (File(PICTURE, type=kind.partition(";")[0].lower()),)}


def test_declared_files_keep_their_names_in_a_form_beside_each_other() -> None:
    parts = [("audio", b"one", True), ("pages", b"two", True), ("pages", b"three", True), ("image", b"text", False)]
    found = declared(multipart(parts), f"multipart/form-data; boundary={BOUNDARY}")
    two, three = File(b"two", "pages"), File(b"three", "pages")
    assert found == Payload({"audio": (File(b"one", "audio"),), "pages": (two, three)}, fields={"image": "text"})


def test_declared_files_are_base64_or_urls_in_json_alone_or_in_an_array() -> None:
    url, fetcher = "http://img.example.com/a.jpg", DictionaryFetcher(img=b"fetched")
    found = declared({"audio": url, "pages": [f"data:image/PNG;base64,{TEXT}", TEXT], "image": 5}, fetcher=fetcher)
    pages = (File(PICTURE, type="image/png"), File(PICTURE))
    assert found == Payload({"audio": (File(b"fetched"),), "pages": pages}, fields={"image": 5})
    assert declared({"pages": TEXT, "audio": None}).files == {"pages": (File(PICTURE),)}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([("audio", b"", True)], "audio is empty"),
        ([("audio", b"1", True)] * 2, "2 files named audio; it may hold 1"),
        ([("pages", b"1", True)] * 4, "4 files named pages; it may hold 3"),
        ([("sound", b"1", True)], "not known: sound; name them audio, pages or data"),
        ([("image", b"1", True)], "not known: image; name them audio, pages or data"),
        ([("audio", b"QQ==", False), ("audio", b"1", True)], "more than one audio"),
        ([("audio", b"", False)], "audio is empty"),
    ],
)
def test_a_form_of_declared_files_that_is_wrong_is_bad_input_in_words(parts: list[tuple[str, bytes, bool]], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        declared(multipart(parts), f"multipart/form-data; boundary={BOUNDARY}")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"audio": [TEXT]}, "audio is an array"),
        ({"audio": ""}, "audio is empty"),
        ({"pages": [TEXT] * 4}, "pages must be an array of 1 to 3 texts"),
        ({"pages": [TEXT, ""]}, r"pages\[1\] is empty"),
        ({"pages": 5}, "pages must be an array of 1 to 3 texts"),
        ([], 'such as {"audio"'),
    ],
)
def test_declared_files_in_json_that_are_wrong_are_bad_input_in_words(body: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        declared(body)


def test_a_file_of_another_type_is_refused_with_those_admitted() -> None:
    head = b"--a\r\nContent-Disposition: form-data; name=audio; filename=a\r\nContent-Type: %s\r\n\r\nx\r\n--a--\r\n"
    form_kind = "multipart/form-data; boundary=a"
    assert declared(head % b"application/octet-stream", form_kind).files["audio"][0].bytes == b"x"
    refused: list[tuple[bytes | dict[str, Any], str]] = [
        (head % b"text/plain", form_kind),
        ({"audio": f"data:text/plain;base64,{TEXT}"}, "application/json"),
    ]
    for body, kind in refused:
        with pytest.raises(WrongContentType, match=r"type 'text/plain'; it may be audio/\*"):
            declared(body, kind)
    for kind in ("text/plain", "image/jpeg", "video/mp4"):
        admitted = r"application/json, multipart/form-data, audio/\*, image/png, application/pdf or application/octet-stream"
        with pytest.raises(WrongContentType, match=f"{admitted}: send a file with -F audio=@FILE"):
            declared(b"x", kind)
    with pytest.raises(BadInput, match="the body is empty: .* audio/wav"):
        declared(b"", "audio/wav")


@pytest.mark.parametrize(
    "files", [{"data": "audio/*"}, {"a b": "audio/*"}, {"a": "audio"}, {"a": ("audio/*", 0)}, {"a": ""}, {"a": "x/y z"}]
)
def test_what_cannot_be_declared_is_told_with_an_example(files: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a word|write 'audio/"):
        file_kinds(files)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["image", "video", "data", "postid", "uid", "seqid", "other"])


@given(
    st.one_of(st.binary(max_size=80), st.dictionaries(NAMES, JSON, max_size=4).map(lambda found: json.dumps(found).encode()))
)
@settings(max_examples=500, deadline=None)
def test_any_json_body_is_a_payload_or_is_refused(body: bytes) -> None:
    try:
        payload = sent(body)
    except ServingError as error:
        assert error.status == 400  # noqa: PT017  a refusal is one of two right ends
    else:
        assert not {"image", "video"} <= payload.files.keys()
        assert set(payload.ids) <= {"postid", "uid", "seqid"}


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=4), st.dictionaries(NAMES, st.binary(max_size=20), max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_form_is_a_payload_or_is_refused(texts: dict[str, str], files: dict[str, bytes]) -> None:
    try:
        payload = form(texts, **files)
    except ServingError as error:
        assert error.status == 400  # noqa: PT017  a refusal is one of two right ends
    else:
        assert not {"image", "video"} <= payload.files.keys()


@given(st.text(max_size=30), st.binary(max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_content_type_is_a_payload_or_is_refused(kind: str, body: bytes) -> None:
    try:
        sent(body, kind)
    except ServingError as error:
        assert error.status in (400, 415)  # noqa: PT017  a refusal is one of two right ends


KIND = f"multipart/form-data; boundary={BOUNDARY}"
LINE = f"--{BOUNDARY}\r\n".encode()
END = f"--{BOUNDARY}--\r\n".encode()
NAMED = b"Content-Disposition: form-data; name=a"


def read(body: bytes, kind: str = KIND, check: Callable[[], None] = lambda: None) -> Form:
    return payload.read_form(kind, body, check)


def headed(head: bytes, content: bytes = b"x") -> bytes:
    """A form of one part with headers of its own."""
    return LINE + head + b"\r\n\r\n" + content + b"\r\n" + END


def test_parts_come_as_they_were_sent_whatever_their_length() -> None:
    chance = random.Random(7)
    files = [
        chance.randbytes(length)
        for length in (0, 1, payload.PIECE_BYTES - 200, payload.PIECE_BYTES, 3 * payload.PIECE_BYTES + 1)
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
        monkeypatch.setattr(payload, "PIECE_BYTES", piece)
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
    parts = [(f"n{number}", b"", number % 2 == 0) for number in range(payload.MAX_FORM_PARTS + 1)]
    found = read(multipart(parts[:-1]))
    assert len(found.texts) + len(found.files) == payload.MAX_FORM_PARTS
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
        read(headed(NAMED, bytes(100 * payload.PIECE_BYTES)), check=check)
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
