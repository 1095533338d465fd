"""Fixtures of the tests: the service's modules can be imported by name, as in the service itself, and the service runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, running

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(Path(__file__).parents[1]) as it:
        yield it
