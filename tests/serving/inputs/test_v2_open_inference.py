"""Version 2 requests that are right: byte-exact examples of the protocol, and the form of the arrays.

Version 2 answers: byte-exact, in JSON and in binary.
"""

import json
import struct

import numpy as np
import pytest

from serving.base.errors import BadInput, ModelFailed, TooLarge
from serving.inputs import v2_open_inference
from serving.inputs.v2_open_inference import InferRequest, RequestedOutput
from serving.models.tensors import Arrays, TensorSpec
from tests.serving.inputs.cases import body, is_fit, model, one, raw, same, tensor, text, with_tail

TWO = model(
    TensorSpec("a", "UINT32", (2, 2)),
    TensorSpec("b", "BOOL", (3,)),
    outputs=(TensorSpec("y", "FP32", (3, 2)), TensorSpec("z", "INT64", (3,))),
    batched=False,
)


def test_the_protocols_own_json_example_is_read() -> None:
    example = b"""{
      "id" : "42",
      "inputs" : [
        { "name" : "a", "shape" : [ 2, 2 ], "datatype" : "UINT32", "data" : [ 1, 2, 3, 4 ] },
        { "name" : "b", "shape" : [ 3 ], "datatype" : "BOOL", "data" : [ true, false, true ] }
      ],
      "outputs" : [ { "name" : "y" } ]
    }"""
    request = v2_open_inference.decode(example, None, TWO)
    assert request.id == "42"
    assert same(request.inputs["a"], np.array([[1, 2], [3, 4]], np.uint32))
    assert same(request.inputs["b"], np.array([True, False, True]))
    assert request.outputs == (RequestedOutput("y", False),)
    assert request.timeout_s is None
    assert TWO.rows(request.inputs) == 1


def test_the_binary_extensions_own_example_is_read() -> None:
    head = b"""{
      "inputs" : [
        { "name" : "a", "shape" : [ 2, 2 ], "datatype" : "UINT32", "parameters" : { "binary_data_size" : 16 } },
        { "name" : "b", "shape" : [ 3 ], "datatype" : "BOOL", "parameters" : { "binary_data_size" : 3 } }
      ],
      "outputs" : [ { "name" : "y", "parameters" : { "binary_data" : true } } ]
    }"""
    tail = b"\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0" + b"\x01\x00\x01"
    request = v2_open_inference.decode(head + tail, str(len(head)), TWO)
    assert same(request.inputs["a"], np.array([[1, 2], [3, 4]], np.uint32))
    assert same(request.inputs["b"], np.array([True, False, True]))
    assert request.outputs == (RequestedOutput("y", True),)


def test_json_and_binary_inputs_mix_in_any_order() -> None:
    head = body(raw(3, [3], "BOOL", "b"), tensor([1, 2, 3, 4], [2, 2], "UINT32", "a"))
    request = v2_open_inference.decode(*with_tail(head, b"\0\1\0"), TWO)
    assert list(request.inputs) == ["b", "a"]
    assert request.inputs["b"].tolist() == [False, True, False]
    assert request.inputs["a"].tolist() == [[1, 2], [3, 4]]


def test_nested_and_flat_data_are_the_same() -> None:
    spec = one("FP32", (-1, 2, 2))
    flat = v2_open_inference.decode(body(tensor([1, 2.5, 3, 4, 5, 6, 7, 8], [2, 2, 2])), None, spec)
    nested = v2_open_inference.decode(body(tensor([[[1, 2.5], [3, 4]], [[5, 6], [7, 8]]], [2, 2, 2])), None, spec)
    assert same(flat.inputs["x"], nested.inputs["x"])
    assert flat.inputs["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("datatype", "numbers"),
    [
        ("INT8", [-128, 127]),
        ("UINT8", [0, 255]),
        ("INT16", [-(2**15), 2**15 - 1]),
        ("UINT16", [0, 2**16 - 1]),
        ("INT32", [-(2**31), 2**31 - 1]),
        ("UINT32", [0, 2**32 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP32", [-3.4028234663852886e38, 1e-45]),
        ("FP64", [1.7976931348623157e308, 2**53]),
    ],
)
def test_a_datatypes_extremes_come_through_json_exactly(datatype: str, numbers: list[float]) -> None:
    request = v2_open_inference.decode(body(tensor(numbers, [1, 2], datatype)), None, one(datatype))
    assert request.inputs["x"].tolist() == [numbers] or datatype == "FP32"
    assert same(request.inputs["x"], np.array([numbers], request.inputs["x"].dtype))


def test_bytes_elements_are_a_length_and_their_bytes() -> None:
    tail = b"\x02\0\0\0ab" + b"\0\0\0\0" + b"\x03\0\0\0\xff\0\n"
    request = v2_open_inference.decode(*with_tail(body(raw(len(tail), [3, 1], "BYTES")), tail), one("BYTES", (-1, 1)))
    assert same(request.inputs["x"], text(b"ab", b"", b"\xff\0\n").reshape(3, 1))


def test_bytes_in_json_are_utf_8_strings() -> None:
    request = v2_open_inference.decode(body(tensor(["é", ""], [1, 2], "BYTES")), None, one("BYTES"))
    assert request.inputs["x"].tolist() == [["é".encode(), b""]]


def test_fp16_comes_as_binary_with_nan_and_infinity() -> None:
    tail = np.array([[np.nan, -np.inf]], "<f2").tobytes()
    request = v2_open_inference.decode(*with_tail(body(raw(4, [1, 2], "FP16")), tail), one("FP16"))
    assert request.inputs["x"].tobytes() == tail
    assert request.inputs["x"].dtype == np.float16


@pytest.mark.parametrize("padding", range(8))
def test_binary_arrays_are_aligned_wherever_the_json_ends(padding: int) -> None:
    numbers = np.arange(2.0).reshape(1, 2)
    head = body(raw(16, [1, 2], "FP64")) + b" " * padding
    array = v2_open_inference.decode(*with_tail(head, numbers.tobytes()), one("FP64")).inputs["x"]
    assert is_fit(array)
    assert same(array, numbers)


def test_aligned_binary_data_is_a_view_of_the_body() -> None:
    head = body(raw(2, [1, 2], "UINT8"))
    received, length = with_tail(head, b"\x07\x08")
    array = v2_open_inference.decode(received, length, one("UINT8")).inputs["x"]
    assert np.shares_memory(array, np.frombuffer(received, np.uint8))
    assert not array.flags.writeable


def test_a_view_of_a_body_is_read_like_bytes() -> None:
    received, length = with_tail(body(raw(8, [1, 2])), np.ones(2, "<f4").tobytes())
    assert v2_open_inference.decode(memoryview(received), length, one("FP32")).inputs["x"].tolist() == [[1, 1]]
    assert v2_open_inference.decode(memoryview(body(tensor([1, 1], [1, 2]))), None, one("FP32")).inputs["x"].tolist() == [
        [1, 1]
    ]


@pytest.mark.parametrize("length", ["{}", " {} ", "000{}"])
def test_a_length_header_that_covers_the_whole_body_is_all_json(length: str) -> None:
    received = body(tensor([1, 2], [1, 2]))
    assert v2_open_inference.decode(received, length.format(len(received)), one("FP32")).inputs["x"].tolist() == [[1, 2]]


def test_scalars_and_empty_tensors_have_data_of_their_size() -> None:
    assert v2_open_inference.decode(body(tensor([7], [], "INT32")), None, one("INT32", ())).inputs["x"].shape == ()
    assert v2_open_inference.decode(body(tensor([], [0, 2], "INT32")), None, one("INT32")).inputs["x"].shape == (0, 2)
    assert v2_open_inference.decode(body(tensor([[], []], [2, 0], "INT32")), None, one("INT32")).inputs["x"].shape == (2, 0)
    assert v2_open_inference.decode(*with_tail(body(raw(0, [0, 2], "BYTES")), b""), one("BYTES")).inputs["x"].shape == (0, 2)
    assert v2_open_inference.decode(*with_tail(body(raw(0, [0, 2])), b""), one("FP32")).inputs["x"].shape == (0, 2)


@pytest.mark.parametrize(
    ("fields", "outputs"),
    [
        ({}, [("y", False), ("z", False)]),
        ({"outputs": []}, [("y", False), ("z", False)]),
        ({"parameters": {"binary_data_output": True}}, [("y", True), ("z", True)]),
        ({"outputs": [{"name": "z"}, {"name": "y", "parameters": {"binary_data": True}}]}, [("z", False), ("y", True)]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
            },
            [("y", False), ("z", True)],
        ),
    ],
)
def test_each_output_is_binary_as_it_or_else_the_request_says(fields: dict[str, object], outputs: list[object]) -> None:
    inputs = (tensor([1, 2, 3, 4], [2, 2], "UINT32", "a"), tensor([True] * 3, [3], "BOOL", "b"))
    request = v2_open_inference.decode(body(*inputs, **fields), None, TWO)
    assert [(output.name, output.binary) for output in request.outputs] == outputs


def test_optional_fields_may_be_null_and_unknown_ones_are_ignored() -> None:
    nulls = {"id": None, "parameters": None, "outputs": None, "color": "red"}
    item = {**tensor([1, 2], [1, 2]), "parameters": None, "color": {}}
    request = v2_open_inference.decode(body(item, **nulls), None, one("FP32"))
    assert (request.id, request.timeout_s) == ("", None)


def test_the_timeout_is_microseconds_and_other_parameters_are_ignored() -> None:
    parameters = {"timeout": 1_500_000, "priority": 1, "sequence_id": 0, "mine": "x"}
    assert v2_open_inference.decode(body(tensor([1, 2], [1, 2]), parameters=parameters), None, one("FP32")).timeout_s == 1.5
    assert (
        v2_open_inference.decode(body(tensor([1, 2], [1, 2]), parameters={"timeout": 0}), None, one("FP32")).timeout_s is None
    )


def test_too_many_rows_are_refused_before_their_data_is_looked_at() -> None:
    received = body(tensor(["not", "numbers"], [10_000, 2]))
    with pytest.raises(TooLarge, match="'x' has 10000 rows; .* may have 256"):
        v2_open_inference.decode(received, None, one("FP32"), max_rows=256)
    assert v2_open_inference.decode(body(tensor([1] * 4, [2, 2])), None, one("FP32"), max_rows=2).inputs["x"].shape == (2, 2)


def test_a_model_without_rows_has_no_row_limit() -> None:
    spec = model(TensorSpec("x", "FP32", (-1,)), batched=False)
    assert v2_open_inference.decode(body(tensor([0] * 10, [10])), None, spec, max_rows=1).inputs["x"].shape == (10,)


def test_a_missing_input_is_found_by_the_models_spec() -> None:
    request = v2_open_inference.decode(body(tensor([True] * 3, [3], "BOOL", "b")), None, TWO)
    with pytest.raises(Exception, match="input 'a' of model m is missing"):
        TWO.rows(request.inputs)


def test_lengths_are_four_bytes_little_endian() -> None:
    tail = struct.pack("<I", 300) + b"x" * 300
    request = v2_open_inference.decode(*with_tail(body(raw(304, [1, 1], "BYTES")), tail), one("BYTES", (-1, 1)))
    assert request.inputs["x"].tolist() == [[b"x" * 300]]


def test_metadata_says_what_the_model_and_the_server_have() -> None:
    assert json.dumps(v2_open_inference.metadata(TWO, "onnxruntime_onnx")) == json.dumps(
        {
            "name": "m",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": "a", "datatype": "UINT32", "shape": [2, 2]},
                {"name": "b", "datatype": "BOOL", "shape": [3]},
            ],
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [3, 2]},
                {"name": "z", "datatype": "INT64", "shape": [3]},
            ],
        }
    )
    assert v2_open_inference.server_metadata("demo", "0.1") == {
        "name": "demo",
        "version": "0.1",
        "extensions": ["binary_tensor_data"],
    }
    assert v2_open_inference.server_metadata("demo", "0.1", "sha256:0a")["digest"] == "sha256:0a"


SPEC = one("FP32")


def answer(outputs: Arrays, *wanted: tuple[str, bool], id: str = "") -> tuple[bytes, int | None]:
    request = InferRequest(id, {}, tuple(RequestedOutput(name, binary) for name, binary in wanted), None)
    return v2_open_inference.encode(request, SPEC, "1", outputs)


def test_a_json_answer_is_flat_and_echoes_the_id() -> None:
    written, length = answer({"y": np.array([[1, 0.5]], np.float32)}, ("y", False), id="é42")
    assert length is None
    assert written.decode() == (
        '{"model_name":"m","model_version":"1",'
        '"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[1.0,0.5]}],"id":"é42"}'
    )


def test_a_binary_answer_is_its_json_and_then_its_bytes_in_order() -> None:
    outputs = {
        "a": np.array([1, -1], np.int16),
        "b": np.array([[True], [False]]),
        "c": text(b"\xff", b"").reshape(2, 1),
        "d": np.array([1.5], np.float16),
    }
    written, length = answer(outputs, ("c", True), ("a", True), ("b", False), ("d", True))
    head = (
        b'{"model_name":"m","model_version":"1","outputs":['
        b'{"name":"c","datatype":"BYTES","shape":[2,1],"parameters":{"binary_data_size":9}},'
        b'{"name":"a","datatype":"INT16","shape":[2],"parameters":{"binary_data_size":4}},'
        b'{"name":"b","datatype":"BOOL","shape":[2,1],"data":[true,false]},'
        b'{"name":"d","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}]}'
    )
    assert written == head + b"\1\0\0\0\xff\0\0\0\0" + b"\1\0\xff\xff" + b"\0\x3e"
    assert length == len(head)


def test_nan_and_infinity_are_null_in_json_and_themselves_in_binary() -> None:
    array = np.array([np.nan, np.inf, 1], np.float32)
    assert b'"data":[null,null,1.0]' in answer({"y": array}, ("y", False))[0]
    assert answer({"y": array}, ("y", True))[0].endswith(array.tobytes())


@pytest.mark.parametrize("binary", [False, True])
def test_arrays_of_any_layout_are_written_row_by_row(binary: bool) -> None:
    array = np.arange(6, dtype=np.int64).reshape(3, 2)
    for layout in (array.T, array[:, ::2], array[::-1], np.array(5), np.zeros((0, 3), np.int64)):
        written, length = answer({"y": layout}, ("y", binary))
        plain = np.array(layout, order="C")
        assert (written, length) == answer({"y": plain}, ("y", binary))
        assert str(list(layout.shape)).replace(" ", "").encode() in written
        assert not binary or written[length:] == plain.tobytes()


@pytest.mark.parametrize("array", [np.array(["é", ""], object), np.array(["é", ""]), text("é".encode(), b"")])
def test_strings_of_every_kind_are_bytes(array: np.ndarray[tuple[int], np.dtype[np.object_]]) -> None:
    assert '"datatype":"BYTES","shape":[2],"data":["é",""]'.encode() in answer({"y": array}, ("y", False))[0]
    assert answer({"y": array}, ("y", True))[0].endswith(b"\2\0\0\0\xc3\xa9\0\0\0\0")


def test_bytes_that_are_not_utf_8_must_be_asked_for_as_binary() -> None:
    with pytest.raises(BadInput, match="^output 'y' .* not UTF-8"):
        answer({"y": text(b"a", b"\xff")}, ("y", False))


def test_an_output_that_the_model_did_not_give_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed, match="model m gave no output 'y'"):
        answer({}, ("y", False))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", ">f4"])
def test_an_output_without_a_datatype_is_the_models_failure(dtype: str) -> None:
    with pytest.raises(ModelFailed, match="output 'y' .* has no datatype for"):
        answer({"y": np.zeros(2, dtype)}, ("y", True))
