"""A service's models are found by their names, with the options that value.py or the service gives them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.base.errors import NotFound, StartError, WrongInputs
from serving.base.lifetime import Lifetime
from serving.models.tensors import Arrays
from tests import small_models
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
    lifetime,
    x,
)
from tests.threads import in_threads
from tests.waiting import until


def test_a_model_named_at_the_start_is_loaded_at_once(make_registry: MakeRegistry, seen: RecordingObserver) -> None:
    models = make_registry()
    handle = models.load("a", "a.onnx")
    assert handle.loaded
    assert handle.name == "a"
    assert [name for name, *_ in seen.loaded] == ["a"]
    assert ask(models, "a") == 1


def test_a_model_on_demand_is_loaded_on_first_use_once_though_many_ask_at_once(
    make_registry: MakeRegistry, seen: RecordingObserver
) -> None:
    models = make_registry()
    handle = models.on_demand("b", "b.onnx")
    assert not handle.loaded
    assert seen.loaded == []
    answers: list[float] = []
    in_threads(12, lambda _: answers.append(ask(models, "b")))
    assert answers == [2] * 12
    assert [name for name, *_ in seen.loaded] == ["b"]
    assert handle.loaded


def test_asking_for_its_tensors_loads_a_model(make_registry: MakeRegistry) -> None:
    models = make_registry()
    handle = models.on_demand("b", "b.onnx")
    assert handle.spec(lifetime()).inputs == (X,)
    assert handle.loaded
    assert models["b"]._entry.uses == 0


def test_the_options_of_a_model_override_value_py(make_registry: MakeRegistry, seen: RecordingObserver) -> None:
    models = make_registry()
    models.load("a", "a.onnx", max_batch_size=4, instances=2)
    (loaded,) = seen.loaded
    assert (loaded[2], list(loaded[4])) == (2, [1, 2, 4])


def test_an_unknown_model_is_not_found_and_the_known_are_named(make_registry: MakeRegistry) -> None:
    models = make_registry()
    with pytest.raises(NotFound, match="no model 'z' here; the models are none"):
        models["z"]
    models.on_demand("a", "a.onnx")
    models.add("f", double, (X,), (Y,))
    with pytest.raises(NotFound, match="no model 'z' here; the models are a, f"):
        models["z"]
    assert models.names() == ["a", "f"]


def test_two_models_of_one_name_fail_the_start(make_registry: MakeRegistry) -> None:
    models = make_registry()
    models.on_demand("a", "a.onnx")
    with pytest.raises(StartError, match="two models are named 'a'"):
        models.load("a", "b.onnx")


def test_a_function_is_a_model_too(make_registry: MakeRegistry, seen: RecordingObserver) -> None:
    models = make_registry()
    models.add("f", double, (X,), (Y,))
    assert ask(models, "f") == 2
    assert seen.loaded[0][:4] == ("f", "cpu", 1, 1)


def test_rows_may_come_in_groups_while_others_wait_and_the_outputs_come_joined_in_order(make_registry: MakeRegistry) -> None:
    models, gated, given = make_registry(queue_limit=3), Gated(), []
    models.add("f", gated, (X,), (Y,))

    def groups() -> Iterator[Arrays]:
        for number in range(6):
            given.append(number)
            yield {"x": np.full((2, 2), number, np.float32)}

    gated.hold()
    with ThreadPoolExecutor(1) as pool:
        outputs = pool.submit(models["f"], groups(), FakeRequest())
        gated.entered.acquire()
        until(lambda: len(given) == 2)
        gated.open.set()
        assert outputs.result(PATIENCE)["y"][:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    with pytest.raises(WrongInputs, match="the iterator of groups gives none"):
        models["f"](iter(()), FakeRequest())


@pytest.mark.parametrize("way", ["load", "on_demand"])
def test_a_missing_file_and_an_lfs_pointer_fail_the_start_even_on_demand(
    make_registry: MakeRegistry, tmp_path: Path, way: str
) -> None:
    models = make_registry()
    with pytest.raises(StartError, match=r"nothing\.onnx: no such file"):
        getattr(models, way)("n", "nothing.onnx")
    (tmp_path / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(StartError, match="a Git LFS pointer"):
        getattr(models, way)("l", "lfs.onnx")
    assert models.names() == []


def test_a_load_that_fails_can_be_tried_again(make_registry: MakeRegistry, tmp_path: Path) -> None:
    models = make_registry()
    (tmp_path / "e.onnx").write_bytes(b"nothing")
    with pytest.raises(StartError, match="not loaded as an ONNX model"):
        models.load("e", "e.onnx")
    small_models.identity(tmp_path / "e.onnx")
    assert models.load("e", "e.onnx").loaded


def test_the_loaded_models_can_be_listed_while_one_is_unloaded(make_registry: MakeRegistry) -> None:
    models = make_registry()
    models.load("a", "a.onnx")
    model = models.loaded()[0]

    class Going:
        """An entry whose model is gone after the first look."""

        looks = 0

        @property
        def model(self) -> Any:
            self.looks += 1
            return model if self.looks == 1 else None

    models._entries["going"] = Going()  # type: ignore[assignment]
    assert models.loaded() == [model, model]
    del models._entries["going"]


def test_the_queue_totals_are_taken_over_all_loaded_models(make_registry: MakeRegistry) -> None:
    models, gated = make_registry(), Gated()
    assert (models.waiting_rows(), models.oldest_age()) == (0, 0.0)
    handles = [models.add(name, gated, (X,), (Y,)) for name in "fg"]
    gated.hold()
    running = [handle.submit(x(2), FakeRequest()) for handle in handles]
    assert all(gated.entered.acquire(timeout=PATIENCE) for _ in handles)
    one, two = (FakeRequest(Lifetime(time.monotonic() - age, 60)) for age in (3, 5))
    waiting = [handles[0].submit(x(1), one), handles[1].submit(x(2), two)]
    assert models.waiting_rows() == 3
    assert 5 <= models.oldest_age() < 5 + PATIENCE
    gated.open.set()
    assert [len(future.result(PATIENCE)["y"]) for future in [*running, *waiting]] == [2, 2, 1, 2]
