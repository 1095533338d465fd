"""A failure concerns one batch alone, and each of its callers is told."""

import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np
import pytest

import serving.models.batcher
from serving.base.errors import BadInput, ModelFailed
from serving.models.batcher import Batcher
from serving.models.tensors import Arrays
from tests.serving.models.batchers import PATIENCE, Held, MakeBatcher, answer, busy, call, double, life, picky
from tests.serving.models.recording import RecordingObserver
from tests.waiting import until


@pytest.mark.parametrize("error", [ValueError("secret"), MemoryError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_a_model_that_raises_fails_that_batch_alone(make: MakeBatcher, error: BaseException) -> None:
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        outputs = model(instance, arrays)
        if (arrays["x"] < 0).any():
            raise error
        return outputs

    _, batcher, first = busy(make, run, model, max_batch_size=2)
    bad, mate, good = call(batcher, -1), call(batcher, 1), call(batcher, 2)
    model.free()
    assert answer(first) == [0]
    errors = [future.exception(PATIENCE) for future in (bad, mate)]
    for one in errors:
        assert isinstance(one, ModelFailed)
        assert str(one).startswith("model m failed on this batch;")
    assert errors[0] is not errors[1]  # each caller's traceback would be added to a shared error
    assert answer(good) == [4]
    assert batcher.stuck_seconds() < PATIENCE


def test_a_failed_batch_is_reported_once_however_many_calls_it_fails(make: MakeBatcher) -> None:
    model, observer = Held(), RecordingObserver()

    def run(instance: int, arrays: Arrays) -> Arrays:
        outputs = model(instance, arrays)
        if (arrays["x"] < 0).any():
            raise ValueError
        return outputs

    _, batcher, first = busy(make, run, model, max_batch_size=8, observer=observer)
    failed = [call(batcher, -number) for number in range(1, 9)]
    model.free()
    assert answer(first) == [0]
    assert {type(future.exception(PATIENCE)) for future in failed} == {ModelFailed}
    assert observer.failed == ["m"]
    assert observer.batches == [1]


def test_what_the_engine_says_of_a_failure_reaches_its_callers(make: MakeBatcher) -> None:
    def run(instance: int, arrays: Arrays) -> Arrays:
        raise ModelFailed("out of memory")

    with pytest.raises(ModelFailed, match="^out of memory$"):
        answer(call(make(run), 1))


def test_an_exception_in_assembly_fails_that_batch_alone(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(parts: Any) -> Arrays:
        monkeypatch.undo()
        raise MemoryError

    batcher = make(double)
    monkeypatch.setattr(serving.models.batcher, "join_rows", no_memory)
    with pytest.raises(ModelFailed):
        answer(call(batcher, 1))
    assert answer(call(batcher, 2)) == [4]


@pytest.mark.parametrize(
    "outputs",
    [{"y": np.zeros((1, 1))}, {"y": np.zeros((3, 1))}, {"y": np.zeros(())}, {"y": [[1], [2]]}, None, [np.zeros((2, 1))]],
    ids=["too few", "too many", "scalar", "list", "none", "no table"],
)
def test_outputs_that_cannot_be_told_apart_fail_that_batch_alone(make: MakeBatcher, outputs: Any) -> None:
    batcher = make(lambda instance, arrays: outputs if arrays["x"][0, 0] < 0 else double(instance, arrays))
    with pytest.raises(ModelFailed):
        answer(call(batcher, -1, -2))
    assert answer(call(batcher, 1, 2)) == [2, 4]


def test_parts_of_one_call_that_do_not_fit_together_fail_it_alone(make: MakeBatcher) -> None:
    def run(instance: int, arrays: Arrays) -> Arrays:
        width = 1 + int(arrays["x"][0, 0]) % 2
        return {"y": np.repeat(arrays["x"], width, axis=1)}

    batcher = make(run, max_batch_size=1)
    with pytest.raises(ModelFailed):
        answer(call(batcher, 1, 2))
    assert answer(call(batcher, 2, 4)) == [2, 4]


def test_input_that_the_model_refuses_is_judged_call_by_call(make: MakeBatcher) -> None:
    model = Held()

    def run(instance: int, arrays: Arrays) -> Arrays:
        model(instance, arrays)
        return picky(instance, arrays)

    _, batcher, first = busy(make, run, model)
    one, bad, other, worse = call(batcher, 1), call(batcher, -1, 5), call(batcher, 2, 3), call(batcher, -7)
    model.free()
    assert (answer(first), answer(one), answer(other)) == ([0], [2], [4, 6])
    assert [str(future.exception(PATIENCE)) for future in (bad, worse)] == ["negative: -1", "negative: -7"]
    assert model.batches == [[0], [1, -1, 5, 2, 3, -7], [1], [-1, 5], [2, 3], [-7]]


def test_a_bad_row_fails_the_whole_of_its_call_and_the_rest_is_not_computed(make: MakeBatcher) -> None:
    computed: list[int] = []

    def run(instance: int, arrays: Arrays) -> Arrays:
        computed.append(len(arrays["x"]))
        return picky(instance, arrays)

    batcher = make(run, max_batch_size=2)
    with pytest.raises(BadInput):
        answer(call(batcher, -1, 2, 3, 4, 5, 6))
    assert answer(call(batcher, 7)) == [14]
    assert computed == [2, 1]


def test_a_hung_instance_leaves_the_others_working(make: MakeBatcher) -> None:
    hang, entered = threading.Event(), threading.Event()

    def run(instance: int, arrays: Arrays) -> Arrays:
        if arrays["x"][0, 0] < 0:
            entered.set()
            assert hang.wait(PATIENCE)
        return double(instance, arrays)

    batcher = make(run, instances=2, max_batch_size=2)
    hung = life(0.1)
    future = call(batcher, -1, lives=hung)
    assert entered.wait(PATIENCE)
    since = time.monotonic()
    with pytest.raises(FutureTimeout):
        future.result(hung.left())
    for n in range(5):
        assert answer(call(batcher, n)) == [2 * n]
    at_least = time.monotonic() - since
    stuck = batcher.stuck_seconds()
    assert stuck >= at_least
    assert batcher.stuck_seconds() > stuck
    assert not batcher.close(0.05)
    hang.set()
    assert batcher.close(PATIENCE)
    assert batcher.stuck_seconds() == 0.0


def test_giving_back_that_raises_or_hangs_is_noticed(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.models.batcher, "IDLE_SECONDS", 0.01)
    entered, hang = threading.Event(), threading.Event()

    def on_idle(instance: int) -> None:
        entered.set()
        assert hang.wait(PATIENCE)
        raise ValueError("no memory to give back")

    batcher = make(double, idle=on_idle)
    assert answer(call(batcher, 1)) == [2]
    assert entered.wait(PATIENCE)
    until(lambda: batcher.stuck_seconds() >= 0.02)
    hang.set()
    assert answer(call(batcher, 2)) == [4]


@pytest.mark.parametrize("report", ["batch", "batch_failed"])
def test_an_observer_that_raises_loses_no_caller(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch, report: str) -> None:
    seen = RecordingObserver()

    def run(instance: int, arrays: Arrays) -> Arrays:
        if (arrays["x"] < 0).any():
            raise ValueError
        return double(instance, arrays)

    batcher = make(run, seen)

    def broken(*_: Any) -> None:
        raise ValueError("metrics are broken")

    with monkeypatch.context() as patch:
        patch.setattr(seen, report, broken)
        with pytest.raises(ModelFailed):
            answer(call(batcher, 1 if report == "batch" else -1))
    assert answer(call(batcher, 2)) == [4]


def test_a_dead_batch_thread_is_told(make: MakeBatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "_serve", lambda *_: None)
    batcher = make(double)
    for thread in batcher._threads:
        thread.join(PATIENCE)
    assert batcher.stuck_seconds() == float("inf")
