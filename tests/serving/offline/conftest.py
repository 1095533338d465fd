"""Fixtures of tests that need a broker or PostgreSQL: its address, and topics and groups that no other test has."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.own_broker import OwnBroker, own_broker
from tests.postgresql import Server, server
from tests.prerequisites import kafka
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Join, Member
from tests.serving.offline.offline_process import Case


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test of this folder that uses a broker, so that a stage of its own can run them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and {"kafka_address", "own", "guarded"} & {
            *getattr(item, "fixturenames", ())
        }:
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


@pytest.fixture
def join(kafka_address: str, group: str) -> Iterator[Join]:
    """Return a function that starts a member of the group. Each one is stopped at the end."""
    with ExitStack() as stack:

        def make(topic: str, **more: Any) -> Member:
            member = Member(kafka_address, topic, group, **more)
            stack.callback(member.stop, 0.2)
            return member

        yield make


@pytest.fixture(scope="session")
def own() -> Iterator[OwnBroker]:
    """A broker that a test may kill and freeze. It runs between tests."""
    with own_broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server that runs between tests. A test that stops it starts it again."""
    with server() as made:
        yield made
