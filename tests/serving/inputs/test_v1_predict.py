"""TensorFlow Serving's :predict, by row and by column, with one tensor and with several."""

import json
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput, ModelFailed, TooLarge
from serving.inputs import v1_predict
from serving.models.tensors import Arrays, ModelSpec, TensorSpec
from tests.serving.inputs.cases import model, one, same, text

TAGS = model(
    TensorSpec("tag", "BYTES", (-1,)),
    TensorSpec("signal", "INT32", (-1, 2)),
    outputs=(TensorSpec("y", "FP32", (-1, 2)), TensorSpec("image_bytes", "BYTES", (-1,))),
)


def decode(request: Any, spec: ModelSpec, max_rows: int | None = None) -> v1_predict.PredictRequest:
    return v1_predict.decode(json.dumps(request).encode(), spec, max_rows)


def refusal(request: Any, spec: ModelSpec) -> str:
    with pytest.raises(BadInput) as caught:
        decode(request, spec)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_rows_of_one_input_are_a_list_of_values() -> None:
    request = decode({"instances": [[1, 2], [3, 4.5]]}, one("FP32"))
    assert request.rows == 2
    assert same(request.inputs["x"], np.array([[1, 2], [3, 4.5]], np.float32))
    assert same(decode({"instances": [1, 2]}, one("INT64", (-1,))).inputs["x"], np.array([1, 2]))


def test_rows_of_one_input_may_name_it() -> None:
    assert decode({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, one("FP32")).inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_rows_of_several_inputs_name_each() -> None:
    rows = [{"tag": "a", "signal": [1, 2]}, {"signal": [3, 4], "tag": {"b64": "/w=="}}]
    request = decode({"signature_name": "serving_default", "instances": rows}, TAGS)
    assert same(request.inputs["tag"], text(b"a", b"\xff"))
    assert same(request.inputs["signal"], np.array([[1, 2], [3, 4]], np.int32))
    assert TAGS.rows(request.inputs) == 2


def test_columns_are_whole_tensors_named_or_of_the_only_input() -> None:
    request = decode({"inputs": {"tag": ["a", "b"], "signal": [[1, 2], [3, 4]]}}, TAGS)
    assert request.rows is None
    assert TAGS.rows(request.inputs) == 2
    assert decode({"inputs": [[1, 2]]}, one("FP32")).inputs["x"].tolist() == [[1, 2]]
    assert decode({"inputs": {"x": [[1, 2]]}}, one("FP32")).inputs["x"].tolist() == [[1, 2]]
    assert decode({"inputs": 7}, one("FP32", ())).inputs["x"].shape == ()


def test_base64_carries_any_bytes() -> None:
    expected = text(b"\x00\xff", b"")
    rows = [{"b64": "AP8="}, {"b64": ""}]
    assert same(decode({"instances": rows}, one("BYTES", (-1,))).inputs["x"], expected)
    assert same(decode({"inputs": rows}, one("BYTES", (-1,))).inputs["x"], expected)
    assert same(decode({"inputs": rows[0]}, one("BYTES", ())).inputs["x"], expected[0:1].reshape(()))


def test_fp16_is_read_and_written_as_numbers_for_there_is_no_binary_here() -> None:
    request = decode({"instances": [[1, 65504]]}, one("FP16"))
    assert same(request.inputs["x"], np.array([[1, 65504]], np.float16))
    assert v1_predict.encode(request, one("FP16"), {"y": request.inputs["x"]}) == b'{"predictions":[[1.0,65504.0]]}'
    assert "value 1 is 65536" in refusal({"instances": [[1, 65536]]}, one("FP16"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "the request must be an object, not an array"),
        ({}, "must have 'instances' (rows) or 'inputs' (whole tensors), and not both"),
        ({"instances": [1], "inputs": [1]}, "and not both"),
        ({"instances": []}, "'instances' is empty: send one row or more"),
        ({"instances": {}}, "'instances' of the request must be an array, not an object"),
        ({"instances": "abc"}, "'instances' of the request must be an array, not 'abc'"),
        ({"instances": None}, "the request has no 'instances'"),
        ({"instances": [[1, 2]], "signature_name": "other"}, "must be 'serving_default' or left out, not 'other'"),
        ({"instances": [[1, 2]], "signature_name": 1}, "'signature_name' of the request must be a string, not 1"),
        ({"instances": [[1, 2], [3]]}, "the data of input 'x' is ragged or not of shape [2, 2]: an array of 1 at level 1"),
        ({"instances": [[1, 2], 3]}, "ragged or not of shape [2, 2]: 3 at level 1, not an array of 2"),
        ({"instances": [[1, 2], [3, [4]]]}, "value 3 is an array"),
        ({"instances": [[1, 2], {"x": [3, 4]}]}, "ragged or not of shape [2, 2]: an object at level 1"),
        ({"instances": [{"x": [1, 2]}, [3, 4]]}, "instances[1] must be an object, not an array"),
        ({"instances": [{"x": [1, 2]}, {}]}, "instances[1] has other inputs than instances[0]"),
        ({"instances": [{"w": [1, 2]}]}, "model m has no input 'w'; its inputs are x"),
        ({"instances": [["a", "b"]]}, "input 'x' is FP32, which takes numbers"),
        ({"instances": [[True, 1]]}, "value 0 is true"),
        ({"instances": [[None, 1]]}, "value 0 is null"),
        ({"instances": [None]}, "value 0 is null"),
        ({"instances": [{"b64": "AA=="}]}, "input 'x' is FP32, which takes numbers"),
        ({"inputs": {"w": 1}}, "model m has no input 'w'; its inputs are x"),
        ({"inputs": {"x": {"y": 1}}}, "value 0 is an object"),
        ({"inputs": "abc"}, "value 0 is 'abc'"),
        ({"inputs": None}, "value 0 is null"),
        ({"inputs": json.loads("[" * 40 + "1" + "]" * 40)}, "has 40 dimensions; at most 32 are supported"),
    ],
)
def test_a_wrong_request_is_told_what_it_may_be(request_: object, words: str) -> None:
    assert words in refusal(request_, one("FP32"))


def test_values_without_a_name_are_refused_where_there_are_several_inputs() -> None:
    for key in ("instances", "inputs"):
        words = refusal({key: [[1, 2]]}, TAGS)
        assert f"'{key}' must be an object" in words
        assert "names tag, signal" in words


@pytest.mark.parametrize("value", ["x", "AP8", "A P8=", "é", 5, None, ["AP8="]])
def test_a_text_that_is_not_base64_is_refused(value: object) -> None:
    assert "'b64'" in refusal({"instances": [{"b64": value}]}, one("BYTES", (-1,)))


def test_too_many_rows_are_refused() -> None:
    for request in ({"instances": [[1, 2]] * 3}, {"inputs": [[1, 2]] * 3}, {"instances": [{"x": [1, 2]}] * 3}):
        with pytest.raises(TooLarge, match="'x' has 3 rows; .* may have 2"):
            decode(request, one("FP32"), max_rows=2)


def test_a_body_that_is_not_json_is_refused() -> None:
    with pytest.raises(BadInput, match="JSON has no NaN or Infinity"):
        v1_predict.decode(b'{"instances": [NaN]}', one("FP32"))


OUTPUTS: Arrays = {"y": np.array([[1, np.nan], [0.5, 2]], np.float32), "image_bytes": text(b"\xff", b"a")}


def test_one_output_is_answered_without_its_name() -> None:
    assert (
        v1_predict.encode(v1_predict.PredictRequest({}, 2), one("FP32"), OUTPUTS) == b'{"predictions":[[1.0,null],[0.5,2.0]]}'
    )
    assert v1_predict.encode(v1_predict.PredictRequest({}, None), one("FP32"), OUTPUTS) == b'{"outputs":[[1.0,null],[0.5,2.0]]}'


def test_several_outputs_are_named_by_row_or_by_column() -> None:
    assert v1_predict.encode(v1_predict.PredictRequest({}, 2), TAGS, OUTPUTS) == (
        b'{"predictions":[{"y":[1.0,null],"image_bytes":{"b64":"/w=="}},{"y":[0.5,2.0],"image_bytes":{"b64":"YQ=="}}]}'
    )
    assert v1_predict.encode(v1_predict.PredictRequest({}, None), TAGS, OUTPUTS) == (
        b'{"outputs":{"y":[[1.0,null],[0.5,2.0]],"image_bytes":[{"b64":"/w=="},{"b64":"YQ=="}]}}'
    )


def test_strings_are_answered_nested_as_their_tensor_is() -> None:
    spec = one("FP32")
    strings = text(b"a", b"b", b"c", "é".encode()).reshape(2, 1, 2)
    assert (
        v1_predict.encode(v1_predict.PredictRequest({}, 2), spec, {"y": strings})
        == '{"predictions":[[["a","b"]],[["c","é"]]]}'.encode()
    )
    assert v1_predict.encode(v1_predict.PredictRequest({}, None), spec, {"y": text(b"a").reshape(())}) == b'{"outputs":"a"}'
    assert v1_predict.encode(v1_predict.PredictRequest({}, None), spec, {"y": text().reshape(0, 2)}) == b'{"outputs":[]}'
    assert v1_predict.encode(v1_predict.PredictRequest({}, 2), spec, {"y": text().reshape(2, 0)}) == b'{"predictions":[[],[]]}'


def test_strings_that_are_not_utf_8_are_refused_with_the_cure() -> None:
    with pytest.raises(BadInput, match=r"output 'y' .* not UTF-8.* \(v2\)"):
        v1_predict.encode(v1_predict.PredictRequest({}, 1), one("FP32"), {"y": text(b"\xff")})


@pytest.mark.parametrize("shape", [(3, 2), ()])
def test_rows_of_a_model_that_does_not_answer_by_row_must_be_asked_by_column(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="does not answer row by row"):
        v1_predict.encode(v1_predict.PredictRequest({}, 2), one("FP32"), {"y": np.zeros(shape, np.float32)})


def test_an_output_that_the_model_did_not_give_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed, match="model m gave no output 'y'"):
        v1_predict.encode(v1_predict.PredictRequest({}, 1), one("FP32"), {})
