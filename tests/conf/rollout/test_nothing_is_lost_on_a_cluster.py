"""No request through a gateway is lost while pods come and go, at a fifth of the peak rate. An open loop, three times each.

Digits are sent, and beside them bodies of 600 KB, which a gateway sends again only where it is told to keep so much.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout, deployed
from tests.conf.rollout.gateways import through_both
from tests.conf.rollout.load import LARGE, loaded, padded, quarter
from tests.conf.rollout.ready_pods import delete_a_pod, ready
from tests.conf.rollout.service_state import url, version

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.usefixtures("images", "buffers")]
LARGE_RATE = 10.0
SHARE = 0.8  # the part of the rate that sends digits


@pytest.fixture(scope="module")
def rates() -> dict[str, float]:
    """The rate through each gateway, once it is measured."""
    return {}


@pytest.fixture
def mine(make_checkout: MakeCheckout) -> Checkout:
    """A service with two pods of version 1."""
    return deployed(make_checkout, "1", 2)


@pytest.fixture
def rate(mine: Checkout, rates: dict[str, float]) -> float:
    key = mine.gateway.routing
    if key not in rates:
        rates[key] = SHARE * quarter(url(mine))
    return rates[key]


@contextmanager
def nothing_lost(mine: Checkout, rate: float, folder: Path) -> Iterator[None]:
    """Send digits and large bodies for the length of a block. No request may be lost."""
    with loaded(url(mine), rate) as digits, loaded(url(mine), LARGE_RATE, padded(folder, LARGE)) as large:
        yield
    assert digits.lost() == [], f"at {rate:.0f} requests a second"
    assert large.lost() == [], f"of {LARGE} bytes each, beside {rate:.0f} digits a second"


@through_both
def test_no_request_is_lost_while_versions_go_forward_and_back(mine: Checkout, rate: float, tmp_path: Path) -> None:
    with nothing_lost(mine, rate, tmp_path):
        for tag in ("2", "3", "moody"):
            mine.run("deploy", tag=tag)
    with nothing_lost(mine, rate, tmp_path):
        for tag in ("3", "2", "1"):
            mine.run("rollback")
            assert version(url(mine)) == tag


def test_no_request_is_lost_while_two_pods_become_four_and_two_again(
    mine: Checkout, rate: float, hk: Cluster, tmp_path: Path
) -> None:
    with nothing_lost(mine, rate, tmp_path):
        for replicas in (4, 2) * 3:
            mine.write_value(replicas=replicas)
            mine.run("deploy", tag="1")
            assert len(ready(hk, mine)) == replicas


@through_both
def test_no_request_is_lost_while_pods_are_deleted_one_by_one(mine: Checkout, rate: float, hk: Cluster, tmp_path: Path) -> None:
    with nothing_lost(mine, rate, tmp_path):
        for _ in range(3):
            delete_a_pod(hk, mine)
