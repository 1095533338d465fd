"""The options of a model follow from value.py.

gpu_memory is shared: each session of onnxruntime is opened with the limit that value.py gives it.

No GPU is needed: the options of a session are recorded, and then a session of the CPU takes its place. Everything else is as in
a pod, from value.py to the call that opens a session.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from serving.base.errors import DeadlinePassed, StartError
from serving.base.lifetime import Lifetime
from serving.models.engine import Hardware
from serving.models.options import Options, options_of
from serving.models.registry import ModelRegistry
from serving.settings import SESSION_GIB, Settings, read
from serving.telemetry.metrics import Metrics
from tests import small_models


@pytest.mark.parametrize(
    ("settings", "hardware", "instances"),
    [
        ({}, Hardware("cpu", 1), 1),
        ({"cpu": 4.0, "ins_num_per_gpu": 2}, Hardware("cpu", 2), 2),
        ({"cpu": 3.5, "ins_num_per_gpu": 2}, Hardware("cpu", 1), 2),
        ({"cpu": 0.5}, Hardware("cpu", 1), 1),
        ({"cpu": 8.0, "gpu_memory": 8.0, "ins_num_per_gpu": 2}, Hardware("cuda", 1, 4 * 2**30), 2),
        ({"gpu_num": 1}, Hardware("cuda", 1, 0), 1),
        ({"gpu_memory": 8.0, "model_gpu_memory": {"a": 2.0, "b": 1.0}}, Hardware("cuda", 1, 5 * 2**30), 1),
        ({"gpu_memory": 8.0, "on_demand_gpu_memory": 2.0, "ins_num_per_gpu": 2}, Hardware("cuda", 1, 3 * 2**30), 2),
        ({"model_gpu_memory": {"a": 2.0}, "on_demand_gpu_memory": 2.0}, Hardware("cpu", 1, 0), 1),
        ({"gpu_memory": 2.0, "provider": "tensorrt", "fp16": True}, Hardware("tensorrt", 1, 2 * 2**30, True), 1),
        ({"gpu_memory": 2.0, "provider": "cpu", "cpu": 2.0}, Hardware("cpu", 2, 2 * 2**30), 1),
    ],
)
def test_what_a_model_may_use_follows_from_the_settings(settings: Any, hardware: Hardware, instances: int) -> None:
    options = options_of(Settings(service_name="s", username="u", **settings))
    assert options.hardware == hardware
    assert options.instances == instances


def test_limits_come_from_the_settings() -> None:
    options = options_of(
        Settings(
            service_name="s",
            username="u",
            max_batch_size=3,
            max_queue_delay_ms=20,
            queue_limit=5,
            max_rows_per_request=4,
            warmup_shapes={"x": (3,)},
        )
    )
    assert options == Options(
        max_batch_size=3,
        max_queue_delay=0.02,
        queue_limit=5,
        max_rows_per_request=4,
        warmup_shapes={"x": (3,)},
        memory=2 * 2**30,
    )


GIB = 2**30
CUDA = "CUDAExecutionProvider"
NAMES = ('service_name = "main"\nusername = "u"\n', 'model_path = "main.onnx"\n')


Models = Callable[..., ModelRegistry]


class FakeGpu:
    """Records the arena of each session that is opened, GiB. now: the arenas of the open sessions by their files."""

    def __init__(self) -> None:
        self.arenas: list[tuple[str, float]] = []
        self._live: list[tuple[str, float, Any]] = []

    def opened(self, path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
        (name, given), *_ = providers
        assert name == CUDA
        arena = (Path(path).stem, int(given.get("gpu_mem_limit", "0")) / GIB)
        self.arenas.append(arena)
        session = CpuSession(path, options, providers=["CPUExecutionProvider"])
        self._live.append((*arena, weakref.ref(session)))
        return session

    @property
    def now(self) -> dict[str, float]:
        return {name: gib for name, gib, session in self._live if session() is not None}


class CpuSession(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session of the CPU that claims to run on a GPU."""

    def get_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def run(self, names: Any, feeds: Any, _: Any = None) -> Any:  # its options would name the GPU's arena
        return super().run(names, feeds)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    gpu = FakeGpu()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", gpu.opened)
    return gpu


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for factor, name in enumerate(("main", "detector", "embedder", "a", "b", "c"), 1):
        small_models.padded(tmp_path / f"{name}.onnx", 4000, factor)
    return tmp_path


@pytest.fixture
def models(gpu: FakeGpu, folder: Path) -> Iterator[Models]:
    """Return what makes the models of a service whose value.py has some lines. They may set model_path to main.onnx."""
    made: list[ModelRegistry] = []

    def make(lines: str, region: str = "", lazy: bool = False) -> ModelRegistry:
        settings = read(NAMES[0] + lines, "value.py", ("hk", "eu")).in_region(region)
        made.append(ModelRegistry(folder, settings, Metrics(), lazy))
        if settings.model_path:
            made[-1].load(settings.service_name, settings.model_path)
        return made[-1]

    yield make
    assert all(model.close(100.0) for found in made for model in found.loaded())


def ask(found: ModelRegistry, name: str, seconds: float = 100.0) -> float:
    class Asking:
        life = Lifetime(time.monotonic(), seconds)

    return float(found[name]({"x": np.ones((1, 2), np.float32)}, Asking())["y"][0, 0])


def test_each_model_of_the_start_has_its_share_and_model_paths_model_the_rest(gpu: FakeGpu, models: Models) -> None:
    found = models(NAMES[1] + 'gpu_memory = 8\nmodel_gpu_memory = {"detector": 2, "embedder": 1.25}\n')
    found.load("detector", "detector.onnx")
    found.load("embedder", "embedder.onnx")
    assert gpu.arenas == [("main", 4.75 - SESSION_GIB), ("detector", 2 - SESSION_GIB), ("embedder", 1.25 - SESSION_GIB)]
    assert sum(arena + SESSION_GIB for _, arena in gpu.arenas) == 8


def test_a_share_is_divided_over_the_sessions_of_its_model(gpu: FakeGpu, models: Models) -> None:
    found = models(NAMES[1] + 'gpu_memory = 10\nins_num_per_gpu = 2\nmodel_gpu_memory = {"detector": 3, "embedder": 2}\n')
    found.load("detector", "detector.onnx", instances=3)
    found.load("embedder", "embedder.onnx")
    assert gpu.arenas == [("main", 2.0)] * 2 + [("detector", 0.5)] * 3 + [("embedder", 0.5)] * 2
    assert sum(arena + SESSION_GIB for _, arena in gpu.arenas) == 10


def test_a_regions_own_shares_hold_there(gpu: FakeGpu, models: Models) -> None:
    lines = 'gpu_memory = 8\nmodel_gpu_memory = {"detector": 2}\nhk_gpu_memory = 4\nhk_model_gpu_memory = {"detector": 1}\n'
    for region in ("", "hk"):
        found = models(NAMES[1] + lines, region)
        found.load("detector", "detector.onnx")
    assert [arena + SESSION_GIB for _, arena in gpu.arenas] == [6, 2, 3, 1]


def test_without_gpu_memory_nobody_has_a_limit_or_needs_a_share(gpu: FakeGpu, models: Models) -> None:
    found = models(NAMES[1] + 'gpu_num = 1\nmodel_gpu_memory = {"detector": 2}\n')
    found.load("embedder", "embedder.onnx")
    found.on_demand("a", "a.onnx")
    assert ask(found, "a") == 4
    assert gpu.arenas == [("main", 0), ("embedder", 0), ("a", 0)]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_model_without_a_share_fails_the_start_with_the_line_to_write(gpu: FakeGpu, models: Models, lazy: bool) -> None:
    found = models('gpu_memory = 8\nmodel_gpu_memory = {"detector": 2}\n', lazy=lazy)
    with pytest.raises(StartError, match='6 unused.*"detector": 2, "embedder": 1}$'):
        found.load("embedder", "embedder.onnx")
    assert gpu.arenas == []
    assert found.names() == []
    written = models('gpu_memory = 8\nmodel_gpu_memory = {"detector": 2, "embedder": 1}\n', lazy=lazy)
    assert written.load("embedder", "embedder.onnx").name == "embedder"


def test_a_model_whose_hardware_the_service_names_needs_no_share(gpu: FakeGpu, models: Models) -> None:
    found = models("gpu_memory = 8\n")
    found.load("detector", "detector.onnx", hardware=Hardware("cuda", gpu_bytes=3 * GIB))
    assert gpu.arenas == [("detector", 2.5)]


def test_a_share_that_leaves_a_session_nothing_fails_the_start(gpu: FakeGpu, models: Models) -> None:
    found = models('gpu_memory = 8\nmodel_gpu_memory = {"detector": 1}\n')
    with pytest.raises(StartError, match=r"1 GiB of gpu_memory for 2 sessions"):
        found.load("detector", "detector.onnx", instances=2)


def test_models_on_first_use_take_their_budget_in_turn(gpu: FakeGpu, models: Models) -> None:
    found = models(NAMES[1] + "gpu_memory = 8\non_demand_gpu_memory = 3\n")
    for name in "ab":
        found.on_demand(name, f"{name}.onnx")
    assert [ask(found, name) for name in "aba"] == [4, 5, 4]
    assert gpu.arenas == [("main", 4.5), ("a", 2.5), ("b", 2.5), ("a", 2.5)]
    assert [model.spec.name for model in found.loaded()] == ["main", "a"]


def test_models_on_first_use_that_fit_beside_one_another_stay_and_never_take_more_than_the_budget(
    gpu: FakeGpu, models: Models
) -> None:
    found = models("gpu_memory = 8\non_demand_gpu_memory = 3\n")
    for name, gib in (("a", 1), ("b", 1.5), ("c", 2)):
        found.on_demand(name, f"{name}.onnx", gpu_memory=gib)
    for name, loaded in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "b"), ("a", "ab")):
        ask(found, name)
        assert set(gpu.now) == set(loaded)
        assert sum(arena + SESSION_GIB for arena in gpu.now.values()) <= 3


def test_a_request_waits_for_gpu_memory_until_its_deadline(gpu: FakeGpu, models: Models) -> None:
    found = models("gpu_memory = 8\non_demand_gpu_memory = 3\n")
    for name in "ab":
        found.on_demand(name, f"{name}.onnx")
    life = Lifetime(time.monotonic(), 100.0)
    found._cache.acquire(found._entries["a"], life)
    with pytest.raises(DeadlinePassed, match="on_demand_gpu_memory is spent"):
        ask(found, "b", 0.3)
    found._cache.release(found._entries["a"])
    assert ask(found, "b") == 5


@pytest.mark.parametrize(
    ("lines", "asked", "words"),
    [
        ("", {}, "no share .*: on_demand_gpu_memory = 1$"),
        ("on_demand_gpu_memory = 2\n", {"gpu_memory": 3}, "gpu_memory=3 .* at most on_demand_gpu_memory, 2;"),
        ("on_demand_gpu_memory = 2\n", {"gpu_memory": 0.25}, r"gpu_memory=0\.25 .* above 0\.5"),
        ('on_demand_gpu_memory = 2\nmodel_gpu_memory = {"a": 2}\n', {}, "take it out of model_gpu_memory"),
    ],
)
def test_a_model_on_first_use_without_its_part_fails_the_start(
    gpu: FakeGpu, models: Models, lines: str, asked: dict[str, float], words: str
) -> None:
    found = models("gpu_memory = 8\n" + lines)
    with pytest.raises(StartError, match=f"^model 'a', .*{words}"):
        found.on_demand("a", "a.onnx", **asked)
