"""A request as a service's own code reads it."""

import threading
import time
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput, DeadlinePassed, ModelFailed
from serving.base.lifetime import Lifetime
from serving.inputs.files import File
from serving.inputs.payload import Payload
from serving.models.tensors import Arrays
from serving.service.request import Request, make_request
from tests.running import ROOT


def request(seconds: float = 5, query: dict[str, str] | None = None, **fields: Any) -> Request:
    return Request("id", Lifetime(time.monotonic(), seconds), Payload(fields=fields), query or {})


@pytest.mark.parametrize(
    ("sent", "kind", "found"),
    [
        ("a", str, "a"),
        ("", str, ""),
        (5, int, 5),
        ("5", int, 5),
        (" -7 ", int, -7),
        (2.5, float, 2.5),
        (2, float, 2.0),
        ("1e-3", float, 0.001),
        (True, bool, True),
        ("False", bool, False),
        ("1", bool, True),
        ([], list, []),
    ],
)
def test_a_value_comes_in_the_type_that_is_asked_for_from_json_and_from_a_form(sent: Any, kind: type, found: Any) -> None:
    value: Any = request(x=sent).value("x", kind)
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize(
    ("sent", "kind", "words"),
    [
        (5, str, "x is a number; it must be a text"),
        ("five", int, "x is 'five'; it must be a whole number"),
        (5.5, int, "x is a number; it must be a whole number"),
        (True, int, "x is true or false; it must be a whole number"),
        ("9" * 5000, int, f"x is '{'9' * 60}'; it must be a whole number"),
        ("٣", int, "it must be a whole number"),
        ("nan", float, "it must be a number"),
        ("inf", float, "it must be a number"),
        ("1e999", float, "it must be a number"),
        (1, bool, "x is a number; it must be true or false"),
        ("yes", bool, "x is 'yes'; it must be true or false"),
        ("[1]", list, "x is '[1]'; it must be an array"),
        ({}, list, "x is an object; it must be an array"),
        (None, int, "the request has no x; send a whole number"),
    ],
)
def test_a_value_of_another_type_is_a_400_in_words(sent: Any, kind: type, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        request(x=sent).value("x", kind)
    assert words in str(caught.value)


def test_a_value_may_stand_in_the_url_and_may_have_a_default() -> None:
    assert request(query={"top": "3"}).value("top", int, 5) == 3
    assert request(query={"top": "3"}, top=4).value("top", int, 5) == 4
    assert request().value("top", int, 5) == 5
    assert request().value("exact", bool, False) is False


def test_each_of_an_arrays_values_is_read() -> None:
    assert request(x=["1", 2]).values("x", int) == [1, 2]
    with pytest.raises(BadInput, match=r"x\[1\] is null; it must be a text"):
        request(x=["a", None]).values("x", str)


def test_models_that_work_side_by_side_are_waited_for_until_the_deadline() -> None:
    done, failed, never = (Future[Arrays]() for _ in range(3))
    done.set_result({})
    failed.set_exception(ModelFailed("broke"))
    assert request().wait(done, done) == [{}, {}]
    with pytest.raises(ModelFailed):
        request().wait(done, failed)
    with pytest.raises(DeadlinePassed):
        request(0.01).wait(done, never)


def test_a_picture_waits_for_a_core_to_decode_it_until_the_deadline() -> None:
    picture = (ROOT / "examples/images/coffee.jpg").read_bytes()
    cores = threading.Semaphore(1)
    asked = Request("id", Lifetime(time.monotonic(), 0.05), Payload({"image": (File(picture),)}), decoders=cores)
    assert asked.image().size == (600, 400)
    with cores, pytest.raises(DeadlinePassed):
        asked.image()
    assert cores.acquire(blocking=False), "a picture that was given up holds no core"


def test_pixels_are_of_the_picture_decoded_as_small_as_will_do_or_of_one_that_is_given() -> None:
    asked = make_request(image=(ROOT / "examples/images/coffee.jpg").read_bytes())
    row = asked.pixels((120, 80), mean=127, std=np.array([128, 64, 32]), crop=0.8)
    assert (row.shape, str(row.dtype)) == ((1, 3, 80, 120), "float32")
    small = asked.image(at_least=(150, 100))
    assert np.array_equal(row, asked.pixels((120, 80), 127, [128, 64, 32], crop=0.8, picture=small))
    assert not np.array_equal(row, asked.pixels((120, 80), 127, [128, 64, 32], crop=0.8, picture=asked.image()))
    with pytest.raises(ValueError, match="size is"):
        asked.pixels((0, 80))
    with pytest.raises(BadInput, match="no picture in the request"):
        make_request().pixels((120, 80))


def test_a_request_of_several_pictures_comes_apart_into_one_for_each() -> None:
    whole = Request("id", Lifetime(time.monotonic(), 5), Payload({"image": (File(b"one"), File(b"two"))}, fields={"k": 3}))
    assert [(each.image_bytes, each.value("k", int), each.id) for each in whole.apart(2)] == [
        (b"one", 3, "id"),
        (b"two", 3, "id"),
    ]
    with pytest.raises(BadInput, match="holds 2 pictures and must hold 1"):
        whole.apart(1)


@pytest.mark.parametrize(
    ("given", "told"),
    [("21", "k is 21; it must be from 1 to 20"), (0, "k is 0; it must be from 1 to 20"), ("x", "k is 'x'; it must be")],
)
def test_a_number_out_of_its_bounds_is_the_clients_mistake(given: object, told: str) -> None:
    asked = request(k=given)
    with pytest.raises(BadInput, match=told):
        asked.value("k", int, 5, 1, 20)
    assert request(k="20").value("k", int, 5, 1, 20) == 20
    assert request().value("k", int, 5, 1, 20) == 5


def test_a_number_without_an_upper_bound_may_be_large_but_is_one() -> None:
    assert request(x="1e9").value("x", float, least=0) == 1e9
    with pytest.raises(BadInput, match="x is -1.0; it must be 0 or more"):
        request(x=-1).value("x", float, least=0)


def test_files_are_read_by_their_names() -> None:
    asked = make_request(files={"audio": File(b"one", "go.wav", "audio/wav"), "pages": [b"two", b"three"]}, image=b"four")
    assert asked.file("audio") == File(b"one", "go.wav", "audio/wav")
    assert [page.bytes for page in asked.files("pages")] == [b"two", b"three"]
    assert (asked.files("none"), asked.image_bytes, asked.file("image").bytes) == ((), b"four", b"four")
    with pytest.raises(BadInput, match="holds 2 files named pages; send one"):
        asked.file("pages")
    with pytest.raises(BadInput, match="no file none .*-F none=@FILE"):
        asked.file("none")
