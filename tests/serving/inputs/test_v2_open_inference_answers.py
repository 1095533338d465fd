"""Version 2 answers: byte-exact, in JSON and in binary."""

import numpy as np
import pytest

from serving.base.errors import BadInput, ModelFailed
from serving.inputs import v2_open_inference
from serving.inputs.v2_open_inference import InferRequest, RequestedOutput
from serving.models.tensors import Arrays
from tests.serving.inputs.cases import one, text

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
    with pytest.raises(BadInput) as caught:
        answer({"y": text(b"a", b"\xff")}, ("y", False))
    assert str(caught.value) == (
        "output 'y' holds bytes that are not UTF-8, which JSON cannot carry; ask for binary, by \"binary_data\": true in the "
        "parameters of output 'y' or \"binary_data_output\": true in those of the request"
    )


def test_an_output_that_the_model_did_not_give_is_the_models_failure() -> None:
    with pytest.raises(ModelFailed, match="model m gave no output 'y'"):
        answer({}, ("y", False))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", ">f4"])
def test_an_output_without_a_datatype_is_the_models_failure(dtype: str) -> None:
    with pytest.raises(ModelFailed, match="output 'y' of model m is .*, which the protocol has no datatype for"):
        answer({"y": np.zeros(2, dtype)}, ("y", True))
