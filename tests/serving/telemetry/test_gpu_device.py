"""The card's used memory is what the driver says, and nothing where there is no driver. The driver is a small fake here."""

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest

from serving.telemetry.gpu_device import Card, _card, card


class NVMLError(Exception):
    pass


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    _card.cache_clear()
    yield
    _card.cache_clear()


def driver(monkeypatch: pytest.MonkeyPatch, fails: str = "") -> None:
    """Put a driver in place. fails: the call that fails."""

    def call(name: str, value: object) -> object:
        def answer(*_: object) -> object:
            if name == fails:
                raise NVMLError
            return value

        return answer

    module = ModuleType("pynvml")
    memory = SimpleNamespace(used=3 * 2**30)
    calls = {"nvmlInit": None, "nvmlDeviceGetHandleByIndex": 1, "nvmlDeviceGetUUID": "GPU-a", "nvmlDeviceGetMemoryInfo": memory}
    for name, value in calls.items():
        setattr(module, name, call(name, value))
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_the_used_memory_of_the_card_is_told_in_bytes_with_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch)
    assert card() == Card("GPU-a", 3 * 2**30)


@pytest.mark.parametrize("fails", ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    driver(monkeypatch, fails)
    assert card() is None


def test_nothing_is_told_where_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert card() is None
