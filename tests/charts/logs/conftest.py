"""The sinks of the tests of the shipper: a real node of OpenSearch, and a receiver for what a node cannot be made to do."""

from collections.abc import Iterator

import pytest

from tests.charts.logs import opensearch
from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.opensearch import Node


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with opensearch.running(tmp_path_factory.mktemp("opensearch")) as node:
        yield node


@pytest.fixture
def node(started: Node) -> Node:
    """A node without documents."""
    started.clear()
    return started


@pytest.fixture
def sink() -> Iterator[BulkReceiver]:
    receiver = BulkReceiver()
    yield receiver
    receiver.stop()
