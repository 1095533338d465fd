"""Calls become batches and rows come back, on real threads, with models of a few lines that a test can hold."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from serving.base.errors import QueueFull
from serving.models.tensors import Arrays
from tests.serving.models.batchers import PATIENCE, Held, MakeBatcher, answer, busy, call, double, life
from tests.serving.models.recording import RecordingObserver


def test_a_call_gets_its_own_rows(make: MakeBatcher) -> None:
    assert answer(call(make(double), 1, 2, 3)) == [2, 4, 6]


def test_rows_are_counted_and_not_requests(make: MakeBatcher) -> None:
    seen = RecordingObserver()
    model, batcher, first = busy(make, observer=seen, max_batch_size=8)
    calls = [call(batcher, 1, 2, 3), call(batcher, 4, 5, 6), call(batcher, 7, 8, 9)]
    assert batcher.waiting_rows() == 9
    model.free()
    assert [answer(one) for one in (first, *calls)] == [[0], [2, 4, 6], [8, 10, 12], [14, 16, 18]]
    assert model.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8], [9]]
    assert batcher.close(PATIENCE)
    assert seen.batches == [1, 8, 1]


def test_a_free_instance_takes_at_once_what_is_queued(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, instances=2, max_batch_size=4)
    one = call(batcher, 1)
    model.wait()
    other = call(batcher, 2)
    model.wait()  # the second instance did not wait for the first, nor for a fuller batch
    late = [call(batcher, n) for n in (3, 4, 5, 6, 7)]
    assert batcher.waiting_rows() == 5
    model.free()
    assert [answer(f) for f in (one, other, *late)] == [[2 * n] for n in range(1, 8)]
    assert model.batches[:2] == [[1], [2]]
    assert [3, 4, 5, 6] in model.batches


def test_a_batch_that_is_not_full_waits_for_the_delay(make: MakeBatcher) -> None:
    model = Held()
    model.free()
    batcher = make(model, max_batch_size=4, max_queue_delay=0.5)
    began = time.monotonic()
    one = call(batcher, 1)
    other = call(batcher, 2)
    assert (answer(one), answer(other)) == ([2], [4])
    assert time.monotonic() - began >= 0.5
    assert model.batches == [[1, 2]]


def test_a_full_batch_waits_for_nothing(make: MakeBatcher) -> None:
    model = Held()
    model.free()
    batcher = make(model, max_batch_size=4, max_queue_delay=PATIENCE * 2)
    calls = [call(batcher, 1, 2), call(batcher, 3), call(batcher, 4)]
    assert [answer(one) for one in calls] == [[2, 4], [6], [8]]
    assert model.batches == [[1, 2, 3, 4]]


def test_a_call_of_more_rows_is_split_and_its_answer_is_whole(make: MakeBatcher) -> None:
    seen = RecordingObserver()
    batcher = make(double, seen, max_batch_size=8)
    assert answer(call(batcher, *range(20))) == [2 * n for n in range(20)]
    assert batcher.close(PATIENCE)
    assert seen.batches == [8, 8, 4]


def test_parts_that_come_back_in_another_order_are_put_in_order(make: MakeBatcher) -> None:
    gates = [threading.Event() for _ in range(3)]
    entered = threading.Semaphore(0)

    def run(instance: int, arrays: Arrays) -> Arrays:
        entered.release()
        assert gates[int(arrays["x"][0, 0]) // 4].wait(PATIENCE)
        return {"y": arrays["x"] * 2}

    batcher = make(run, instances=3, max_batch_size=4)
    future = call(batcher, *range(12))
    for _ in range(3):
        assert entered.acquire(timeout=PATIENCE)
    for gate in reversed(gates):
        assert not future.done()
        gate.set()
    assert answer(future) == [2 * n for n in range(12)]


def test_shapes_that_cannot_be_joined_run_apart_and_oldest_first(make: MakeBatcher) -> None:
    shapes: list[tuple[int, ...]] = []
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        shapes.append(arrays["x"].shape)
        return model(instance, arrays)

    _, batcher, first = busy(make, run, model, max_batch_size=8)
    wide = [batcher.submit({"x": np.full((1, 2), n, np.float32)}, 1, life()) for n in (1, 2)]
    narrow = call(batcher, 3)
    other = batcher.submit({"x": np.full((1, 2), 4, np.float64)}, 1, life())
    wide.append(batcher.submit({"x": np.full((1, 2), 5, np.float32)}, 1, life()))
    model.free()
    assert [answer(f) for f in wide] == [[2, 2], [4, 4], [10, 10]]
    assert (answer(first), answer(narrow), answer(other)) == ([0], [6], [8, 8])
    assert shapes == [(1, 1), (3, 2), (1, 1), (1, 2)]


def test_the_queue_limit_counts_rows(make: MakeBatcher) -> None:
    model = Held()
    batcher = make(model, queue_limit=5)
    running = call(batcher, 0, 0, 0)
    model.wait()
    waiting = [call(batcher, 1, 2), call(batcher, 3, 4, 5)]
    with pytest.raises(QueueFull, match="model m has 5 rows waiting of 5"):
        call(batcher, 6)
    model.free()
    assert [answer(f) for f in (running, *waiting)] == [[0, 0, 0], [2, 4], [6, 8, 10]]
    assert batcher.waiting_rows() == 0
    assert answer(call(batcher, 6)) == [12]


def test_a_model_without_a_batch_axis_runs_calls_alone_and_as_they_are(make: MakeBatcher) -> None:
    inputs: list[Any] = []

    def run(instance: int, arrays: Arrays) -> Any:
        inputs.append(arrays["x"])
        return {"y": arrays["x"].sum(), "z": np.zeros((7, 3))}

    seen = RecordingObserver()
    batcher = make(run, seen, batched=False, max_batch_size=8, max_queue_delay=PATIENCE)
    given: list[Any] = [np.array(3, np.float32), np.ones((5, 2), np.float32), np.ones((5, 2), np.float32)]
    futures = [batcher.submit({"x": array}, 1, life()) for array in given]
    assert [float(future.result(PATIENCE)["y"]) for future in futures] == [3.0, 10.0, 10.0]
    assert futures[0].result()["z"].shape == (7, 3)
    assert all(had is gave for had, gave in zip(inputs, given, strict=True))
    assert batcher.close(PATIENCE)
    assert seen.batches == [1, 1, 1]
