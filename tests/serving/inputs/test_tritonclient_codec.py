"""The protocol's usual client, tritonclient, against this codec, without a server between them."""

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from serving.base.errors import BadInput
from serving.inputs import v2_open_inference
from serving.models.tensors import DATATYPES, Array, ModelSpec, TensorSpec, datatype_of
from tests.serving.inputs.cases import same, text

SAMPLES: dict[str, Array] = {
    name: np.array([[0, 1, 2], [3, 4, 5]], dtype) for name, dtype in DATATYPES.items() if name not in ("BOOL", "BYTES")
} | {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    "BYTES": text(b"", b"a", "é".encode(), b"\0x", b"longer text", b"\n").reshape(2, 3),
}
NOT_FP16 = [name for name in DATATYPES if name != "FP16"]


def echo(*arrays: Array) -> ModelSpec:
    """A model that gives back its inputs, named x0, x1, ..."""
    specs = tuple(TensorSpec(f"x{at}", datatype_of(array), array.shape) for at, array in enumerate(arrays))
    return ModelSpec("echo", specs, specs, batched=False)


def infer(
    spec: ModelSpec, inputs: list[InferInput], outputs: list[InferRequestedOutput] | None = None, **options: object
) -> InferResult:
    """One call of the model, with the client's own encoder and decoder."""
    sent, length = InferenceServerClient.generate_request_body(inputs, outputs=outputs, **options)
    request = v2_open_inference.decode(sent, None if length is None else str(length), spec)
    spec.rows(request.inputs)
    answer, header_length = v2_open_inference.encode(request, spec, "1", request.inputs)
    return InferenceServerClient.parse_response_body(answer, header_length=header_length)


def sent(array: Array, binary: bool, name: str = "x0") -> InferInput:
    return InferInput(name, list(array.shape), datatype_of(array)).set_data_from_numpy(array, binary_data=binary)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_goes_through_in_binary(datatype: str) -> None:
    array = SAMPLES[datatype]
    assert same(infer(echo(array), [sent(array, True)]).as_numpy("x0"), array)
    wanted = [InferRequestedOutput("x0", binary_data=True)]
    assert same(infer(echo(array), [sent(array, True)], wanted).as_numpy("x0"), array)


@pytest.mark.parametrize("datatype", NOT_FP16)
@pytest.mark.parametrize(("binary_in", "binary_out"), [(False, False), (False, True), (True, False)])
def test_every_datatype_but_fp16_goes_through_in_json(datatype: str, binary_in: bool, binary_out: bool) -> None:
    array = SAMPLES[datatype]
    result = infer(echo(array), [sent(array, binary_in)], [InferRequestedOutput("x0", binary_data=binary_out)])
    found = result.as_numpy("x0")
    expected = array if binary_out or datatype != "BYTES" else np.vectorize(bytes.decode, otypes=[object])(array)
    assert same(found, expected)


def test_several_inputs_and_outputs_mix_json_and_binary() -> None:
    arrays = list(SAMPLES.values())
    inputs = [sent(array, at % 2 == 0 or array.dtype == np.float16, f"x{at}") for at, array in enumerate(arrays)]
    outputs = [InferRequestedOutput(f"x{at}", binary_data=at % 3 != 0) for at in reversed(range(len(arrays)))]
    result = infer(echo(*arrays), inputs, outputs, request_id="é 42")
    assert [output["name"] for output in result.get_response()["outputs"]] == [output.name() for output in outputs]
    assert result.get_response()["id"] == "é 42"
    for at, array in enumerate(arrays):
        if array.dtype != object:
            assert same(result.as_numpy(f"x{at}"), array)


def test_null_is_nan_to_the_client() -> None:
    array = np.array([np.nan, 1, np.inf], np.float32)
    found = infer(echo(array), [sent(array, True)], [InferRequestedOutput("x0", binary_data=False)]).as_numpy("x0")
    np.testing.assert_array_equal(found, np.array([np.nan, 1, np.nan], np.float32))


@pytest.mark.parametrize("binary", [True, False])
def test_empty_tensors_go_through(binary: bool) -> None:
    for array in (np.zeros((0, 3), np.float32), np.zeros((2, 0), np.int64)):
        inputs = [sent(array, binary), sent(np.zeros(1, np.int8), True, "x1")]
        spec = echo(array, np.zeros(1, np.int8))
        body, size = InferenceServerClient.generate_request_body(inputs)
        request = v2_open_inference.decode(body, str(size), spec)
        assert same(request.inputs["x0"], array)
        answer, length = v2_open_inference.encode(request, spec, "1", request.inputs)
        assert same(InferenceServerClient.parse_response_body(answer, header_length=length).as_numpy("x0"), array)


def test_bytes_that_are_not_utf_8_come_back_in_binary_only() -> None:
    array = text(b"\xff\xfe", b"\0")
    assert same(infer(echo(array), [sent(array, True)]).as_numpy("x0"), array)
    with pytest.raises(BadInput, match="not UTF-8, .*; ask for binary"):
        infer(echo(array), [sent(array, True)], [InferRequestedOutput("x0", binary_data=False)])


def test_features_of_the_client_that_this_server_lacks_are_refused() -> None:
    array = SAMPLES["FP32"]
    shared = InferInput("x0", list(array.shape), "FP32")
    shared.set_shared_memory("region", array.nbytes)
    with pytest.raises(BadInput, match="'shared_memory_region' of input 'x0'"):
        infer(echo(array), [shared])
    output = InferRequestedOutput("x0")
    output.set_shared_memory("region", array.nbytes)
    with pytest.raises(BadInput, match="'shared_memory_region' of outputs.0."):
        infer(echo(array), [sent(array, True)], [output])
    with pytest.raises(BadInput, match="'classification' of outputs.0."):
        infer(echo(array), [sent(array, True)], [InferRequestedOutput("x0", class_count=2)])
    with pytest.raises(BadInput, match="keeps no state between requests"):
        infer(echo(array), [sent(array, True)], sequence_id=7, sequence_start=True)


def test_the_clients_timeout_and_own_parameters_are_taken() -> None:
    array = SAMPLES["FP32"]
    body, length = InferenceServerClient.generate_request_body(
        [sent(array, True)], timeout=250_000, priority=2, parameters={"mine": "x"}
    )
    assert v2_open_inference.decode(body, str(length), echo(array)).timeout_s == 0.25
