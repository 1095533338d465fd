"""One model is checked, warmed and batched, and its unused memory is freed."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import serving.models.batcher
from serving.base.errors import BadInput, ModelFailed, NotReady, StartError, TooLarge
from serving.base.lifetime import Lifetime
from serving.base.process import resident_bytes
from serving.models.engine import Hardware
from serving.models.model import Function, Model, batch_sizes, example_of, from_function, open_model
from serving.models.options import Options
from serving.models.tensors import Arrays, ModelSpec, TensorSpec
from tests import small_models
from tests.running import DIGITS, UNET
from tests.serving.models.recording import RecordingObserver
from tests.waiting import until

PATIENCE = 60.0


Open = Callable[..., Model]


@pytest.fixture
def opened(seen: RecordingObserver) -> Iterator[Open]:
    """Return a function that opens a file or makes a model of a function. The models are closed after the test."""
    made: list[Model] = []

    def make(what: Path | Function, inputs: tuple[TensorSpec, ...] = (X,), **options: Any) -> Model:
        if isinstance(what, Path):
            made.append(open_model("m", what, Options(**options), seen))
        else:
            made.append(from_function("m", inputs, (TensorSpec("y", "FP32", (-1, 2)),), what, Options(**options), seen))
        return made[-1]

    yield make
    closed = [model.close(PATIENCE) for model in made]
    assert all(closed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


X = TensorSpec("x", "FP32", (-1, 2))


def x(rows: int, columns: int = 2) -> Arrays:
    return {"x": np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)}


def run(model: Model, arrays: Arrays) -> Arrays:
    return model.submit(arrays, Lifetime(time.monotonic(), PATIENCE)).result(PATIENCE)


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batch-m-")]


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_sizes_double_up_to_the_largest(largest: int, sizes: list[int]) -> None:
    assert batch_sizes(largest) == sizes


def test_every_size_is_measured_on_every_instance_and_told(opened: Open, seen: RecordingObserver) -> None:
    model = opened(DIGITS, max_batch_size=6, instances=2, hardware=Hardware(threads=1))
    ((name, provider, instances, threads, costs),) = seen.loaded
    assert (name, provider, instances, threads) == ("m", "cpu", 2, 1)
    assert list(costs) == [1, 2, 4, 6]
    assert all(seconds > 0 for seconds in costs.values())
    assert run(model, {"images": np.zeros((9, 1, 8, 8), np.float32)})["logits"].shape == (9, 10)
    assert seen.batches == [6, 3] or sorted(seen.batches) == [3, 6]


def test_the_largest_batch_that_does_not_fit_fails_the_start_in_words(
    opened: Open, seen: RecordingObserver, file: Path
) -> None:
    with pytest.raises(StartError, match=r"a warm-up batch of 2 rows: .*max_batch"):
        opened(small_models.glutton(file), max_batch_size=2)
    assert seen.loaded == []
    assert own_threads() == []
    assert opened(file, max_batch_size=1)


@pytest.mark.parametrize(("keepdims", "largest"), [(0, 1), (1, 2), (0, 8), (1, 8)])
def test_outputs_whose_first_axis_does_not_count_rows_are_found(opened: Open, file: Path, keepdims: int, largest: int) -> None:
    with pytest.raises(StartError, match="output 'y' .* set max_batch_size = 0"):
        opened(small_models.summed(file, keepdims), max_batch_size=largest)


def test_a_model_without_a_batch_axis_takes_calls_as_they_are(opened: Open, seen: RecordingObserver, file: Path) -> None:
    model = opened(small_models.summed(file, 0), max_batch_size=0, warmup_shapes={"x": (3, 2)})
    assert not model.spec.batched
    assert list(seen.loaded[0][4]) == [1]
    assert run(model, x(5))["y"].tolist() == [20, 25]


def test_open_shapes_are_warmed_with_the_sizes_that_are_named(opened: Open, seen: RecordingObserver, file: Path) -> None:
    opened(small_models.sized(file), warmup_shapes={"x": (8,)}, max_batch_size=2)
    assert list(seen.loaded[0][4]) == [1, 2]


def test_sizes_that_the_model_does_not_take_fail_the_start(opened: Open, file: Path) -> None:
    with pytest.raises(StartError, match="in warmup_shapes"):
        opened(small_models.sized(file), warmup_shapes={"x": (9,)})
    with pytest.raises(StartError, match="in warmup_shapes"):
        opened(file, warmup_shapes={"x": (8, 1)})


def test_open_shapes_that_are_not_named_are_not_warmed_and_that_is_said(
    opened: Open, seen: RecordingObserver, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = opened(small_models.sized(file))
    assert seen.loaded[0][4] == {}
    assert "model m is not warmed: name sizes" in caplog.text
    assert run(model, x(2, 8))["y"].shape == (2, 4, 2)


def test_a_shape_that_the_model_does_not_take_is_the_clients_mistake(opened: Open, file: Path) -> None:
    model = opened(small_models.sized(file), warmup_shapes={"x": (8,)})
    with pytest.raises(BadInput, match="model m does not take this shape"):
        run(model, x(2, 9))
    assert run(model, x(2, 8))["y"].shape == (2, 4, 2)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "FP16", "INT64"])
def test_every_kind_of_tensor_is_warmed(opened: Open, seen: RecordingObserver, file: Path, datatype: str) -> None:
    opened(small_models.identity(file, datatype), max_batch_size=2)
    assert list(seen.loaded[0][4]) == [1, 2]


def test_an_example_is_a_row_of_nothing_for_every_input() -> None:
    inputs = (TensorSpec("a", "FP16", (-1, 3)), TensorSpec("t", "BYTES", (-1,)))
    example = example_of(ModelSpec("m", inputs, (), True), {}) or {}
    assert example["a"].tolist() == [[0, 0, 0]]
    assert example["t"].tolist() == [b""]
    assert example_of(ModelSpec("m", (TensorSpec("a", "FP32", (-1, -1)),), (), True), {"b": (3,)}) is None


def test_a_batch_that_memory_cannot_hold_fails_the_start_before_it_is_made(opened: Open, file: Path) -> None:
    words = r"batch of 4 rows: input 'x' of shape \[4, 2\] takes more than the memory, 0 MiB; lower max_batch_size"
    with pytest.raises(StartError, match=words):
        opened(small_models.identity(file), max_batch_size=8, memory=16)


@pytest.mark.parametrize(("shape", "largest"), [((1, 2), 8), ((4, 2), 8), ((4, 2), 1), ((), 8)])
def test_a_fixed_first_dimension_cannot_count_rows(opened: Open, file: Path, shape: Any, largest: int) -> None:
    with pytest.raises(StartError, match="the first dimension must be left open"):
        opened(small_models.identity(file, shape=shape), max_batch_size=largest)
    assert opened(file, max_batch_size=0)


def test_a_first_dimension_of_one_may_be_a_batch_of_one(opened: Open, file: Path) -> None:
    model = opened(small_models.identity(file, shape=(1, 2)), max_batch_size=1)
    assert run(model, x(1))["y"].tolist() == [[0, 1]]
    with pytest.raises(BadInput, match=r"must have shape \[1, 2\]"):
        run(model, x(2))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nothing.onnx", None, r"nothing\.onnx: no such file; put the model there, or correct"),
        ("", None, "a folder, and a model is one file; name the file in it"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "run git lfs pull"),
        ("m.onnx", DIGITS.read_bytes()[:20_000], "not loaded as an ONNX model"),
    ],
    ids=["missing", "folder", "lfs", "corrupt"],
)
def test_a_file_that_is_not_a_model_fails_the_start(
    opened: Open, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StartError, match=words):
        opened(tmp_path / name)


def test_a_plain_function_is_a_model(opened: Open, seen: RecordingObserver) -> None:
    model = opened(lambda arrays: {"y": arrays["x"] * 2}, max_batch_size=4)
    assert list(seen.loaded[0][4]) == [1, 2, 4]
    assert run(model, x(6))["y"].ravel().tolist() == [2 * n for n in range(12)]


@pytest.mark.parametrize("outcome", [ValueError("no index"), None, {"y": [1]}, BadInput("no zeros"), ModelFailed("no index")])
def test_a_function_that_cannot_be_warmed_fails_the_start_in_words(opened: Open, outcome: Any) -> None:
    def function(arrays: Arrays) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(StartError, match="fails on a warm-up batch of 1 rows: ."):
        opened(function)
    assert own_threads() == []


def test_inputs_are_checked_before_the_queue(opened: Open, seen: RecordingObserver) -> None:
    model = opened(lambda arrays: {"y": arrays["x"]}, max_rows_per_request=5)
    for arrays in ({}, {"z": x(1)["x"]}, {"x": np.zeros((1, 2))}, x(1, 3), {"x": np.zeros((0, 2), np.float32)}):
        with pytest.raises(BadInput):
            run(model, arrays)
    with pytest.raises(TooLarge, match="6 rows for model m, at most 5"):
        run(model, x(6))
    assert seen.batches == []


def test_a_request_that_could_never_fit_the_queue_is_too_large_and_not_overload(opened: Open) -> None:
    model = opened(lambda arrays: {"y": arrays["x"]}, max_rows_per_request=64, queue_limit=4)
    with pytest.raises(TooLarge, match="5 rows for model m, at most 4"):
        run(model, x(5))
    assert len(run(model, x(4))["y"]) == 4


def test_a_bad_index_fails_its_own_call_alone(opened: Open, file: Path) -> None:
    model = opened(small_models.lookup(file), max_queue_delay=0.2)
    life = Lifetime(time.monotonic(), PATIENCE)
    futures = [model.submit({"ids": np.array([n])}, life) for n in (0, 9, 2)]
    assert futures[0].result(PATIENCE)["y"].tolist() == [[0, 1]]
    assert futures[2].result(PATIENCE)["y"].tolist() == [[4, 5]]
    with pytest.raises(BadInput, match="the model refuses this input"):
        futures[1].result(PATIENCE)


def test_memory_is_given_back_some_time_after_work(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.models.batcher, "IDLE_SECONDS", 0.05)
    model = opened(UNET, warmup_shapes={"images": (1, 64, 64)}, max_batch_size=2)
    before = resident_bytes()
    run(model, {"images": np.zeros((2, 1, 384, 384), np.float32)})
    until(lambda: resident_bytes() - before < 40 * 2**20, PATIENCE)


def test_the_arenas_memory_is_given_back_after_warming(opened: Open) -> None:
    before = resident_bytes()
    opened(UNET, warmup_shapes={"images": (1, 384, 384)}, max_batch_size=2)  # its arena grows to 190 MB
    assert resident_bytes() - before < 80 * 2**20


def test_closing_ends_the_threads_and_is_told(seen: RecordingObserver) -> None:
    model = open_model("m", DIGITS, Options(instances=2), seen)
    assert len(own_threads()) == 2
    assert model.close(PATIENCE)
    assert own_threads() == []
    assert seen.unloaded == ["m"]


def test_a_small_model_of_numbers_may_run_on_the_loop(opened: Open, file: Path, seen: RecordingObserver) -> None:
    model = opened(small_models.identity(file), max_batch_size=4)
    assert model.loop_engine is None
    model.try_on_loop(file)
    assert model.loop_engine is not None
    outputs, began, ended = model.run_on_loop(x(3), 3)
    assert outputs["y"].tolist() == x(3)["x"].tolist()
    assert began <= ended
    assert seen.batches == [3]


UNFIT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "two instances": ({}, {"instances": 2}),
    "a delay": ({}, {"max_queue_delay": 0.01}),
    "no batch axis": ({}, {"max_batch_size": 0}),
    "texts": ({"datatype": "BYTES"}, {}),
    "an open size": ({"shape": ("n", "m")}, {"warmup_shapes": {"x": (2,)}}),
    "large outputs": ({"shape": ("n", 2000)}, {}),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_model_that_could_hold_the_loop_stays_on_its_thread(opened: Open, file: Path, what: str) -> None:
    kind, options = UNFIT[what]
    model = opened(small_models.identity(file, **kind), **options)
    model.try_on_loop(file)
    assert model.loop_engine is None


def test_a_model_whose_full_batch_is_slow_stays_on_its_thread(opened: Open) -> None:
    model = opened(DIGITS, max_batch_size=1024)
    model.try_on_loop(DIGITS)
    assert model.loop_engine is None


def test_a_closed_model_refuses_a_batch_of_the_loop(file: Path, seen: RecordingObserver) -> None:
    model = open_model("m", small_models.identity(file), Options(), seen, on_loop=True)
    assert model.close(PATIENCE)
    with pytest.raises(NotReady):
        model.run_on_loop(x(1), 1)
