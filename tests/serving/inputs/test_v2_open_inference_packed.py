"""Packed requests: what the quick way takes, the general way takes too, with the same values; and answers to whole batches.

The bodies are small requests with a few random changes, from the same seed on every run.
"""

import json
from random import Random
from typing import Any

import numpy as np
import pytest

from serving.inputs import v2_open_inference
from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec, TensorSpec, split_rows
from tests.serving.inputs.cases import body, model, one, same, tensor

BODIES, MAX_ROWS = 4000, 5
ODD: list[Any] = [
    *(1e39, -1e39, 3.4028235677973366e38, 65520, 5e-324, 1e-46, -0.0, 0, 1, -1, 1.0, 0.5, 32.0, 255, 256, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, float("nan"), True, False),
    *(None, "", "1", "x", "true", "FP32", "\0", "é", [], [1], [[1.5, 2]], {}, {"b64": "AA=="}, [1] * 33, [1, 2], [2, 2, 2]),
]
VALUES: dict[str, list[Any]] = {
    "b": [True, False],
    "f": [0.5, -1.25, 1e10, 3],
    "i": [-1, 0, 7],
    "u": [0, 1, 200],
    "O": ["a", "é"],
}
KEYS = ["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id", "binary_data_size", "timeout", "x"]
PIECES = [*b'true false null NaN 1e39 1e400 .0 0 - \xff \0 " ,'.split(), b" ", b"\n", b"\t"]
SPECS = [model(TensorSpec("x", datatype, (-1, 3))) for datatype in DATATYPES] + [
    *(one("FP32", (-1, -1)), one("FP32", (-1,)), one("INT64", (-1, 2, 2)), one("FP64", ()), one("FP32", (2, 3))),
    model(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("é", "INT32", (-1, 1))),
    model(TensorSpec("x", "INT8", (-1, 2)), TensorSpec("rl", "UINT8", (-1, 2)), batched=False),
    model(TensorSpec("x", "FP32", (-1, 2)), outputs=(TensorSpec("y", "FP16", (-1, 2)), TensorSpec("z", "FP32", (-1, 2)))),
]


def request_of(spec: ModelSpec, random: Random) -> dict[str, Any]:
    """Return a request that a model takes, most often of its own datatypes and shapes."""
    rows, inputs = random.choice([1, 1, 1, 2, 3]), []
    for each in spec.inputs:
        shape = [random.choice([1, 2, 3]) if size < 0 else size for size in each.shape]
        shape[:1] = [rows] if each.shape[:1] == (-1,) else shape[:1]
        values = VALUES[DATATYPES[each.datatype].kind]
        data: Any = np.array([random.choice(values) for _ in range(int(np.prod(shape)))], object)
        inputs.append(
            tensor((data.reshape(shape) if random.random() < 0.4 else data).tolist(), shape, each.datatype, each.name)
        )
    return {"inputs": inputs, **random.choice([{}, {}, {"id": "7"}, {"id": None}, {"more": 1}, {"outputs": [{"name": "y"}]}])}


def changed(value: Any, random: Random) -> Any:
    """Return JSON with one change at a random depth."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.05:
        return random.choice(ODD[:27] if type(value) in (int, float) and random.random() < 0.8 else ODD)
    at: Any = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    at = "inputs" if isinstance(value, dict) and "inputs" in value and random.random() < 0.8 else at
    copied: Any = value.copy()
    what = random.random()
    if what < 0.1:
        del copied[at]
    elif what < 0.2:
        if isinstance(copied, dict):
            copied[random.choice(KEYS)] = random.choice(ODD)
        else:
            copied.insert(at, random.choice([copied[at], *ODD]))
    else:
        copied[at] = changed(copied[at], random)
    return copied


def mutated(request: Any, random: Random) -> bytes:
    """Return a body with up to three changes of its values, and some of its bytes: spaces, escapes, keys that come twice."""
    for _ in range(random.choice([0, 0, 1, 1, 1, 1, 2])):
        request = changed(request, random)
    text = json.dumps(request, ensure_ascii=random.random() < 0.5, indent=random.choice([None, None, 1]))
    if random.random() < 0.1:
        key = random.choice(KEYS)
        text = text.replace(f'"{key}":', f'"{key}": {json.dumps(random.choice(ODD))}, "{key}":', 1)
    received = bytearray(text.encode())
    for _ in range(random.choice([0] * 8 + [1, 2])):
        at = random.randrange(len(received) + 1)
        received[at : at + random.choice([0, 0, 1, 5])] = random.choice(PIECES)
    return bytes(received)


def bodies(count: int, seed: int = 0) -> list[tuple[ModelSpec, bytes]]:
    random = Random(seed)
    return [(spec, mutated(request_of(spec, random), random)) for spec in random.choices(SPECS, k=count)]


def outcome(received: bytes, spec: ModelSpec, codec: Any = v2_open_inference) -> list[Any]:
    """Return all of a decoded request, or its refusal."""
    try:
        found = codec.decode(received, None, spec, MAX_ROWS)
    except Exception as error:
        return [type(error).__name__, str(error)]
    arrays = [(name, each.dtype, each.shape, bits(each)) for name, each in found.inputs.items()]
    return [found.id, [tuple(each) for each in found.outputs], found.timeout_s, arrays]


def bits(array: Array) -> Any:
    return array.tolist() if array.dtype == object else array.tobytes()


def refuse(*_: Any) -> None:
    raise ValueError


def test_the_quick_way_gives_what_the_general_way_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = bodies(BODIES)
    quick = [outcome(received, spec) for spec, received in cases]
    monkeypatch.setattr(v2_open_inference, "_packed", refuse)
    for (spec, received), found in zip(cases, quick, strict=True):
        assert found == outcome(received, spec), received


def test_packed_rows_are_those_that_the_general_way_decodes() -> None:
    taken = 0
    for spec, received in bodies(BODIES, seed=1):
        call = v2_open_inference.pack(received, spec, MAX_ROWS)
        if call is None:
            continue
        taken += 1
        whole = v2_open_inference.decode(received, None, spec, MAX_ROWS)
        count, _, id = call
        assert (count, id, None) == (spec.rows(whole.inputs), whole.id, whole.timeout_s)
        assert [tuple(each) for each in whole.outputs] == [(each.name, False) for each in spec.outputs]
        joined = v2_open_inference.join([call], spec)
        assert joined.keys() == whole.inputs.keys()
        assert all(same(joined[name], array) for name, array in whole.inputs.items())
    assert taken > BODIES / 10


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"])
@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_usual_requests_are_packed(datatype: str, data: list[Any]) -> None:
    call = v2_open_inference.pack(body(tensor(data, [2, 2], datatype), id="é"), one(datatype), 2)
    assert call == (2, [np.array([1, 2, 3, 4], DATATYPES[datatype]).tobytes()], "é")


def test_rows_of_several_calls_are_joined_by_inputs() -> None:
    spec = model(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("z", "INT32", (-1,)))
    sent = [
        (tensor([9], [1], "INT32", "z"), tensor([1, 2], [1, 2])),
        (tensor([3, 4, 5, 6], [2, 2]), tensor([7, 8], [2], "INT32", "z")),
    ]
    calls = [call for inputs in sent if (call := v2_open_inference.pack(body(*inputs), spec))]
    joined = v2_open_inference.join(calls, spec)
    assert same(joined["x"], np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    assert same(joined["z"], np.array([9, 7, 8], np.int32))


NUMBERS = [*ODD[:16], float("nan"), float("inf"), 1e16, 123456.789, 1e-5, 0.1]
NAMES = ["y", "%b", '\0é"']


def outputs_of(random: Random, rows: int) -> tuple[ModelSpec, Arrays]:
    specs, arrays = [], {}
    for name in random.sample(NAMES, random.choice([0, 0, 1, 1, 1, 1, 2])):
        dtype = DATATYPES[random.choice([name for name in DATATYPES if name != "BYTES"])]
        shape = (rows, *random.choice([(), (1,), (3,), (2, 2), (0,)]))
        with np.errstate(all="ignore"):
            drawn = np.array([random.choice(NUMBERS) for _ in range(int(np.prod(shape)))], np.float64).reshape(shape)
            arrays[name] = drawn.astype(dtype)
        specs.append(TensorSpec(name, "FP32", (-1, *shape[1:])))
    return ModelSpec('m%d"', (), tuple(specs), True), arrays


def test_a_batch_is_written_as_each_answer_alone_would_be() -> None:
    random, taken = Random(2), 0
    for _ in range(1000):
        counts = random.choices([1, 2, 3], k=random.choice([1, 2, 5])) if random.random() < 0.5 else [1] * random.choice([1, 4])
        spec, outputs = outputs_of(random, sum(counts))
        calls: list[v2_open_inference.PackedRows] = [(count, [], random.choice(["", "7", 'é"%b\0'])) for count in counts]
        found = v2_open_inference.encode_rows(calls, spec, "1", outputs)
        if found is None:
            continue
        taken += 1
        wanted = tuple(v2_open_inference.RequestedOutput(each.name, False) for each in spec.outputs)
        requests = [v2_open_inference.InferRequest(id, {}, wanted, None) for _, _, id in calls]
        parts = split_rows(outputs, counts)
        alone = [v2_open_inference.encode(one, spec, "1", part) for one, part in zip(requests, parts, strict=True)]
        assert [(each, None) for each in found] == alone
    assert taken > 500


ARRAYS: dict[str, Array | None] = {
    "texts": np.array([b"a", b"b"], object),
    "another number of rows": np.zeros((3, 2), np.float32),
    "no elements": np.zeros((2, 0), np.float32),
    "no axis": np.array(1.0),
    "no such datatype": np.zeros((2, 2), "complex64"),
    "another byte order": np.zeros((2, 2), ">f4"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_unusual_outputs_are_left_to_the_general_way(array: Array) -> None:
    calls: list[v2_open_inference.PackedRows] = [(1, [], ""), (1, [], "")]
    assert v2_open_inference.encode_rows(calls, one("FP32"), "1", {"y": array}) is None
    assert v2_open_inference.encode_rows(calls, one("FP32"), "1", {}) is None
