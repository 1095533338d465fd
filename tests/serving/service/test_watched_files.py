"""A file that changes is read again, and a file that cannot be read changes nothing."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from serving.base.errors import QueueFull, StartError
from serving.service.watched_files import watch
from serving.telemetry.metrics import Metrics
from tests import waiting

until = partial(waiting.until, seconds=5, pause=0.01)


def is_last(items: list[str], text: str) -> bool:
    return items[-1] == text


def replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("one")
    return path


def test_a_file_is_loaded_at_once_and_after_every_change(file: Path) -> None:
    seen: list[str] = []
    watch(file, lambda: seen.append(file.read_text()), Metrics(), 0.02)
    assert seen == ["one"]
    for text in ("two", "six"):  # as long as the text before, since any other file counts as changed
        replace(file, text)
        until(partial(is_last, seen, text))
    time.sleep(0.1)
    assert seen == ["one", "two", "six"]


def test_a_failed_reload_is_counted_and_the_next_change_is_still_seen(file: Path) -> None:
    numbers: list[int] = []
    metrics = Metrics()
    replace(file, "1")
    watch(file, lambda: numbers.append(int(file.read_text())), metrics, 0.02)
    replace(file, "no number")
    until(lambda: "monopod_reload_failures_total 1.0" in metrics.page().decode())
    file.unlink()
    until(lambda: "monopod_reload_failures_total 2.0" in metrics.page().decode())
    replace(file, "2")
    until(lambda: numbers == [1, 2])
    until(lambda: "monopod_reloads_total 1.0" in metrics.page().decode())


def test_a_failed_reload_is_seen_for_as_long_as_the_file_is_wrong(file: Path) -> None:
    metrics = Metrics()
    replace(file, "1")
    numbers: list[float] = []
    watch(file, lambda: numbers.append(float(file.read_text())), metrics, 0.02)
    replace(file, "no number")
    until(lambda: 'monopod_reload_failed{file="corpus.txt"} 1.0' in metrics.page().decode())
    replace(file, "2")
    until(lambda: 'monopod_reload_failed{file="corpus.txt"} 0.0' in metrics.page().decode())


def test_only_an_unexpected_error_is_logged_with_a_traceback(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    errors = iter([None, StartError("corpus.txt holds no sentence"), KeyError("odd"), None])

    def load() -> None:
        if error := next(errors):
            raise error

    watch(file, load, Metrics(), 0.02)
    replace(file, "two")
    until(lambda: len(caplog.records) == 1)
    replace(file, "three")
    until(lambda: len(caplog.records) == 2)
    assert "stays: corpus.txt holds no sentence" in caplog.messages[0]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_the_error_of_the_first_load_is_raised(file: Path) -> None:
    def load() -> None:
        raise ValueError("empty")

    with pytest.raises(ValueError, match="empty"):
        watch(file, load, Metrics(), 0.02)


def test_a_service_that_is_too_busy_to_reload_tries_again_without_another_change(file: Path) -> None:
    tries: list[str] = []

    def load() -> None:
        tries.append(file.read_text())
        if len(tries) == 2:
            raise QueueFull("the queue is full")

    metrics = Metrics()
    watch(file, load, metrics, 0.02)
    replace(file, "two")
    until(lambda: "monopod_reloads_total 1.0" in metrics.page().decode())
    assert tries == ["one", "two", "two"]
    assert "monopod_reload_failures_total 0.0" in metrics.page().decode()
