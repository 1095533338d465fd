"""Lets the tests import the service's modules by their names, as the service itself does, and serves it to them."""

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
