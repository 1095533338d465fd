"""What is JSON, and how answers are written."""

import datetime
import math

import numpy as np
import pytest

from serving import jsons
from serving.errors import BadInput


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty; send JSON"),
        (b"  ", "the body is not JSON: input data is empty at line 1"),
        (b'{"a": NaN}', "at line 1 column 7; JSON has no NaN or Infinity"),
        (b'{"a":[1,\n Infinity]}', "at line 2 column 2; JSON has no NaN or Infinity"),
        (b"[-Infinity]", "JSON has no NaN or Infinity"),
        (b"[nan]", "JSON has no NaN or Infinity"),
        (b"[None]", "unexpected character, expected a JSON value at line 1 column 2"),
        (b"[1e999]", "number is infinity when parsed as double at line 1 column 2"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
        (b'"\\ud800"', "no low surrogate in string"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"[" * 2000, "depth limit exceeded at line 1 column 1026"),
        (b'{"a":' * 2000, "depth limit exceeded"),
        (b'{"a": 1', "unexpected end of data at line 1 column 8"),
        (b"{'a': 1}", "at line 1 column 2"),
        (b'{"a": 1} tail', "unexpected content after document at line 1 column 10"),
        (b"[01]", "leading zero"),
        (b"[1,]", "trailing comma is not allowed at line 1 column 3"),
        (b'"\t"', "control character"),
        (b"\x00", "the body is not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        jsons.loads(body)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_part_that_is_not_json_is_named() -> None:
    with pytest.raises(BadInput, match="^the JSON header is not JSON: "):
        jsons.loads(b"{", "the JSON header")


def test_more_arrays_than_memory_allows_are_refused_before_they_are_made() -> None:
    with pytest.raises(BadInput, match="holds 2000001 arrays and objects; at most 2000000"):
        jsons.loads(b"[" + b"[]," * (jsons.MAX_CONTAINERS - 1) + b"{}]")


def test_a_refused_body_is_not_kept_alive_by_its_error() -> None:
    with pytest.raises(BadInput) as caught:
        jsons.loads(b"[1, 2")
    assert caught.value.__context__ is None


def test_json_is_read_from_bytes_and_from_views() -> None:
    document = b'{"a": [1, -2.5, true, null, "\xc3\xa9"]}'
    for body in (document, memoryview(document), memoryview(b"xx" + document + b"y")[2:-1]):
        assert jsons.loads(body) == {"a": [1, -2.5, True, None, "é"]}


def test_the_last_of_two_equal_keys_counts() -> None:
    assert jsons.loads(b'{"a": 1, "a": 2}') == {"a": 2}


def test_integers_over_64_bits_are_read_as_floats() -> None:
    assert jsons.loads(b"[18446744073709551615, 18446744073709551616]") == [2**64 - 1, float(2**64)]


def test_nan_and_infinity_are_written_as_null() -> None:
    values = [math.nan, math.inf, -math.inf]
    for given in (values, np.array(values), np.array(values, np.float32), np.array(values, np.float16)):
        assert jsons.dumps(given) == b"[null,null,null]"
    assert jsons.dumps({"a": np.float32("nan"), "b": np.float64("inf")}) == b'{"a":null,"b":null}'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float32(0.1), b"0.1"),
        (np.int64(-3), b"-3"),
        (np.uint8(255), b"255"),
        (np.bool_(True), b"true"),
        (np.array(3), b"3"),
        (np.array(2.5, np.float32), b"2.5"),
        (np.float16(1.5), b"1.5"),
        (np.zeros((2, 0), np.int32), b"[[],[]]"),
        (np.arange(6).reshape(2, 3)[:, ::2], b"[[0,2],[3,5]]"),
        (np.arange(4).reshape(2, 2).T, b"[[0,2],[1,3]]"),
        (np.array([True, False]), b"[true,false]"),
        (np.array(["a", "é"]), '["a","é"]'.encode()),
        (np.array(["a", 1], object), b'["a",1]'),
        (np.str_("a"), b'"a"'),
        ((1, 2), b"[1,2]"),
        ({1: "a"}, b'{"1":"a"}'),
        (datetime.date(2020, 1, 2), b'"2020-01-02"'),
    ],
)
def test_numpy_and_everyday_values_are_written_natively(value: object, written: bytes) -> None:
    assert jsons.dumps(value) == written


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, 2**70, object(), np.array([b"x"], object), 1j, np.array([1j]), np.zeros(2, ">i4")]
)
def test_what_json_cannot_hold_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        jsons.dumps({"a": value})
