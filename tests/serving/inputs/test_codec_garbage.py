"""The codec raises nothing but a 4xx, whatever bytes it is given."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.base.errors import ServingError
from serving.inputs import v1_predict, v2_open_inference
from serving.models.tensors import ModelSpec
from tests.serving.inputs.cases import is_fit
from tests.serving.inputs.strategies import Case, cases, examples

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from([10**30, -1, 0, 2**31, 2**63, "binary_data_size", "FP16", "BYTES", "x", "b64"]),
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3))


def serve(body: bytes, header_length: str | None, spec: ModelSpec) -> None:
    """Take a request through both protocols, as far as it goes."""
    for through in (lambda: through_v2(body, header_length, spec), lambda: through_v1(body, spec)):
        error = refusal(through)
        assert error is None or 400 <= error.status < 500
        assert len(str(error)) < 1000


def refusal(work: Callable[[], object]) -> ServingError | None:
    try:
        work()
    except ServingError as error:
        return error
    return None


def through_v2(body: bytes, header_length: str | None, spec: ModelSpec) -> None:
    request = v2_open_inference.decode(body, header_length, spec, max_rows=3)
    assert all(is_fit(array) for array in request.inputs.values())
    spec.rows(request.inputs)
    v2_open_inference.encode(request, spec, "1", request.inputs)


def through_v1(body: bytes, spec: ModelSpec) -> None:
    request = v1_predict.decode(body, spec, max_rows=3)
    assert all(is_fit(array) for array in request.inputs.values())
    spec.rows(request.inputs)
    v1_predict.encode(request, spec, request.inputs)


@examples(400)
@given(cases(), st.data())
def test_a_request_with_changed_bytes_is_served_or_refused(case: Case, data: st.DataObject) -> None:
    body = bytearray(case.body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        size = data.draw(st.sampled_from([0, 1, 1, 1, 4, len(body)]))
        body[at : at + size] = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"[", b"{", b"-", b"e9", b"null"]))
    header_length = data.draw(st.sampled_from([case.header_length, None, str(len(body)), str(len(body) // 2), "x"]))
    serve(bytes(body), header_length, case.spec)


@examples(400)
@given(cases(), st.data())
def test_a_request_with_any_value_in_any_field_is_served_or_refused(case: Case, data: st.DataObject) -> None:
    size = int(case.header_length or len(case.body))
    request = json.loads(case.body[:size])
    for _ in range(data.draw(st.integers(1, 3))):
        replace(request, data)
    if data.draw(st.booleans()):
        request[data.draw(st.sampled_from(["instances", "signature_name", "parameters", "outputs", "id"]))] = data.draw(JSON)
    head = json.dumps(request).encode()
    serve(head + case.body[size:], None if case.header_length is None else str(len(head)), case.spec)


def replace(owner: Any, data: st.DataObject) -> None:
    """Put some value, or nothing, in some place of a JSON value."""
    while True:
        if not isinstance(owner, dict | list) or not owner:
            return
        key = data.draw(st.sampled_from(list(owner) if isinstance(owner, dict) else range(len(owner))))
        if data.draw(st.booleans()) and isinstance(owner[key], dict | list) and owner[key]:
            owner = owner[key]
            continue
        if data.draw(st.booleans()):
            owner[key] = data.draw(JSON)
        else:
            del owner[key]
        return


@examples(300)
@given(cases(), st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), st.none() | st.text(max_size=5))
def test_bytes_that_never_were_a_request_are_refused(case: Case, body: bytes, header_length: str | None) -> None:
    serve(body, header_length, case.spec)


@examples(300)
@given(cases(), JSON, st.sampled_from(["instances", "inputs"]))
def test_any_rows_and_columns_are_served_or_refused(case: Case, value: object, key: str) -> None:
    serve(json.dumps({key: value}).encode(), None, case.spec)
    serve(json.dumps({key: [value]}).encode(), None, case.spec)
    serve(json.dumps({key: dict.fromkeys(case.arrays, value)}).encode(), None, case.spec)
    serve(json.dumps({key: [dict.fromkeys(case.arrays, value)] * 2}).encode(), None, case.spec)


@examples(200)
@given(cases(), st.data())
def test_a_truncated_request_is_served_or_refused(case: Case, data: st.DataObject) -> None:
    serve(case.body[: data.draw(st.integers(0, len(case.body)))], case.header_length, case.spec)
