"""Version 2 requests that are wrong: each is a BadInput whose words say what is allowed."""

import json
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput
from serving.inputs import v2_open_inference
from serving.models.tensors import ModelSpec, TensorSpec
from tests.serving.inputs.cases import body, model, one, raw, tensor, with_tail

X = tensor([1, 2], [1, 2])
FP16_OUT = model(TensorSpec("x", "FP32", (-1, 2)), outputs=(TensorSpec("y", "FP16", (-1,)), TensorSpec("z", "FP32", (-1,))))


def refusal(received: bytes, header_length: str | None = None, spec: ModelSpec | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        v2_open_inference.decode(received, header_length, spec or one("FP32"))
    assert len(str(caught.value)) < 400
    return str(caught.value)


def changed(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An input with other fields; None takes one away."""
    return {key: value for key, value in {**item, **fields}.items() if value is not None}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "the request must be an object, not an array"),
        ("a" * 10_000, "the request must be an object, not 'aaa"),
        (None, "the request must be an object, not null"),
        ({}, "the request has no 'inputs'; it must be an array"),
        ({"inputs": None}, "the request has no 'inputs'"),
        ({"inputs": []}, "'inputs' is empty; model m takes x"),
        ({"inputs": {}}, "'inputs' of the request must be an array, not an object"),
        ({"inputs": [7]}, "inputs[0] must be an object, not 7"),
        ({"inputs": [{}]}, "inputs[0] has no 'name'; it must be a string"),
        ({"inputs": [{"name": 1}]}, "'name' of inputs[0] must be a string, not 1"),
        ({"inputs": [X, X]}, "input 'x' is given twice"),
        ({"inputs": [{"name": "w"}]}, "model m has no input 'w'; its inputs are x"),
        ({"inputs": [X], "id": 5}, "'id' of the request must be a string, not 5"),
        ({"inputs": [X], "parameters": []}, "'parameters' of the request must be an object, not an array"),
        ({"inputs": [X], "parameters": {"binary_data_output": 1}}, "'binary_data_output' of the request's parameters must be"),
        ({"inputs": [X], "parameters": {"timeout": "1"}}, "'timeout' of the request's parameters must be a whole number"),
        ({"inputs": [X], "parameters": {"timeout": True}}, "must be a whole number, not true"),
        ({"inputs": [X], "parameters": {"timeout": -1}}, "must be microseconds from 0 on, not -1"),
        ({"inputs": [X], "parameters": {"sequence_id": 3}}, "this server keeps no state between requests"),
        ({"inputs": [X], "outputs": "y"}, "'outputs' of the request must be an array, not 'y'"),
        ({"inputs": [X], "outputs": ["y"]}, "outputs[0] must be an object, not 'y'"),
        ({"inputs": [X], "outputs": [{}]}, "outputs[0] has no 'name'"),
        ({"inputs": [X], "outputs": [{"name": []}]}, "'name' of outputs[0] must be a string, not an array"),
        ({"inputs": [X], "outputs": [{"name": "w"}]}, "model m has no output 'w'; its outputs are y"),
        ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y' is asked for twice"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": 1}]}, "'parameters' of outputs[0] must be an object, not 1"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "must be true or false, not 'yes'"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "'classification' of outputs[0]"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "of outputs[0] is not"),
    ],
)
def test_a_request_with_a_wrong_field_is_told_which_and_what_it_may_be(request_: object, words: str) -> None:
    assert words in refusal(json.dumps(request_).encode())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"datatype": None}, "input 'x' has no 'datatype'"),
        ({"datatype": 32}, "'datatype' of input 'x' must be a string, not 32"),
        ({"datatype": "FP64"}, "input 'x' must be FP32, not 'FP64'"),
        ({"datatype": "BF16"}, "input 'x' must be FP32, not 'BF16'"),
        ({"datatype": "fp32"}, "input 'x' must be FP32, not 'fp32'"),
        ({"shape": None}, "input 'x' has no 'shape'; it must be an array"),
        ({"shape": 2}, "'shape' of input 'x' must be an array, not 2"),
        ({"shape": ["2"]}, "the shape of input 'x' must be whole numbers from 0 on, not '2'"),
        ({"shape": [True, 2]}, "must be whole numbers from 0 on, not true"),
        ({"shape": [1.0, 2]}, "must be whole numbers from 0 on, not 1.0"),
        ({"shape": [-1, 2]}, "must be whole numbers from 0 on, not -1"),
        ({"shape": [[1], 2]}, "must be whole numbers from 0 on, not an array"),
        ({"shape": [10**30]}, "must be whole numbers from 0 on, not 1e+30"),
        ({"shape": [2**63, 2**63]}, "is too large; at most 1099511627776 elements"),
        ({"shape": [0, 2**62, 2**62]}, "is too large"),
        ({"shape": [2**32, 2**32]}, "is too large"),  # 2**64 is 0 in 64 bits
        ({"shape": [1] * 33}, "has 33 dimensions; at most 32 are supported"),
        ({"shape": [10**9]}, "input 'x' has 2 values; its shape [1000000000] holds 1000000000"),
        ({"shape": [1, 3]}, "input 'x' has 2 values; its shape [1, 3] holds 3"),
        ({"shape": []}, "input 'x' has 2 values; its shape [] holds 1"),
        ({"data": None}, "input 'x' has no 'data'; it must be an array"),
        ({"data": 5}, "'data' of input 'x' must be an array, not 5"),
        ({"data": {}}, "'data' of input 'x' must be an array, not an object"),
        ({"data": [1, "2"]}, "input 'x' is FP32, which takes numbers from -3.40282e+38 to 3.40282e+38; value 1 is '2'"),
        ({"data": [1, True]}, "value 1 is true"),
        ({"data": [None, 1]}, "value 0 is null"),
        ({"data": [1, [2]]}, "value 1 is an array"),
        ({"data": [1, 1e39]}, "value 1 is 1e+39"),
        ({"data": [-(10**100), 1]}, "value 0 is -1e+100"),
        ({"data": [[1, 2], 3]}, "the data of input 'x' is ragged or not of shape [1, 2]: an array of 2 at level 0"),
        ({"data": [[1, 2, 3]]}, "an array of 3 at level 1, not an array of 2"),
        ({"data": [[[1], [2]]]}, "value 0 is an array"),
        ({"data": [[1, 2], [3]], "shape": [2, 2]}, "ragged or not of shape [2, 2]: an array of 1 at level 1"),
        ({"data": [[1, 2], 3], "shape": [2, 2]}, "ragged or not of shape [2, 2]: 3 at level 1, not an array of 2"),
        ({"parameters": []}, "'parameters' of input 'x' must be an object"),
        ({"parameters": {"shared_memory_region": "r"}}, "'shared_memory_region' of input 'x' is not supported"),
        ({"parameters": {"shared_memory_byte_size": 1}}, "send and ask for the data in the body"),
        ({"parameters": {"binary_data_size": 8}}, "input 'x' has both 'data' and 'binary_data_size'"),
        ({"parameters": {"binary_data_size": 8}, "data": None}, "is 8, but 0 bytes are left of the 0 after the JSON"),
        ({"parameters": {"binary_data_size": "8"}}, "of the parameters of input 'x' must be a whole number, not '8'"),
        ({"parameters": {"binary_data_size": True}}, "must be a whole number, not true"),
        ({"parameters": {"binary_data_size": 8.0}}, "must be a whole number, not 8.0"),
        ({"parameters": {"binary_data_size": -1}}, "must be bytes from 0 on, not -1"),
    ],
)
def test_an_input_with_a_wrong_field_is_told_which_and_what_it_may_be(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(body(changed(X, **fields)))


@pytest.mark.parametrize(
    ("datatype", "value", "words"),
    [
        ("INT8", 128, "input 'x' is INT8, which takes whole numbers from -128 to 127, without a decimal point; value 1 is 128"),
        ("UINT8", -1, "whole numbers from 0 to 255, without a decimal point; value 1 is -1"),
        ("INT32", 2**31, "value 1 is 2147483648"),
        ("INT64", 2**63, "from -9223372036854775808 to 9223372036854775807"),
        ("INT64", -(2**63) - 1, "value 1 is -9.223372036854776e+18"),
        ("UINT64", 2**64, "value 1 is 1.8446744073709552e+19"),
        ("INT32", 10**300, "value 1 is 1e+300"),
        ("INT32", 1.5, "value 1 is 1.5"),
        ("INT32", 1.0, "without a decimal point; value 1 is 1.0"),
        ("INT32", True, "value 1 is true"),
        ("INT32", "1", "value 1 is '1'"),
        ("BOOL", 1, "input 'x' is BOOL, which takes true and false; value 1 is 1"),
        ("BOOL", "true", "value 1 is 'true'"),
        ("BYTES", 1, "input 'x' is BYTES, which takes strings; value 1 is 1"),
        ("BYTES", {"b64": "YQ=="}, "value 1 is an object"),
    ],
)
def test_a_value_that_the_datatype_cannot_hold_is_shown_with_what_it_can(datatype: str, value: object, words: str) -> None:
    good = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    assert words in refusal(body(tensor([good, value], [1, 2], datatype)), spec=one(datatype))


def test_nan_in_json_is_refused_with_its_place() -> None:
    assert "JSON has no NaN or Infinity" in refusal(body(tensor([float("nan"), 1], [1, 2])))


def test_fp16_in_json_is_refused_with_the_cure_both_ways() -> None:
    assert "send it as binary data" in refusal(body(tensor([1, 2], [1, 2], "FP16")), spec=one("FP16"))
    assert "output 'y' is FP16, which JSON cannot" in refusal(body(X), spec=FP16_OUT)
    assert v2_open_inference.decode(body(X, parameters={"binary_data_output": True}), None, FP16_OUT).outputs[0].binary
    assert v2_open_inference.decode(body(X, outputs=[{"name": "z"}]), None, FP16_OUT).outputs[0].name == "z"


@pytest.mark.parametrize("length", ["", "x", "-1", "+5", "1.5", "1e2", "0x10", "٣", "1 2", "9" * 19, "9" * 5000, "\0"])
def test_a_header_length_that_is_no_number_of_the_body_is_refused(length: str) -> None:
    assert "Inference-Header-Content-Length" in refusal(body(X), length)


def test_a_header_length_outside_the_body_says_what_it_may_be() -> None:
    size = len(body(X))
    for length in (0, size + 1):
        assert f"is {length}; it must be from 1 to the body's {size} bytes" in refusal(body(X), str(length))


def test_a_header_length_inside_the_json_is_refused_wherever_it_points() -> None:
    received = body(X)
    for length in range(1, len(received)):
        assert refusal(received, str(length)).startswith("the JSON header is not JSON: ")


def test_a_header_length_that_reaches_into_the_binary_data_is_refused() -> None:
    received, length = with_tail(body(raw(8, [1, 2])), np.ones(2, "<f4").tobytes())
    assert refusal(received, str(int(length) + 1)).startswith("the JSON header is not JSON: ")


@pytest.mark.parametrize(
    ("size", "tail", "words"),
    [
        (8, 7, "'binary_data_size' of input 'x' is 8, but 7 bytes are left of the 7 after the JSON"),
        (2**62, 8, "is 4611686018427387904, but 8 bytes are left"),
        (8, 9, "9 bytes follow the JSON, but the inputs' 'binary_data_size' add up to 8"),
        (7, 7, "input 'x' has 7 bytes of binary data; FP32 of shape [1, 2] takes 8"),
        (0, 0, "input 'x' has 0 bytes of binary data; FP32 of shape [1, 2] takes 8"),
    ],
)
def test_binary_sizes_must_add_up(size: int, tail: int, words: str) -> None:
    assert words in refusal(*with_tail(body(raw(size, [1, 2])), bytes(tail)))


def test_bytes_after_a_request_without_binary_inputs_are_refused() -> None:
    assert "'binary_data_size' add up to 0" in refusal(*with_tail(body(X), b"abc"))


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\1\0\0",
        b"\1\0\0\0a",
        b"\1\0\0\0a\1\0\0\0",
        b"\1\0\0\0a\1\0\0\0bc",
        b"\xff\xff\xff\xffa\0\0\0\0",
        b"\1\0\0\0a\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
    ],
)
def test_bytes_elements_that_do_not_fill_their_size_are_refused(tail: bytes) -> None:
    words = refusal(*with_tail(body(raw(len(tail), [1, 2], "BYTES")), tail), one("BYTES"))
    assert f"'x' is BYTES with {len(tail)} bytes of binary data" in words


def test_bytes_elements_cannot_reach_into_the_next_input() -> None:
    spec = model(TensorSpec("x", "BYTES", (-1,)), TensorSpec("w", "UINT8", (-1,)))
    head = body(raw(5, [1], "BYTES"), raw(3, [3], "UINT8", "w"))
    assert "input 'x' is BYTES with 5 bytes" in refusal(*with_tail(head, b"\4\0\0\0abcd"), spec)


def test_booleans_in_binary_are_zero_or_one() -> None:
    assert "takes the bytes 0 and 1" in refusal(*with_tail(body(raw(2, [1, 2], "BOOL")), b"\1\2"), one("BOOL"))


def test_a_name_of_a_megabyte_makes_no_message_of_a_megabyte() -> None:
    refusal(body(tensor([1, 2], [1, 2], name="n" * 1_000_000)))
    refusal(body(tensor([1, 2], [1, 2], "d" * 1_000_000)))
    refusal(body(tensor(["s" * 1_000_000, 2], [1, 2])))
    refusal(body(X, outputs=[{"name": "o" * 1_000_000}]))
    refusal(body(X, parameters={"shared_memory" + "p" * 1_000_000: 1}))
