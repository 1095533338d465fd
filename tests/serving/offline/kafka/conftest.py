"""Fixtures of tests that read a topic as members of a group."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.serving.offline.kafka.members import Join, Member


@pytest.fixture
def join(kafka_address: str, group: str) -> Iterator[Join]:
    """Return a function that starts a member of the group. Each one is stopped at the end."""
    with ExitStack() as stack:

        def make(topic: str, **more: Any) -> Member:
            member = Member(kafka_address, topic, group, **more)
            stack.callback(member.stop, 0.2)
            return member

        yield make
