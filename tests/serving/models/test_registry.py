"""Models come into memory when they are needed, and leave it when others need the room."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import serving.models.model_cache
from serving.base.errors import BadInput, DeadlinePassed, ModelFailed, NotFound, NotReady, QueueFull, StartError
from serving.base.lifetime import Lifetime
from serving.base.process_memory import peak_bytes, resident_bytes
from serving.models.registry import ModelRegistry
from serving.models.tensors import Arrays, TensorSpec
from serving.settings import Settings
from tests import small_models
from tests.memory import MB, forget_peak
from tests.running import ROOT
from tests.serving.models.recording import RecordingObserver

PATIENCE = 20.0
SIZE = 400_000  # bytes of a small model's file
X, Y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))


def lifetime() -> Lifetime:
    return Lifetime(time.monotonic(), PATIENCE)


@dataclass
class Asking:
    """A request, as far as a model wants to know it."""

    life: Lifetime = field(default_factory=lifetime)


def for_seconds(seconds: float) -> Asking:
    return Asking(Lifetime(time.monotonic(), seconds))


def x(rows: int = 1) -> Arrays:
    return {"x": np.ones((rows, 2), np.float32)}


def double(arrays: Arrays) -> Arrays:
    return {"y": arrays["x"] * 2}


class Gated:
    """A function that passes rows on, but holds each batch once it is shut."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.open.set()

    def __call__(self, arrays: Arrays) -> Arrays:
        self.entered.release()
        assert self.open.wait(PATIENCE)
        return {"y": arrays["x"]}


Make = Callable[..., ModelRegistry]


@pytest.fixture
def seen() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def make(tmp_path: Path, seen: RecordingObserver) -> Iterator[Make]:
    """Return a maker of models of a folder that holds a.onnx to d.onnx; each multiplies by 1, 2, 3 or 4."""
    made: list[ModelRegistry] = []
    for factor, name in enumerate("abcd", 1):
        small_models.padded(tmp_path / f"{name}.onnx", SIZE, factor)

    def maker(**settings: Any) -> ModelRegistry:
        made.append(ModelRegistry(tmp_path, Settings(service_name="s", username="u", max_batch_size=2, **settings), seen))
        return made[-1]

    yield maker
    for models in made:
        for model in models.loaded():
            assert model.close(PATIENCE)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model takes what its file takes: what the process holds is not measured."""
    monkeypatch.setattr(serving.models.model_cache, "resident_bytes", lambda: 0)


def loaded(models: ModelRegistry) -> list[str]:
    return [model.spec.name for model in models.loaded()]


def ask(models: ModelRegistry, name: str, asking: Asking | None = None) -> float:
    return float(models[name](x(), asking or Asking())["y"][0, 0])


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do some work on so many threads at once; a failure of one is a failure here."""
    futures: list[Future[None]] = [Future() for _ in range(count)]
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait(PATIENCE)
        try:
            work(number)
            futures[number].set_result(None)
        except BaseException as error:
            futures[number].set_exception(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread, future in zip(threads, futures, strict=True):
        thread.join(PATIENCE)
        future.result(PATIENCE)


def test_a_model_of_the_start_is_loaded_at_once(make: Make, seen: RecordingObserver) -> None:
    models = make()
    handle = models.load("a", "a.onnx")
    assert handle.loaded
    assert handle.name == "a"
    assert [name for name, *_ in seen.loaded] == ["a"]
    assert ask(models, "a") == 1


def test_a_model_on_demand_is_loaded_on_first_use_once_though_many_ask_at_once(make: Make, seen: RecordingObserver) -> None:
    models = make()
    handle = models.on_demand("b", "b.onnx")
    assert not handle.loaded
    assert seen.loaded == []
    answers: list[float] = []
    in_threads(12, lambda _: answers.append(ask(models, "b")))
    assert answers == [2] * 12
    assert [name for name, *_ in seen.loaded] == ["b"]
    assert handle.loaded


def test_its_tensors_can_be_asked_for_and_load_it(make: Make) -> None:
    models = make()
    handle = models.on_demand("b", "b.onnx")
    assert handle.spec(lifetime()).inputs == (X,)
    assert handle.loaded
    assert models["b"]._entry.uses == 0


def test_options_of_a_model_go_before_those_of_value_py(make: Make, seen: RecordingObserver) -> None:
    models = make()
    models.load("a", "a.onnx", max_batch_size=4, instances=2)
    (loaded,) = seen.loaded
    assert (loaded[2], list(loaded[4])) == (2, [1, 2, 4])


def test_an_unknown_model_is_not_found_and_the_known_are_named(make: Make) -> None:
    models = make()
    with pytest.raises(NotFound, match="no model 'z' here; the models are none"):
        models["z"]
    models.on_demand("a", "a.onnx")
    models.add("f", double, (X,), (Y,))
    with pytest.raises(NotFound, match="no model 'z' here; the models are a, f"):
        models["z"]
    assert models.names() == ["a", "f"]


def test_two_models_of_one_name_fail_the_start(make: Make) -> None:
    models = make()
    models.on_demand("a", "a.onnx")
    with pytest.raises(StartError, match="two models are named 'a'"):
        models.load("a", "b.onnx")


def test_a_function_is_a_model_too(make: Make, seen: RecordingObserver) -> None:
    models = make()
    models.add("f", double, (X,), (Y,))
    assert ask(models, "f") == 2
    assert seen.loaded[0][:4] == ("f", "cpu", 1, 1)


@pytest.mark.parametrize("way", ["load", "on_demand"])
def test_a_missing_file_and_an_lfs_pointer_fail_the_start_even_on_demand(make: Make, tmp_path: Path, way: str) -> None:
    models = make()
    with pytest.raises(StartError, match=r"nothing\.onnx: no such file"):
        getattr(models, way)("n", "nothing.onnx")
    (tmp_path / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(StartError, match="a Git LFS pointer"):
        getattr(models, way)("l", "lfs.onnx")
    assert models.names() == []


def test_a_load_that_fails_can_be_tried_again(make: Make, tmp_path: Path) -> None:
    models = make()
    (tmp_path / "e.onnx").write_bytes(b"nothing")
    with pytest.raises(StartError, match="not loaded as an ONNX model"):
        models.load("e", "e.onnx")
    small_models.identity(tmp_path / "e.onnx")
    assert models.load("e", "e.onnx").loaded


def test_a_model_on_demand_that_cannot_be_loaded_fails_its_callers_and_no_other(make: Make, tmp_path: Path) -> None:
    models = make()
    (tmp_path / "e.onnx").write_bytes(b"nothing")
    models.on_demand("e", "e.onnx")
    models.on_demand("a", "a.onnx")
    failures: list[str] = []

    def use(_: int) -> None:
        with pytest.raises(ModelFailed) as caught:
            ask(models, "e")
        failures.append(str(caught.value))

    in_threads(4, use)
    assert failures == ["model e cannot be loaded; the log tells why"] * 4
    assert ask(models, "a") == 1
    small_models.identity(tmp_path / "e.onnx")
    assert ask(models, "e") == 1


@pytest.mark.usefixtures("exact")
def test_over_the_budget_the_least_recently_used_is_unloaded(make: Make, seen: RecordingObserver) -> None:
    models = make(model_memory="1M")  # two of them fit
    for name in "abc":
        models.on_demand(name, f"{name}.onnx")
    assert [ask(models, name) for name in "aba"] == [1, 2, 1]
    assert ask(models, "c") == 3
    assert loaded(models) == ["a", "c"]
    assert seen.unloaded == ["b"]
    assert ask(models, "b") == 2
    assert loaded(models) == ["b", "c"]
    assert seen.unloaded == ["b", "a"]


@pytest.mark.usefixtures("exact")
def test_models_of_the_start_stay_and_do_not_count(make: Make) -> None:
    models = make(model_memory="1Mi")
    models.load("a", "a.onnx")
    models.add("f", double, (X,), (Y,))
    for name in "bcd":
        models.on_demand(name, f"{name}.onnx")
    assert [ask(models, name) for name in "bcdb"] == [2, 3, 4, 2]
    assert loaded(models) == ["a", "f", "b", "d"]


def test_only_a_model_on_demand_must_fit_the_budget(make: Make, tmp_path: Path) -> None:
    models = make(model_memory="1Mi")
    small_models.padded(tmp_path / "large.onnx", 2_000_000)
    with pytest.raises(StartError, match=r"model 'large' has 2000\d\d\d bytes, more than model_memory allows \(1048576\)"):
        models.on_demand("large", "large.onnx")
    assert models.load("large", "large.onnx").loaded


def held(models: ModelRegistry, name: str, asking: Asking | None = None) -> tuple[threading.Event, Future[Arrays]]:
    """Use a model until the event is set."""
    release, entered = threading.Event(), threading.Event()
    model = models[name]._entry.model
    assert model is not None
    run = model.batcher._run_model

    def wait(instance: int, arrays: Arrays) -> Arrays:
        entered.set()
        assert release.wait(PATIENCE)
        return run(instance, arrays)

    model.batcher._run_model = wait
    future = models[name].submit(x(), asking or Asking())
    assert entered.wait(PATIENCE)
    return release, future


@pytest.mark.usefixtures("exact")
def test_a_model_in_use_is_never_unloaded(make: Make) -> None:
    models = make(model_memory="1M")
    for name in "abc":
        models.on_demand(name, f"{name}.onnx")
    assert [ask(models, name) for name in "ab"] == [1, 2]
    release, future = held(models, "a")  # the least recently used but for this
    assert ask(models, "b") == 2
    assert ask(models, "c") == 3
    assert loaded(models) == ["a", "c"]
    release.set()
    assert future.result(PATIENCE)["y"][0, 0] == 1


@pytest.mark.usefixtures("exact")
def test_room_is_waited_for_until_the_deadline(make: Make) -> None:
    models = make(model_memory="500k")
    for name in "ab":
        models.on_demand(name, f"{name}.onnx")
    assert ask(models, "a") == 1
    release, future = held(models, "a")
    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match="no room for model b: model_memory is spent, and what is loaded was in use"):
        ask(models, "b", for_seconds(0.2))
    assert time.monotonic() - began >= 0.2
    answers: list[float] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(models, "b")))
    waiting.start()
    while not models._cache._loading:
        time.sleep(0.001)
    assert answers == []
    release.set()
    waiting.join(PATIENCE)
    assert answers == [2]
    assert future.result(PATIENCE)["y"][0, 0] == 1
    assert loaded(models) == ["b"]


@pytest.mark.usefixtures("exact")
def test_a_model_that_is_never_idle_gives_way_before_the_others_run_out_of_time(make: Make) -> None:
    models, over = make(model_memory="500k"), threading.Event()
    for name in "ab":
        models.on_demand(name, f"{name}.onnx")

    def keep_busy(number: int) -> None:
        """Have two calls on their way at any time."""
        last = models["a"].submit(x(), Asking())
        while not over.is_set():
            following = models["a"].submit(x(), Asking())
            assert last.result(PATIENCE)["y"][0, 0] == 1
            last = following
        assert last.result(PATIENCE)["y"][0, 0] == 1

    def ask_for_the_other(number: int) -> None:
        try:
            for _ in range(3):
                assert ask(models, "b", for_seconds(6)) == 2
        finally:
            over.set()

    in_threads(3, lambda number: (ask_for_the_other if number == 0 else keep_busy)(number))
    assert models._cache._evicting is None


@pytest.mark.usefixtures("exact")
def test_a_model_that_gave_way_in_vain_takes_calls_again(make: Make) -> None:
    models = make(model_memory="500k")
    for name in "ab":
        models.on_demand(name, f"{name}.onnx")
    assert ask(models, "a") == 1
    release, future = held(models, "a")
    with pytest.raises(DeadlinePassed):
        ask(models, "b", for_seconds(0.2))
    release.set()
    assert future.result(PATIENCE)["y"][0, 0] == 1
    assert ask(models, "a", for_seconds(PATIENCE)) == 1
    assert loaded(models) == ["a"]


@pytest.mark.usefixtures("exact")
def test_unloading_makes_room_for_who_waits(make: Make) -> None:
    models = make(model_memory="500k")
    for name in "ab":
        models.on_demand(name, f"{name}.onnx")
    assert ask(models, "a") == 1
    models["a"]._entry.uses += 1  # as if it were in use for ever
    answers: list[float] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(models, "b")))
    waiting.start()
    while not models._cache._loading:
        time.sleep(0.001)
    time.sleep(0.02)
    models.unload("a")
    waiting.join(PATIENCE / 2)
    assert answers == [2]


def test_who_waits_for_a_load_leaves_by_its_own_deadline(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    models, go, entered = make(), threading.Event(), threading.Event()
    handle = models.on_demand("a", "a.onnx")
    models.load("b", "b.onnx")
    load = handle._entry.open

    def slow() -> Any:
        entered.set()
        assert go.wait(PATIENCE)
        return load()

    handle._entry.open = slow
    answers: list[float] = []
    loading = threading.Thread(target=lambda: answers.append(ask(models, "a")))
    loading.start()
    assert entered.wait(PATIENCE)
    with pytest.raises(DeadlinePassed):
        ask(models, "a", for_seconds(0.05))
    assert ask(models, "b") == 2  # what is loaded waits for nobody
    go.set()
    loading.join(PATIENCE)
    assert answers == [1]


def test_a_caller_leaves_a_hung_model_by_its_deadline(make: Make) -> None:
    models, gate = make(), Gated()
    models.add("f", gate, (X,), (Y,))
    gate.open.clear()
    with pytest.raises(DeadlinePassed, match=r"no answer within 0\.1 s"):
        ask(models, "f", for_seconds(0.1))
    gate.open.set()
    assert ask(models, "f") == 1


def test_every_use_is_counted_out_again(make: Make) -> None:
    models = make(queue_limit=2)
    gate = Gated()
    models.add("f", gate, (X,), (Y,))
    entry = models["f"]._entry
    assert ask(models, "f") == 1
    with pytest.raises(BadInput):
        models["f"]({"z": x()["x"]}, Asking())
    while gate.entered.acquire(blocking=False):
        pass
    gate.open.clear()
    futures = [models["f"].submit(x(), Asking())]
    assert gate.entered.acquire(timeout=PATIENCE)
    futures += [models["f"].submit(x(), Asking()) for _ in range(2)]
    with pytest.raises(QueueFull):
        models["f"].submit(x(), Asking())
    assert entry.uses == 3
    gate.open.set()
    for future in futures:
        future.result(PATIENCE)
    while entry.uses:
        time.sleep(0.001)


def test_an_unloaded_model_is_loaded_again_on_its_next_use(make: Make, seen: RecordingObserver) -> None:
    models = make()
    models.load("a", "a.onnx")
    models.unload("a")
    assert loaded(models) == []
    models.unload("a")
    assert ask(models, "a") == 1
    assert [name for name, *_ in seen.loaded] == ["a", "a"]
    assert seen.unloaded == ["a"]


def test_unloading_finishes_the_calls_and_loses_none(make: Make) -> None:
    models, stop = make(), threading.Event()
    models.load("a", "a.onnx")
    answers: list[float] = []

    def use(number: int) -> None:
        if number == 0:
            for _ in range(15):
                models.unload("a")
            stop.set()
        while not stop.is_set():
            answers.append(ask(models, "a"))

    in_threads(4, use)
    assert set(answers) == {1}
    assert models["a"]._entry.uses == 0


def test_a_model_that_is_closed_for_good_refuses(make: Make) -> None:
    models = make()
    models.load("a", "a.onnx")
    assert models.loaded()[0].close(PATIENCE)
    with pytest.raises(NotReady):
        ask(models, "a")


def test_many_threads_over_many_models_and_a_small_budget_get_their_own_answers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.models.model_cache, "resident_bytes", lambda: 0)
    models = make(model_memory="1M")
    for name in "abcd":
        models.on_demand(name, f"{name}.onnx")

    def use(number: int) -> None:
        draw = np.random.default_rng(number)
        for _ in range(25):
            factor = int(draw.integers(1, 5))
            assert ask(models, "abcd"[factor - 1]) == factor
            assert len(models.loaded()) <= 3  # two, and one that is being loaded

    in_threads(6, use)
    assert len(models.loaded()) <= 2
    assert all(models[name]._entry.uses == 0 for name in "abcd")


def test_asking_what_is_loaded_while_it_is_unloaded_gives_models_only(make: Make) -> None:
    models = make()
    models.load("a", "a.onnx")
    model = models.loaded()[0]

    class Going:
        """An entry whose model is taken away after it was looked at once."""

        looks = 0

        @property
        def model(self) -> Any:
            self.looks += 1
            return model if self.looks == 1 else None

    models._entries["going"] = Going()  # type: ignore[assignment]
    assert models.loaded() == [model, model]
    del models._entries["going"]


def test_an_unloaded_models_memory_goes_back_to_the_system(seen: RecordingObserver) -> None:
    models = ModelRegistry(ROOT, Settings(service_name="s", username="u", max_batch_size=2), seen)
    models.on_demand("unet", "tests/models/unet.onnx", warmup_shapes={"images": (1, 64, 64)})
    models["unet"]({"images": np.zeros((1, 1, 64, 64), np.float32)}, Asking())
    models.unload("unet")  # what libraries keep once is not the model's
    for _ in range(2):
        forget_peak()
        before = resident_bytes()
        models["unet"]({"images": np.zeros((2, 1, 384, 384), np.float32)}, Asking())
        models.unload("unet")
        assert peak_bytes() - before > 60 * MB
        assert resident_bytes() - before < 20 * MB
