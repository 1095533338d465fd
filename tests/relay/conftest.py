"""Fixtures of the relay's tests: a robot, and a relay that sends to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conf.webhook import Webhook, running_webhook
from tests.relay.relays import Relay, running_relay


@pytest.fixture
def robot() -> Iterator[Webhook]:
    """A robot on a socket. Its address holds the word hidden."""
    with running_webhook() as server:
        yield server


@pytest.fixture
def relay(robot: Webhook, tmp_path: Path) -> Iterator[Relay]:
    """A relay that may ask the robot over plain HTTP, for two seconds."""
    plain = f"127.0.0.1:{robot.server_port}"
    addresses = {"robot": f"{robot.url}\n", "webhook": robot.url}
    with running_relay(tmp_path, addresses, RELAY_PLAIN_HOSTS=plain, RELAY_TIMEOUT="2", RELAY_REGION="hk") as running:
        yield running
