"""Clients' mistakes over sockets: each gets a 4xx of one form that says what is wrong, and the service works on."""

import json
import struct
import zlib
from typing import Any

import pytest

from serving.models.tensors import DATATYPES
from tests.running import Running, get, post_json
from tests.serving.web.test_app import COFFEE, JPEG, JSON, ask, form

OWN = "/api/demo"
INFER = "/v2/models/demo/infer"
PREDICT = "/v1/models/demo:predict"


def png(width: int, height: int) -> bytes:
    """A PNG of zeros, whatever its size in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(min(width * height * 3 + height, 50_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def in_json(**fields: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(fields).encode(), JSON


NESTED = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
TWICE = form(("image.jpg", COFFEE), ("image.jpg", COFFEE))
CALLS: dict[str, tuple[str, str, bytes | None, dict[str, str], int, str]] = {
    "no such route": ("GET", "/nowhere", None, {}, 404, "/openapi.json lists the routes"),
    "no such model": ("GET", "/v2/models/cat", None, {}, 404, "the models are demo"),
    "no such version": ("POST", "/v2/models/demo/versions/9/infer", b"{}", JSON, 404, "its only version is 1"),
    "wrong method": ("DELETE", OWN, None, {}, 405, "/openapi.json lists the routes"),
    "no content type": ("POST", OWN, COFFEE, {}, 415, "it may be application/json, multipart/form-data, image/*"),
    "curl -d": ("POST", OWN, b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "curl -d sends"),
    "text": ("POST", OWN, b"hello", {"Content-Type": "text/plain"}, 415, "'text/plain' is not taken"),
    "zipped": ("POST", OWN, b"\x1f\x8b", JPEG | {"Content-Encoding": "gzip"}, 415, "send the body as it is"),
    "tensors as text": ("POST", INFER, b"{}", {"Content-Type": "text/plain"}, 415, "application/octet-stream"),
    "no body": ("POST", OWN, b"", JPEG, 400, "the body is empty"),
    "nothing at all": ("POST", OWN, None, {}, 400, "no picture in the request; send one"),
    "no picture": ("POST", OWN, *in_json(postid=1), 400, "no picture in the request"),
    "cut picture": ("POST", OWN, COFFEE[:20_000], JPEG, 400, "JPEG"),
    "not a picture": ("POST", OWN, b"x" * 1000, JPEG, 400, "picture"),
    "bomb": ("POST", OWN, png(20_000, 20_000), {"Content-Type": "image/png"}, 413, "over the limit of 50000000"),
    "lying picture": ("POST", OWN, png(7_000, 7_000)[:-1000], {"Content-Type": "image/png"}, 400, "PNG"),
    "url": ("POST", OWN, *in_json(image="http://example.com/a.jpg"), 400, "fetch_hosts"),
    "not base64": ("POST", OWN, *in_json(image="?!"), 400, "neither base64 nor an http(s) URL"),
    "image of a number": ("POST", OWN, *in_json(image=5), 400, "image is a number"),
    "id of a list": ("POST", OWN, *in_json(image="aGk=", postid=[1]), 400, "postid is an array"),
    "two pictures": ("POST", OWN, *TWICE, 400, "holds 2 pictures; send one"),
    "empty form": ("POST", OWN, *form(), 400, "the form has no parts"),
    "no boundary": ("POST", OWN, TWICE[0], {"Content-Type": "multipart/form-data"}, 400, "boundary"),
    "many parts": ("POST", OWN, *form(*[(f"x{i}", b"") for i in range(200)]), 413, ""),
    "an array": ("POST", OWN, b"[1]", JSON, 400, "send an object"),
    "NaN": ("POST", OWN, b'{"data":[NaN]}', JSON, 400, "JSON has no NaN"),
    "not json": ("POST", OWN, b'{"data":', JSON, 400, "is not JSON"),
    "not utf-8": ("POST", OWN, b'{"data":"\xff"}', JSON, 400, "byte 9 is not UTF-8"),
    "deep": ("POST", OWN, NESTED, JSON, 400, "is not JSON"),
    "deep in v2": ("POST", INFER, NESTED, JSON, 400, "is not JSON"),
    "deep in v1": ("POST", PREDICT, NESTED, JSON, 400, "is not JSON"),
    "no rows": ("POST", PREDICT, *in_json(instances=[]), 400, "send one row or more"),
    "no inputs": ("POST", INFER, *in_json(inputs=[]), 400, "takes images"),
    "header length": ("POST", INFER, b"{}", JSON | {"Inference-Header-Content-Length": "x"}, 400, "a whole number"),
    "long header": ("POST", INFER, b"{}", JSON | {"Inference-Header-Content-Length": "9"}, 400, "from 1 to the body's 2"),
}


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "words"), CALLS.values(), ids=CALLS)
def test_a_refusal_is_json_that_says_why_and_what_to_do(
    demo: Running, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, words: str
) -> None:
    found, answered, text = ask(demo, method, path, body, headers)
    answer = json.loads(text)
    assert found == status, answer
    assert words in answer["error"]
    assert set(answer) == {"error", "msg", "reason", "request_id"}
    assert answer["error"] == answer["msg"]
    assert len(answer["error"]) < 500
    assert answered["content-type"] == "application/json"
    assert answered["x-request-id"] == answer["request_id"]
    reasons = {400: "bad_input", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "wrong_content_type"}
    assert answer["reason"] == reasons[status]


def test_a_405_lists_the_methods_that_there_are(demo: Running) -> None:
    assert set(ask(demo, "DELETE", OWN)[1]["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert set(ask(demo, "GET", INFER)[1]["allow"].split(", ")) == {"OPTIONS", "POST"}


def test_rows_over_the_limit_are_a_413_in_every_protocol(digits: Running) -> None:
    rows = [[[[0] * 8] * 8]] * 10_000
    calls: dict[str, object] = {
        "/api/small": {"data": rows},
        "/v1/models/small:predict": {"instances": rows},
        "/v2/models/small/infer": {
            "inputs": [{"name": "images", "datatype": "FP32", "shape": [10_000, 1, 8, 8], "data": [0] * 640_000}]
        },
    }
    for path, call in calls.items():
        status, answer = post_json(digits.url + path, call)
        assert (status, answer["reason"]) == (413, "too_large")
        assert "10000 rows" in answer["error"]


ROW = [[[0.5] * 8] * 8]
WRONG_DATA: dict[str, tuple[Any, str]] = {
    "none": (None, "no data in the request"),
    "empty": ([], "shape"),
    "a text": ("hello", "FP32, which takes numbers"),
    "texts": ([[[["a"] * 8] * 8]], "value 0 is 'a'"),
    "a bool": ([[[[True] * 8] * 8]], "value 0 is true"),
    "null": ([[[[None] * 8] * 8]], "value 0 is null"),
    "too large": ([[[[1e300] * 8] * 8]], "value 0 is 1e+300"),
    "huge": ([[[[10**400] * 8] * 8]], "number"),
    "ragged": ([ROW, [[[0.5] * 7] * 8]], "ragged or not of shape [2, 1, 8, 8]: an array of 7 at level 3"),
    "other rank": ([[0.5] * 64], "must have shape [-1, 1, 8, 8]"),
    "other size": ([[[[0.5] * 9] * 8]], "must have shape [-1, 1, 8, 8]"),
    "deep": (json.loads("[" * 500 + "]" * 500), "has 500 dimensions"),
    "unknown input": ({"pictures": [ROW]}, "data names the inputs 'pictures'; the model's are images"),
    "objects": ([{"a": 1}], "value 0 is an object"),
}


@pytest.mark.parametrize(("data", "words"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_data_that_the_model_cannot_take_is_told_to_the_value(digits: Running, data: Any, words: str) -> None:
    status, answer = post_json(digits.url + "/api/small", {"data": data})
    assert status == 400
    assert words in answer["error"]


def test_rows_without_names_are_refused_where_the_model_has_several_inputs(tensors: Running) -> None:
    status, answer = post_json(tensors.url + "/api/tensors", {"data": [[0, 1, 2]]})
    assert status == 400
    assert answer["error"].startswith("data must be a table with rows for ")
    assert "bool_in" in answer["error"]


def test_whole_numbers_of_every_width_keep_their_range(tensors: Running) -> None:
    good: dict[str, Any] = {f"{name.lower()}_in": [[0, 1, 2]] for name in DATATYPES}
    good |= {"bool_in": [[True, False, True]], "bytes_in": [["a", "é", ""]], "uint64_in": [[2**64 - 1, 0, 1]]}
    status, answer = post_json(tensors.url + "/api/tensors", {"data": good})
    assert status == 200
    assert answer["results"] == {name.replace("_in", "_out"): rows for name, rows in good.items()}
    wrong: dict[str, Any] = {"uint8_in": 256, "int8_in": -129, "uint64_in": -1, "int64_in": 2**63, "int32_in": 0.5}
    wrong |= {"bool_in": 1, "fp16_in": 70_000, "bytes_in": 5}
    for name, value in wrong.items():
        status, answer = post_json(tensors.url + "/api/tensors", {"data": good | {name: [[value] * 3]}})
        assert status == 400, name
        assert f"value 0 is {json.dumps(value)}" in answer["error"]


def test_a_gateways_own_headers_do_no_harm(demo: Running) -> None:
    odd = {"X-Request-Timeout-Ms": "-1", "traceparent": "x" * 5000, "X-Forwarded-For": "::::", "Cookie": "a" * 9000}
    assert ask(demo, "POST", OWN, COFFEE, JPEG | odd)[0] == 200
    assert get(demo.url + "/status?" + "a=b&" * 5000)[0] == 200


def test_paths_of_any_bytes_are_a_404(demo: Running) -> None:
    for path in ("/%00", "/%ff%fe", "/..%2f..%2fetc", "//x", "/v2/models/%F0%9F%90%88", "/api/demo/x" + "y" * 4000, "/a;b?c"):
        status, _, text = ask(demo, "GET", path)
        assert (status, json.loads(text)["reason"]) == (404, "not_found"), path


def test_a_path_of_more_bytes_than_are_taken_is_a_431(demo: Running) -> None:
    status, _, text = ask(demo, "GET", "/api/demo/x" + "y" * 9000)
    assert (status, json.loads(text)["reason"]) == (431, "head_too_large")
