"""Served services, one for each module that asks for it."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Running, get, running
from tests.serving import echo_service
from tests.serving.web.slow_service import FOLDER


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The service of tests.serving.echo_service. Its model takes the lane where `both_paths` says so."""
    with echo_service.serving(tmp_path_factory, lane=getattr(request, "param", False)) as one:
        yield one


@pytest.fixture(scope="session")
def tensors() -> Iterator[Running]:
    """A service with a model of each datatype."""
    with running(ROOT / "tests/services/tensors") as one:
        yield one


@pytest.fixture(scope="module")
def slow_process() -> Iterator[Running]:
    with running(FOLDER) as one:
        yield one


@pytest.fixture
def slow(slow_process: Running) -> Iterator[Running]:
    """The service of tests.serving.web.slow_service. Its queue is empty again before the next test."""
    yield slow_process
    end = time.monotonic() + 10
    while time.monotonic() < end:
        status = json.loads(get(slow_process.url + "/status")[1])
        if status["queue"]["rows"] == 0 and status["in_progress"] == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"the service is not calm: {status}")
