"""Fixtures that more than one test file uses."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.prerequisites import program
from tests.running import ROOT, Running, make_service, running

# The longest time of a test. Fixtures on a cluster may build images, and brokers may start; a slow machine takes long for both.
SECONDS = {"cluster": 1800, "offline": 900}

# A shell makes a background job ignore Ctrl-C, and the processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def is_marked(file: Path, marker: str) -> bool:
    """Return whether a file of tests, or a conftest.py of its folders, names a marker."""
    conftests = [folder / "conftest.py" for folder in file.parents if folder.is_relative_to(ROOT / "tests")]
    return any(each.exists() and f"mark.{marker}" in each.read_text(encoding="utf-8") for each in (file, *conftests))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files without a test of the marker that the run begins with: to import all takes each worker 20 s."""
    marker = str(config.option.markexpr).partition(" ")[0]
    if marker in SECONDS and collection_path.match("test_*.py") and not is_marked(collection_path, marker):
        return True
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that none of them runs last and alone, and give those that need most a longer time."""
    for item in items:
        for marker, seconds in SECONDS.items():
            if not item.get_closest_marker(marker):
                continue
            assert is_marked(item.path, marker), f"{item.path} has to name the marker {marker} itself"
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(seconds))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def demo() -> Iterator[Running]:
    """The root service, served."""
    with running(ROOT) as service:
        yield service


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without code of its own."""
    folder = make_service(
        tmp_path_factory.mktemp("digits") / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",)
    )
    with running(folder) as service:
        yield service


@pytest.fixture(scope="session")
def needs() -> Callable[[str, str], str]:
    """Return a function that finds a program, and ends the test where it is missing."""
    return program
