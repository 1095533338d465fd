"""Fixtures of tests that need a Kafka broker: its address, topics and groups that are no other test's."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgresql import Server, server
from tests.prerequisites import kafka
from tests.serving.offline import broker
from tests.serving.offline.case import Case


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses the broker, so that a stage of its own can run them."""
    for item in items:
        if "kafka_address" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.offline)


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """The broker's address."""
    return kafka()


@pytest.fixture(scope="session")
def make_topic(kafka_address: str) -> Iterator[Callable[..., str]]:
    """Return a function that creates a topic of some partitions, and returns its name. settings: the topic's own."""
    made: list[str] = []

    def make(partitions: int = 1, **settings: str) -> str:
        name = f"monopod-test-{uuid.uuid4().hex[:12]}"
        broker.create_topic(kafka_address, name, partitions, **settings)
        made.append(name)
        return name

    yield make
    if made:
        broker.delete_topics(kafka_address, made)


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    """A topic of one partition."""
    return make_topic()


@pytest.fixture
def group(kafka_address: str) -> Iterator[str]:
    """The name of a group that no other test uses."""
    name = f"monopod-test-{uuid.uuid4().hex[:12]}"
    yield name
    broker.delete_group(kafka_address, name)


@pytest.fixture
def case(kafka_address: str, make_topic: Callable[..., str], group: str, tmp_path: Path) -> Iterator[Case]:
    """A topic of two partitions, with the topic of its answers."""
    made = Case(kafka_address, make_topic(2), group, make_topic(), tmp_path / "small")
    yield made
    broker.delete_topics(kafka_address, [made.dead])


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with server() as made:
        yield made
