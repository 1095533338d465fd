"""The card's used memory is what the driver says, and nothing where there is no driver. The driver is a small fake here.

All bytes that the process has on the disk of its temporary folder are counted, those of files without a name too.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from serving.telemetry import resources
from serving.telemetry.resources import Card, _card, bytes_on_disk, card


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


MIB = 2**20


def test_files_below_the_folder_are_counted(tmp_path: Path) -> None:
    before = bytes_on_disk(str(tmp_path))
    (tmp_path / "tensorrt" / "engines").mkdir(parents=True)
    (tmp_path / "tensorrt" / "engines" / "demo").write_bytes(os.urandom(2 * MIB))
    (tmp_path / "link").symlink_to("/usr")
    assert 2 * MIB <= bytes_on_disk(str(tmp_path)) - before < 2.1 * MIB


def test_an_open_file_without_a_name_is_counted_until_it_is_closed(tmp_path: Path) -> None:
    before = bytes_on_disk(str(tmp_path))
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(os.urandom(3 * MIB))
        file.flush()
        assert list(tmp_path.iterdir()) == []
        assert 3 * MIB <= bytes_on_disk(str(tmp_path)) - before < 3.1 * MIB
    assert bytes_on_disk(str(tmp_path)) == before


def test_the_number_of_files_that_are_looked_at_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MAX_FILES", 3)
    before = bytes_on_disk(str(tmp_path))
    for number in range(10):
        (tmp_path / str(number)).write_bytes(os.urandom(MIB))
    assert bytes_on_disk(str(tmp_path)) - before < 3.1 * MIB


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert bytes_on_disk(str(tmp_path / "nowhere")) == 0
