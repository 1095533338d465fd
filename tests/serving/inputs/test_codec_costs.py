"""A body of 16 MB costs time and memory in proportion, whatever it contains. The limits leave room for a busy machine."""

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from serving.base.errors import BadInput, ServingError
from serving.inputs import v1_predict, v2_open_inference
from tests.serving.inputs.cases import body, one, raw, tensor, with_tail

SIZE = 16 << 20
OPEN = b'{"inputs":[{"name":"x","datatype":"%s","shape":[1,%d],"data":'


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    with contextlib.suppress(ServingError):
        work()
    return time.process_time() - started


def test_binary_numbers_of_16_mb_take_no_time() -> None:
    received, length = with_tail(body(raw(SIZE, [1, SIZE // 4])), bytes(SIZE))
    spec = one("FP32", (-1, -1))
    assert seconds(lambda: v2_open_inference.decode(received, length, spec)) < 0.3


def test_binary_strings_of_16_mb_take_a_second_at_most() -> None:
    received, length = with_tail(body(raw(SIZE, [1, SIZE // 4], "BYTES")), bytes(SIZE))
    spec = one("BYTES", (-1, -1))
    assert seconds(lambda: v2_open_inference.decode(received, length, spec)) < 3


@pytest.mark.parametrize(("datatype", "element"), [("INT32", b"1"), ("FP32", b"0.5"), ("BYTES", b'"a"'), ("BOOL", b"true")])
def test_json_of_16_mb_takes_a_few_seconds_at_most(datatype: str, element: bytes) -> None:
    count = SIZE // (len(element) + 1)
    received = OPEN % (datatype.encode(), count) + b"[" + (element + b",") * (count - 1) + element + b"]}]}"
    spec = one(datatype, (-1, -1))
    assert seconds(lambda: v2_open_inference.decode(received, None, spec)) < 5


@pytest.mark.parametrize(
    "received",
    [
        b"[" * SIZE,
        b'{"inputs":[' + b"[]," * (SIZE // 3) + b"[]]}",
        b'{"inputs":[' + b"{}," * 1_900_000 + b"{}]}",
        b'{"instances":[' + b"{}," * 1_900_000 + b"{}]}",
        b'{"instances":[' + b"[]," * 1_900_000 + b"{}]}",
        b'{"instances":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"inputs":"' + b"a" * SIZE,
        b'{"inputs":"' + b"\\u0000" * (SIZE // 6) + b'"}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[' + b"1," * (SIZE // 2) + b'1],"data":[1]}]}',
        b"{" + b",".join(b'"%d":0' % number for number in range(SIZE // 12)) + b"}",
        b"9" * SIZE,
        b"[1" + b"0" * SIZE + b"]",
    ],
    ids=range(12),
)
def test_hostile_json_of_16_mb_takes_a_few_seconds_at_most(received: bytes) -> None:
    for decode in (
        lambda: v2_open_inference.decode(received, None, one("FP32")),
        lambda: v1_predict.decode(received, one("FP32")),
    ):
        assert seconds(decode) < 5


@pytest.mark.parametrize("shape", [[10**11], [2**20, 2**20], [2**62, 2**62], [10**30], [0, 2**62], [1] * 1000])
@pytest.mark.parametrize("datatype", ["FP64", "BYTES"])
def test_a_wrong_shape_allocates_nothing(shape: list[int], datatype: str) -> None:
    spec = one(datatype, (-1, -1))
    tracemalloc.start()
    with pytest.raises(BadInput):
        v2_open_inference.decode(body(tensor([], shape, datatype)), None, spec)
    with pytest.raises(BadInput):
        v2_open_inference.decode(*with_tail(body(raw(8, shape, datatype)), bytes(8)), spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_answers_of_16_mb_take_a_few_seconds_at_most() -> None:
    outputs = {"y": np.linspace(0, 1, SIZE // 4, dtype=np.float32)}
    for binary in (False, True):
        request = v2_open_inference.InferRequest("", {}, (v2_open_inference.RequestedOutput("y", binary),), None)
        assert seconds(lambda request=request: v2_open_inference.encode(request, one("FP32"), "1", outputs)) < 5  # type: ignore[misc]
