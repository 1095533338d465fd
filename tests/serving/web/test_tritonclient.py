"""The usual client of the Open Inference Protocol, unmodified, against served services: at the root and under a prefix."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from serving.models.tensors import DATATYPES, Array, datatype_of
from tests.running import ROOT, Running

SAMPLES: dict[str, Array] = {
    name: np.array([[0, 1, 2], [3, 4, 5]], dtype) for name, dtype in DATATYPES.items() if name not in ("BOOL", "BYTES")
} | {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    "BYTES": np.array([[b"", b"a", "é".encode()], [b"x\n", b"longer text", b'"']], object),
}
IN_JSON = [name for name in DATATYPES if name != "FP16"]
PICTURE = ROOT / "examples/images/coffee.jpg"


@pytest.fixture(params=["", "/api/{}", "/api/like/{}"], ids=["root", "gateway", "outside"])
def client(request: pytest.FixtureRequest, tensors: Running) -> Iterator[Any]:
    with connected(tensors, request.param.format("tensors")) as found:
        yield found


@pytest.fixture(params=["", "/api/{}"], ids=["root", "gateway"])
def tagger(request: pytest.FixtureRequest, demo: Running) -> Iterator[Any]:
    with connected(demo, request.param.format("demo")) as found:
        yield found


def connected(service: Running, prefix: str) -> Any:
    return InferenceServerClient(f"127.0.0.1:{service.port}{prefix}", connection_timeout=10, network_timeout=20)


def given(array: Array, name: str, binary: bool = True) -> InferInput:
    return InferInput(name, list(array.shape), datatype_of(array)).set_data_from_numpy(array, binary_data=binary)


def every(binary: bool | None = None) -> list[InferInput]:
    """Return one input of each datatype. binary: None sends every second input as JSON."""
    names = enumerate(SAMPLES)
    return [given(SAMPLES[n], f"{n.lower()}_in", n == "FP16" or (at % 2 == 0 if binary is None else binary)) for at, n in names]


def numbers(rows: int = 2) -> list[InferInput]:
    a = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    return [given(a, "a"), given(a * 10, "b")]


def refusal(client: Any, model: str, inputs: list[InferInput], **more: Any) -> tuple[str, str]:
    """Return the status and the text of an infer that is refused."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, **more)
    return str(caught.value.status()), str(caught.value.message())


def test_the_server_lives_is_ready_and_tells_of_itself(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]


def test_a_model_is_ready_and_tells_of_its_tensors(client: Any) -> None:
    assert client.is_model_ready("add")
    assert client.is_model_ready("add", "1")
    assert not client.is_model_ready("subtract")
    metadata = client.get_model_metadata("add", "1")
    assert metadata["inputs"][1] == {"name": "b", "datatype": "FP32", "shape": [-1, 4]}
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["sum", "difference"]


@pytest.mark.parametrize("binary", [True, False, None], ids=["binary", "json", "mixed"])
def test_every_datatype_goes_in_at_once_and_comes_back_in_binary(client: Any, binary: bool | None) -> None:
    result = client.infer("tensors", every(binary))
    for name, array in SAMPLES.items():
        found = result.as_numpy(f"{name.lower()}_out")
        assert found.dtype == array.dtype
        assert found.tolist() == array.tolist()


def test_outputs_come_as_each_was_asked_for(client: Any) -> None:
    wanted = [InferRequestedOutput(f"{name.lower()}_out", binary_data=at % 2 == 0) for at, name in enumerate(IN_JSON)]
    result = client.infer("tensors", every(True), outputs=wanted)
    assert [output["name"] for output in result.get_response()["outputs"]] == [output.name() for output in wanted]
    for at, name in enumerate(IN_JSON):
        output = result.get_output(f"{name.lower()}_out")
        assert ("data" in output) == (at % 2 == 1)
        found = result.as_numpy(f"{name.lower()}_out").tolist()
        assert found == SAMPLES[name].tolist() or [[text.encode() for text in row] for row in found] == SAMPLES[name].tolist()


def test_several_inputs_and_outputs_are_computed(client: Any) -> None:
    result = client.infer("add", numbers(3), request_id="order 7")
    assert result.as_numpy("sum")[2].tolist() == [88, 99, 110, 121]
    assert result.as_numpy("difference")[0].tolist() == [0, -9, -18, -27]
    assert result.get_response()["id"] == "order 7"
    assert result.get_response()["model_name"] == "add"


def test_more_rows_than_a_batch_come_back_in_order(client: Any) -> None:
    found = client.infer("add", numbers(50)).as_numpy("sum")
    assert found.ravel().tolist() == [11.0 * i for i in range(200)]


def test_strings_are_computed_on(client: Any) -> None:
    texts = np.array([["grüße".encode(), b""]], object)
    assert client.infer("capitals", [given(texts, "texts")]).as_numpy("capitals").tolist() == [["GRüßE".encode(), b""]]


def test_half_precision_through_json_is_refused_in_words(client: Any) -> None:
    status, text = refusal(client, "tensors", every(True), outputs=[InferRequestedOutput("fp16_out", binary_data=False)])
    assert status == "400"
    assert "'fp16_out' is FP16, which JSON" in text


WRONG: dict[str, tuple[list[InferInput], str]] = {
    "shape": ([given(np.zeros((2, 5), np.float32), n) for n in "ab"], "'a' of model add must have shape [-1, 4]"),
    "rank": ([given(np.zeros(4, np.float32), n) for n in "ab"], "'a' of model add must have shape [-1, 4]"),
    "datatype": ([given(np.zeros((2, 4)), n) for n in "ab"], "input 'a' must be FP32, not 'FP64'"),
    "input": ([*numbers(), given(np.zeros((2, 4), np.float32), "c")], "no input 'c'; its inputs are a, b"),
    "missing": (numbers()[:1], "input 'b' of model add is missing"),
    "rows": ([numbers(1)[0], numbers(2)[1]], "disagree on the rows"),
    "none": (numbers(0), "no rows for model add"),
}


@pytest.mark.parametrize(("inputs", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_wrong_inputs_are_refused_with_their_mistake(client: Any, inputs: list[InferInput], words: str, binary: bool) -> None:
    status, text = refusal(client, "add", inputs, outputs=[InferRequestedOutput("sum", binary_data=binary)])
    assert status == "400"
    assert words in text


def test_too_many_rows_are_a_413(client: Any) -> None:
    status, text = refusal(client, "add", numbers(65))
    assert status == "413"
    assert "65 rows; a request may have 64" in text


def test_an_unknown_output_model_or_version_is_told(client: Any) -> None:
    status, text = refusal(client, "add", numbers(), outputs=[InferRequestedOutput("product")])
    assert (status, "no output 'product'" in text) == ("400", True)
    status, text = refusal(client, "subtract", numbers())
    assert (status, "no model 'subtract'" in text) == ("404", True)
    status, text = refusal(client, "add", numbers(), model_version="2")
    assert (status, "no version '2'" in text) == ("404", True)


def test_a_feature_that_the_server_lacks_is_refused_in_words(client: Any) -> None:
    status, text = refusal(client, "add", numbers(), sequence_id=5)
    assert status == "400"
    assert "'sequence_id' is not supported" in text
    status, text = refusal(client, "add", numbers(), outputs=[InferRequestedOutput("sum", class_count=2)])
    assert status == "400"
    assert "'classification'" in text
    shared = InferInput("a", [1, 4], "FP32")
    shared.set_shared_memory("region", 16)
    assert refusal(client, "add", [shared])[0] == "400"


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_a_compressed_body_is_a_415_and_a_compressed_answer_is_not_insisted_on(client: Any, way: str) -> None:
    status, text = refusal(client, "add", numbers(), request_compression_algorithm=way)
    assert status == "415"
    assert way in text
    assert client.infer("add", numbers(), response_compression_algorithm=way).as_numpy("sum")[1, 3] == 77


def test_the_clients_own_deadline_is_kept(client: Any) -> None:
    assert client.infer("add", numbers(), timeout=10_000_000).as_numpy("sum")[1, 3] == 77
    status, text = refusal(client, "add", numbers(), timeout=1)
    assert status == "504"
    assert "no answer within 1e-06 s" in text


def test_many_calls_at_once_are_answered_each_with_its_own(client: Any, tensors: Running) -> None:
    with InferenceServerClient(f"127.0.0.1:{tensors.port}", concurrency=4) as many:
        waiting = [many.async_infer("add", numbers(rows)) for rows in range(1, 12)]  # four at a time fit the queue
        for rows, answer in enumerate(waiting, 1):
            assert answer.get_result().as_numpy("sum").ravel().tolist() == [11.0 * i for i in range(rows * 4)]


def test_the_root_service_is_asked_by_its_name(tagger: Any) -> None:
    assert tagger.is_model_ready("demo")
    assert tagger.get_model_metadata("demo")["inputs"][0]["shape"][1:] == [3, 224, 224]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_the_root_services_model_knows_a_cup_of_coffee(tagger: Any, binary: bool) -> None:
    picture = Image.open(io.BytesIO(PICTURE.read_bytes())).resize((224, 224))
    pixels = (np.asarray(picture, np.float32).transpose(2, 0, 1)[None] - 127) / 128
    wanted = [InferRequestedOutput("logits", binary_data=binary)]
    logits = tagger.infer("demo", [given(pixels, "images", binary)], outputs=wanted).as_numpy("logits")
    labels = (ROOT / "model/imagenet_labels.txt").read_text().splitlines()
    assert labels[int(logits[0].argmax())].startswith("espresso")
