"""The documents that are read as JSON, and the form in which answers are written."""

import datetime
import gc
import json
import math
import re
from typing import Any

import numpy as np
import orjson
import pytest

from serving.base import json_codec
from serving.base.errors import BadInput


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
        json_codec.loads(body)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_part_that_is_not_json_is_named() -> None:
    with pytest.raises(BadInput, match="^the JSON header is not JSON: "):
        json_codec.loads(b"{", "the JSON header")


def test_more_arrays_than_memory_allows_are_refused_before_they_are_made() -> None:
    with pytest.raises(BadInput, match="holds 1000001 .* at most 1000000"):
        json_codec.loads((b"[" + b"[]," * (json_codec.MAX_CONTAINERS - 1) + b"{}]").ljust(16_000_000))
    with pytest.raises(BadInput, match="holds 1900001 .* at most 1000000"):
        json_codec.loads(b"[" + b"[]," * 1_899_999 + b"[]]")


def test_what_a_request_may_hold_has_few_enough_arrays() -> None:
    pixels = [[[128, 64, 8]] * 224] * 224
    pictures = json.dumps([pixels] * 19, separators=(",", ":")).encode()
    assert json_codec.loads(pictures)[18] == pixels
    points = json.dumps([[1, 2]] * 999_999, separators=(",", ":")).encode()
    assert len(json_codec.loads(points)) == 999_999
    rows = json.dumps([[[1], [2]]] * 65_536).encode()  # as many as max_rows_per_request can allow
    assert len(json_codec.loads(rows)) == 65_536


def test_a_large_document_is_read_without_the_collector_which_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    large = b"[" + b"[]," * json_codec.LARGE + b"1]"
    with monkeypatch.context() as patched:
        patched.setattr(orjson, "loads", lambda body: seen.append(gc.isenabled()))
        for document in (b"[]", large):
            json_codec.loads(document)
    assert (seen, gc.isenabled()) == ([True, False], True)
    with pytest.raises(BadInput):
        json_codec.loads(large[:-1])
    assert gc.isenabled()
    gc.disable()
    try:
        json_codec.loads(large)
        assert not gc.isenabled(), "somebody else had switched it off"
    finally:
        gc.enable()


def test_a_refused_body_is_not_kept_alive_by_its_error() -> None:
    with pytest.raises(BadInput) as caught:
        json_codec.loads(b"[1, 2")
    assert caught.value.__context__ is None


def test_json_is_read_from_bytes_and_from_views() -> None:
    document = b'{"a": [1, -2.5, true, null, "\xc3\xa9"]}'
    for body in (document, memoryview(document), memoryview(b"xx" + document + b"y")[2:-1]):
        assert json_codec.loads(body) == {"a": [1, -2.5, True, None, "é"]}


def test_the_last_of_two_equal_keys_counts() -> None:
    assert json_codec.loads(b'{"a": 1, "a": 2}') == {"a": 2}


def test_integers_over_64_bits_are_read_as_floats() -> None:
    assert json_codec.loads(b"[18446744073709551615, 18446744073709551616]") == [2**64 - 1, float(2**64)]


def test_nan_and_infinity_are_written_as_null() -> None:
    values = [math.nan, math.inf, -math.inf]
    for given in (values, np.array(values), np.array(values, np.float32), np.array(values, np.float16)):
        assert json_codec.dumps(given) == b"[null,null,null]"
    assert json_codec.dumps({"a": np.float32("nan"), "b": np.float64("inf")}) == b'{"a":null,"b":null}'


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
        (np.longlong(-3), b"-3"),
        (np.ulonglong(2**64 - 1), b"18446744073709551615"),
        (np.array(np.longlong(3)), b"3"),
        (np.array(["a"])[0], b'"a"'),
        (np.array("a"), b'"a"'),
        (np.longdouble(2.5), b"2.5"),
        (np.longdouble("inf"), b"null"),
        (np.array([2.5, np.nan], np.longdouble), b"[2.5,null]"),
        (np.arange(2, dtype=">f8")[1], b"1.0"),
        ([{"at": (np.longlong(1), [np.float16(0.5)])}], b'[{"at":[1,[0.5]]}]'),
        ({np.int64(1): {np.float64(0.5): [{np.bool_(True): "a", np.str_("b"): 2}]}}, b'{"1":{"0.5":[{"true":"a","b":2}]}}'),
        ((1, 2), b"[1,2]"),
        ({1: "a"}, b'{"1":"a"}'),
        (datetime.date(2020, 1, 2), b'"2020-01-02"'),
    ],
)
def test_numpy_and_everyday_values_are_written_natively(value: object, written: bytes) -> None:
    assert json_codec.dumps(value) == written


@pytest.mark.parametrize("code", np.typecodes["All"])
def test_every_kind_of_numpy_scalar_is_written_or_named(code: str) -> None:
    """numpy has types that differ in their C names alone, and a model's runtime may return any of them."""
    scalar = np.array(1, np.int64).astype(code)[()] if code != "V" else np.void(b"x")
    if code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?U":
        assert json.loads(json_codec.dumps([scalar])) == [scalar.item()]
        assert json.loads(json_codec.dumps(np.array([scalar, scalar]))) == [scalar.item()] * 2
    elif code not in "MO":  # a date is written in ISO 8601; an object is whatever it is
        with pytest.raises(TypeError, match=re.escape(type(scalar).__name__)):
            json_codec.dumps([scalar])


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"x", "bytes"),
        ({1, 2}, "set"),
        (2**70, "64-bit"),
        (object(), "object"),
        (np.array([b"x"], object), "bytes"),
        (1j, "complex"),
        (np.array([1j]), "complex128"),
        (np.array(1j), "complex128"),
        (np.timedelta64(1, "s"), "timedelta64"),
        (np.array([1], "m8[s]"), "timedelta64"),
        (np.zeros(2, ">i4"), "endian"),
        ({np.int64(1): b"x"}, "bytes"),
        ({b"x": 1}, "key"),
        ({np.complex64(1): 1}, "complex64"),
    ],
)
def test_what_json_cannot_hold_is_a_type_error_that_names_it(value: object, named: str) -> None:
    with pytest.raises(TypeError) as caught:
        json_codec.dumps({"a": value})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"results": [{"score": 1j}], "msg": ""}, "results[0].score: "),
        ({"results": {"by": {(1, 2): 3}}}, "results.by: "),
        ({"results": ([1, {np.int64(1): [b"x"]}],)}, "results[0][1].1[0]: "),
        (1j, ": JSON cannot hold"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_path(value: object, path: str) -> None:
    with pytest.raises(TypeError) as caught:
        json_codec.dumps(value)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize("levels", [300, 5000])
def test_more_levels_than_json_is_written_in_are_a_type_error(levels: int) -> None:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    with pytest.raises(TypeError, match="Recursion limit reached"):
        json_codec.dumps(value)
