"""Batchers of models of a few lines, and registries of small models, which are closed after the test."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import serving.models.model_cache
from serving.models.batcher import Batcher
from serving.models.registry import ModelRegistry
from serving.settings import Settings
from tests import small_models
from tests.serving.models.batchers import Held, MakeBatcher
from tests.serving.models.recording import RecordingObserver
from tests.serving.models.registries import PATIENCE, SIZE, MakeRegistry

Clock = Callable[[], float]


@pytest.fixture
def seen() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def make() -> Iterator[MakeBatcher]:
    """Return a maker of batchers, which are closed after the test."""
    made: list[tuple[Batcher, Any]] = []

    def maker(run: Any, observer: Any = None, **options: Any) -> Batcher:
        made.append((Batcher("m", run, observer or RecordingObserver(), **options), run))
        return made[-1][0]

    yield maker
    for batcher, run in made:
        if isinstance(run, Held):
            run.free()
        assert batcher.close(PATIENCE)


@pytest.fixture
def make_registry(tmp_path: Path, seen: RecordingObserver) -> Iterator[MakeRegistry]:
    """Return a maker of registries over a folder with a.onnx to d.onnx, which multiply by 1, 2, 3 and 4."""
    made: list[ModelRegistry] = []
    for factor, name in enumerate("abcd", 1):
        small_models.padded(tmp_path / f"{name}.onnx", SIZE, factor)

    def maker(loop: asyncio.AbstractEventLoop | None = None, clock: Clock = time.monotonic, **settings: Any) -> ModelRegistry:
        chosen = Settings(service_name="s", username="u", max_batch_size=2, **settings)
        made.append(ModelRegistry(tmp_path, chosen, seen, loop=loop, clock=clock))
        return made[-1]

    yield maker
    for models in made:
        for model in models.loaded():
            assert model.close(PATIENCE)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count each model by the size of its file, since the memory of the process is not exact."""
    monkeypatch.setattr(serving.models.model_cache, "resident_bytes", lambda: 0)
