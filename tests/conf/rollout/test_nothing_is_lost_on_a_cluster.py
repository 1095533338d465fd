"""Through the gateway, at half of what the node holds, nothing is lost while pods come and go: an open loop, three of each."""

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.asked import url, version
from tests.conf.rollout.desk import Desk, Make
from tests.conf.rollout.fleet import delete_a_pod, ready
from tests.conf.rollout.load import half, loaded

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(300), pytest.mark.usefixtures("images")]


@pytest.fixture(scope="module")
def rates() -> dict[str, float]:
    """The rate, once it is measured."""
    return {}


@pytest.fixture
def mine(desk: Make) -> Desk:
    """A service with two pods of version 1."""
    made = desk("hk")
    made.set(replicas=2)
    made.run("deploy", tag="1")
    return made


@pytest.fixture
def rate(mine: Desk, rates: dict[str, float]) -> float:
    if not rates:
        rates["half"] = half(url(mine))
    return rates["half"]


def test_no_request_is_lost_while_versions_go_forward_and_back(mine: Desk, rate: float) -> None:
    with loaded(url(mine), rate) as forward:
        for tag in ("2", "3", "moody"):
            mine.run("deploy", tag=tag)
    assert forward.lost() == [], f"at {rate:.0f} requests a second"
    with loaded(url(mine), rate) as back:
        for tag in ("3", "2", "1"):
            mine.run("rollback")
            assert version(url(mine)) == tag
    assert back.lost() == [], f"at {rate:.0f} requests a second"


def test_no_request_is_lost_while_two_pods_become_four_and_two_again(mine: Desk, rate: float, hk: Cluster) -> None:
    with loaded(url(mine), rate) as load:
        for replicas in (4, 2) * 3:
            mine.set(replicas=replicas)
            mine.run("deploy", tag="1")
            assert len(ready(hk, mine)) == replicas
    assert load.lost() == [], f"at {rate:.0f} requests a second"


def test_no_request_is_lost_while_pods_are_deleted_one_by_one(mine: Desk, rate: float, hk: Cluster) -> None:
    with loaded(url(mine), rate) as load:
        for _ in range(3):
            delete_a_pod(hk, mine)
    assert load.lost() == [], f"at {rate:.0f} requests a second"
