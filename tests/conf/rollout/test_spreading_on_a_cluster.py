"""The gateway spreads requests over pods: evenly over equal pods, fewer to a slow pod, none to a pod that resets."""

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout, deployed
from tests.conf.rollout.load import loaded
from tests.conf.rollout.ready_pods import answers_in, keeping_file, names
from tests.conf.rollout.service_state import until, url
from tests.image.pods import Pod

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.usefixtures("images")]
RATE = 60.0
SECONDS = 10.0


@pytest.fixture
def three(make_checkout: MakeCheckout) -> Checkout:
    """A service with three pods, which can be made slow or reset their connections."""
    return deployed(make_checkout, "moody", 3)


def test_equal_pods_get_equally_many_requests(three: Checkout, hk: Cluster) -> None:
    with loaded(url(three), RATE) as load:
        counts = answers_in(hk, three, 2 * SECONDS)
    assert load.lost() == []
    assert len(counts) == 3
    assert max(counts.values()) < 1.3 * min(counts.values()), counts


def test_a_slow_pod_gets_fewer_requests(three: Checkout, hk: Cluster) -> None:
    slow = names(hk, three)[0]
    with loaded(url(three), RATE) as load, keeping_file(Pod.of(hk.context, three.user, slow), "slow"):
        counts = answers_in(hk, three, SECONDS)
    assert load.lost() == []
    assert 0 < counts.pop(slow) < 0.7 * min(counts.values()), counts


def test_a_pod_that_resets_connections_is_left_out_and_comes_back(three: Checkout, hk: Cluster) -> None:
    broken = names(hk, three)[0]
    with loaded(url(three), RATE) as load:
        with keeping_file(Pod.of(hk.context, three.user, broken), "resetting"):
            counts = answers_in(hk, three, SECONDS)
            assert counts[broken] < 0.1 * RATE * SECONDS / 3, counts
        until(lambda: answers_in(hk, three, 1)[broken] > 0.5 * RATE / 3)
    lost = sum(kind["count"] for kind in load.figures["kinds"] if kind["name"] != "200")
    # The pod is tried again after 5 s, 10 s and so on. Envoy ejects a pod at the first failure after a success. Failures in
    # flight at that moment delay the next try by about a second.
    assert 0 < lost < 0.25 * RATE * SECONDS / 3, load.lost()
    with loaded(url(three), RATE) as after:
        counts = answers_in(hk, three, SECONDS)
    assert after.lost() == []
    assert max(counts.values()) < 1.5 * min(counts.values()), counts
