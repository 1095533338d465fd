"""A PostgreSQL server whose rows are read."""

from collections.abc import Iterator

import pytest

from tests import postgresql as programs


@pytest.fixture(scope="session")
def postgresql() -> Iterator[programs.Server]:
    """A server that runs between tests. A test that stops it starts it again."""
    with programs.server() as server:
        yield server
