"""Models come into memory on their first use, and leave it when others need the memory."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput, DeadlinePassed, ModelFailed, NotReady, QueueFull, StartError
from serving.base.process import peak_bytes, resident_bytes
from serving.models.registry import ModelRegistry
from serving.settings import Settings
from tests import small_models
from tests.memory import MIB, forget_peak
from tests.running import ROOT
from tests.serving.models.recording import RecordingObserver
from tests.serving.models.registries import (
    PATIENCE,
    FakeRequest,
    Gated,
    MakeRegistry,
    X,
    Y,
    ask,
    double,
    for_seconds,
    hold,
    loaded,
    on_demand,
    x,
)
from tests.threads import in_threads
from tests.waiting import until


def test_a_model_on_demand_that_cannot_be_loaded_fails_its_callers_and_no_other(
    make_registry: MakeRegistry, tmp_path: Path
) -> None:
    models = make_registry()
    (tmp_path / "e.onnx").write_bytes(b"nothing")
    models.on_demand("e", "e.onnx")
    models.on_demand("a", "a.onnx")
    failures: list[str] = []

    def use(_: int) -> None:
        with pytest.raises(ModelFailed) as caught:
            ask(models, "e")
        failures.append(str(caught.value).partition(";")[0])

    in_threads(4, use)
    assert failures == ["model e cannot be loaded"] * 4
    assert ask(models, "a") == 1
    small_models.identity(tmp_path / "e.onnx")
    assert ask(models, "e") == 1


@pytest.mark.usefixtures("exact")
def test_over_the_budget_the_least_recently_used_is_unloaded(make_registry: MakeRegistry, seen: RecordingObserver) -> None:
    models = make_registry(model_memory="1M")  # two of them fit
    on_demand(models, "abc")
    assert [ask(models, name) for name in "aba"] == [1, 2, 1]
    assert ask(models, "c") == 3
    assert loaded(models) == ["a", "c"]
    assert seen.unloaded == ["b"]
    assert ask(models, "b") == 2
    assert loaded(models) == ["b", "c"]
    assert seen.unloaded == ["b", "a"]


@pytest.mark.usefixtures("exact")
def test_models_loaded_at_the_start_stay_and_do_not_count(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="1Mi")
    models.load("a", "a.onnx")
    models.add("f", double, (X,), (Y,))
    on_demand(models, "bcd")
    assert [ask(models, name) for name in "bcdb"] == [2, 3, 4, 2]
    assert loaded(models) == ["a", "f", "b", "d"]


def test_only_a_model_on_demand_must_fit_the_budget(make_registry: MakeRegistry, tmp_path: Path) -> None:
    models = make_registry(model_memory="1Mi")
    small_models.padded(tmp_path / "large.onnx", 2_000_000)
    with pytest.raises(StartError, match=r"'large' has 2000\d\d\d bytes, .*1048576"):
        models.on_demand("large", "large.onnx")
    assert models.load("large", "large.onnx").loaded


@pytest.mark.usefixtures("exact")
def test_a_model_in_use_is_never_unloaded(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="1M")
    on_demand(models, "abc")
    assert [ask(models, name) for name in "ab"] == [1, 2]
    release, future = hold(models, "a")  # without this call, it would be the least recently used
    assert ask(models, "b") == 2
    assert ask(models, "c") == 3
    assert loaded(models) == ["a", "c"]
    release.set()
    assert future.result(PATIENCE)["y"][0, 0] == 1


@pytest.mark.usefixtures("exact")
def test_a_request_waits_for_memory_until_its_deadline(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="500k")
    on_demand(models, "ab")
    assert ask(models, "a") == 1
    release, future = hold(models, "a")
    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match="no room for model b: model_memory"):
        ask(models, "b", for_seconds(0.2))
    assert time.monotonic() - began >= 0.2
    answers: list[float] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(models, "b")))
    waiting.start()
    until(lambda: models._cache._loading)
    assert answers == []
    release.set()
    waiting.join(PATIENCE)
    assert answers == [2]
    assert future.result(PATIENCE)["y"][0, 0] == 1
    assert loaded(models) == ["b"]


@pytest.mark.usefixtures("exact")
def test_a_model_that_is_never_idle_is_evicted_before_other_requests_expire(make_registry: MakeRegistry) -> None:
    models, over = make_registry(model_memory="500k"), threading.Event()
    on_demand(models, "ab")

    def keep_busy(number: int) -> None:
        """Have two calls in progress at any time."""
        last = models["a"].submit(x(), FakeRequest())
        while not over.is_set():
            following = models["a"].submit(x(), FakeRequest())
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
def test_a_model_that_was_held_back_in_vain_takes_calls_again(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="500k")
    on_demand(models, "ab")
    assert ask(models, "a") == 1
    release, future = hold(models, "a")
    with pytest.raises(DeadlinePassed):
        ask(models, "b", for_seconds(0.2))
    release.set()
    assert future.result(PATIENCE)["y"][0, 0] == 1
    assert ask(models, "a", for_seconds(PATIENCE)) == 1
    assert loaded(models) == ["a"]


@pytest.mark.usefixtures("exact")
def test_unloading_frees_memory_for_a_waiting_request(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="500k")
    on_demand(models, "ab")
    assert ask(models, "a") == 1
    models["a"]._entry.uses += 1  # as if a call never ended
    answers: list[float] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(models, "b")))
    waiting.start()
    until(lambda: models._cache._loading)
    time.sleep(0.02)
    models.unload("a")
    waiting.join(PATIENCE / 2)
    assert answers == [2]


def test_a_request_that_waits_for_a_load_leaves_at_its_own_deadline(
    make_registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, go, entered = make_registry(), threading.Event(), threading.Event()
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
    assert ask(models, "b") == 2  # a loaded model waits for no load
    go.set()
    loading.join(PATIENCE)
    assert answers == [1]


def test_a_caller_leaves_a_hung_model_at_its_deadline(make_registry: MakeRegistry) -> None:
    models, gate = make_registry(), Gated()
    models.add("f", gate, (X,), (Y,))
    gate.open.clear()
    with pytest.raises(DeadlinePassed, match=r"no answer within 0\.1 s"):
        ask(models, "f", for_seconds(0.1))
    gate.open.set()
    assert ask(models, "f") == 1


def test_every_use_ends(make_registry: MakeRegistry) -> None:
    models = make_registry(queue_limit=2)
    gate = Gated()
    models.add("f", gate, (X,), (Y,))
    entry = models["f"]._entry
    assert ask(models, "f") == 1
    with pytest.raises(BadInput):
        models["f"]({"z": x()["x"]}, FakeRequest())
    gate.hold()
    futures = [models["f"].submit(x(), FakeRequest())]
    assert gate.entered.acquire(timeout=PATIENCE)
    futures += [models["f"].submit(x(), FakeRequest()) for _ in range(2)]
    with pytest.raises(QueueFull):
        models["f"].submit(x(), FakeRequest())
    assert entry.uses == 3
    gate.open.set()
    for future in futures:
        future.result(PATIENCE)
    until(lambda: not entry.uses)


def test_an_unloaded_model_is_loaded_again_on_its_next_use(make_registry: MakeRegistry, seen: RecordingObserver) -> None:
    models = make_registry()
    models.load("a", "a.onnx")
    models.unload("a")
    assert loaded(models) == []
    models.unload("a")
    assert ask(models, "a") == 1
    assert [name for name, *_ in seen.loaded] == ["a", "a"]
    assert seen.unloaded == ["a"]


def test_unloading_finishes_the_calls_and_loses_none(make_registry: MakeRegistry) -> None:
    models, stop = make_registry(), threading.Event()
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


def test_a_model_that_is_closed_for_good_refuses(make_registry: MakeRegistry) -> None:
    models = make_registry()
    models.load("a", "a.onnx")
    assert models.loaded()[0].close(PATIENCE)
    with pytest.raises(NotReady):
        ask(models, "a")


@pytest.mark.usefixtures("exact")
def test_many_threads_over_many_models_and_a_small_budget_get_their_own_answers(make_registry: MakeRegistry) -> None:
    models = make_registry(model_memory="1M")
    on_demand(models, "abcd")

    def use(number: int) -> None:
        draw = np.random.default_rng(number)
        for _ in range(25):
            factor = int(draw.integers(1, 5))
            assert ask(models, "abcd"[factor - 1]) == factor
            assert len(models.loaded()) <= 3  # two, and one that is being loaded

    in_threads(6, use)
    assert len(models.loaded()) <= 2
    assert all(models[name]._entry.uses == 0 for name in "abcd")


def test_an_unloaded_models_memory_goes_back_to_the_system(seen: RecordingObserver) -> None:
    models = ModelRegistry(ROOT, Settings(service_name="s", username="u", max_batch_size=2), seen)
    models.on_demand("unet", "tests/models/unet.onnx", warmup_shapes={"images": (1, 64, 64)})
    models["unet"]({"images": np.zeros((1, 1, 64, 64), np.float32)}, FakeRequest())
    models.unload("unet")  # libraries keep some memory from the first load on
    for _ in range(2):
        forget_peak()
        before = resident_bytes()
        models["unet"]({"images": np.zeros((2, 1, 384, 384), np.float32)}, FakeRequest())
        models.unload("unet")
        assert peak_bytes() - before > 60 * MIB
        assert resident_bytes() - before < 20 * MIB
