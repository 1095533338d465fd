"""A pod tells what it may take, and of a card only where its models run on one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving.base.errors import StartError
from serving.models.engine import CUDA_CONTEXT_BYTES, Hardware
from serving.models.options import Options
from serving.models.registry import ModelRegistry
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from serving.telemetry.resources import Card
from serving.web import process

GIB = 2**30


def models(provider: str, gib: float) -> ModelRegistry:
    """A registry that holds one model of two sessions, which is not really loaded. gib: of each session."""
    options = Options(hardware=Hardware(provider, 1, int(gib * GIB)), instances=2)
    loaded = SimpleNamespace(spec=SimpleNamespace(name="small"), options=options)
    return cast(ModelRegistry, SimpleNamespace(options=options, loaded=lambda: [loaded]))


def settings(**changed: Any) -> Settings:
    return Settings(service_name="small", username="like", **changed)


def shown(metrics: Metrics) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in metrics.page().decode().splitlines() if line.startswith("monopod_gpu"))
    return {series: float(value) for series, _, value in lines}


def test_without_a_card_nothing_is_told_of_one() -> None:
    metrics = Metrics()
    process.show_gpu(metrics, settings(gpu_memory=4.0, provider="cpu"), models("cpu", 2))
    assert "monopod_gpu" not in metrics.page().decode()


def test_the_declared_memory_stands_beside_the_arenas_limit_and_the_whole_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "card", lambda: Card("GPU-a", 5 * GIB))
    metrics = Metrics()
    process.show_gpu(metrics, settings(gpu_memory=4.0), models("cuda", 2))
    assert shown(metrics) == {
        'monopod_gpu_device_used_bytes{card="GPU-a"}': 5 * GIB,
        "monopod_gpu_memory_declared_bytes": 4 * GIB,
        'monopod_gpu_arena_limit_bytes{model="small"}': 2 * (2 * GIB - CUDA_CONTEXT_BYTES),
    }


def test_a_figure_that_cannot_be_read_is_absent_and_not_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "card", lambda: None)
    metrics = Metrics()
    process.show_gpu(metrics, settings(gpu_num=1), models("cuda", 0))
    assert shown(metrics) == {}


def test_without_a_plan_there_is_no_price_and_no_limit_of_the_temporary_folder(tmp_path: Path) -> None:
    metrics = Metrics()
    process.show_release(metrics, settings(), {}, "0.2.0")
    process.show_size(metrics, settings(), {})
    page = metrics.page().decode()
    assert "monopod_price_per_month" not in page
    assert "monopod_tmp_limit_bytes" not in page
    assert 'monopod_release_info{platform="0.2.0",region="",track="",user="like",version="dev"} 1.0' in page


def test_a_price_that_is_no_number_fails_the_start() -> None:
    with pytest.raises(StartError, match="MONOPOD_PRICE_PER_MONTH='much'"):
        process.show_release(Metrics(), settings(), {"MONOPOD_PRICE_PER_MONTH": "much"}, "")
