"""Values come out as they went in: random models, datatypes, shapes and ways to carry them."""

import json
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.base import json_codec
from serving.inputs import v1_predict, v2_open_inference
from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec, TensorSpec
from tests.serving.inputs.cases import is_fit, same
from tests.serving.inputs.strategies import SHAPES, Case, arrays, cases, examples


def read_answer(body: bytes, header_length: int | None) -> tuple[str, Arrays]:
    """Read an answer's id and arrays with json and struct alone, without the code that wrote it."""
    answer = json.loads(body[:header_length])
    found: Arrays = {}
    at = header_length or 0
    for output in answer["outputs"]:
        values = output.get("data")
        if values is None:
            size = output["parameters"]["binary_data_size"]
            values = read_raw(body[at : at + size], output["datatype"])
            at += size
        found[output["name"]] = np.array(values, DATATYPES[output["datatype"]]).reshape(output["shape"])
    assert header_length is None or at == len(body)
    return answer.get("id", ""), found


def read_raw(raw: bytes, datatype: str) -> Array | list[bytes]:
    if datatype != "BYTES":
        return np.frombuffer(raw, DATATYPES[datatype])
    elements, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        elements.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return elements


@examples(300)
@given(cases())
def test_arrays_come_out_of_a_request_as_they_went_in(case: Case) -> None:
    request = v2_open_inference.decode(case.body, case.header_length, case.spec)
    assert list(request.inputs) == list(case.arrays)
    for name, array in request.inputs.items():
        assert same(array, case.arrays[name])
        assert is_fit(array)


@examples(300)
@given(cases())
def test_an_answer_carries_the_outputs_and_the_id_of_its_request(case: Case) -> None:
    request = v2_open_inference.decode(case.body, case.header_length, case.spec)
    id, found = read_answer(*v2_open_inference.encode(request, case.spec, "1", case.arrays))
    assert id == json.loads(case.body[: int(case.header_length or len(case.body))])["id"]
    assert list(found) == [output.name for output in request.outputs]
    for output in request.outputs:
        expected = case.arrays[output.name]
        if not output.binary and expected.dtype.kind == "f":  # JSON has null where these are not finite
            expected = np.where(np.isfinite(expected), expected, np.nan).astype(expected.dtype)
            np.testing.assert_array_equal(found[output.name], expected)
        else:
            assert same(found[output.name], expected)


@examples(200)
@given(st.data())
def test_v1_gives_back_by_row_and_by_column_what_it_was_sent(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 3))
    specs, values = [], {}
    for name in data.draw(st.lists(st.text(max_size=4), min_size=1, max_size=3, unique=True)):
        datatype = data.draw(st.sampled_from([name for name in DATATYPES if name != "BYTES"]))
        shape = (rows, *(size for size in data.draw(SHAPES)[:2] if size))
        specs.append(TensorSpec(name, datatype, shape))
        values[name] = data.draw(arrays(datatype, shape, utf8=True))
    spec = ModelSpec("m", tuple(specs), tuple(specs), batched=True)
    by_row = [{name: array[row] for name, array in values.items()} for row in range(rows)]
    for key, sent, answered in (("instances", by_row, "predictions"), ("inputs", values, "outputs")):
        request = v1_predict.decode(json_codec.dumps({key: sent}), spec)
        assert spec.rows(request.inputs) == rows
        assert all(same(array, values[name]) and is_fit(array) for name, array in request.inputs.items())
        expected = next(iter(values.values())) if len(specs) == 1 else sent
        assert v1_predict.encode(request, spec, request.inputs) == json_codec.dumps({answered: expected})
