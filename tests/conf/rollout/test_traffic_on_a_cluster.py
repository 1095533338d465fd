"""A gateway sends a refused request to no second pod, and a pod that dies loses only its in-flight requests."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout, deployed
from tests.conf.rollout.gateways import through_both
from tests.conf.rollout.load import LARGE, curl, loaded, padded
from tests.conf.rollout.ready_pods import answered, keeping_file, names, ready
from tests.conf.rollout.service_state import pods, until, url
from tests.image.pods import Pod

pytestmark = [pytest.mark.cluster, pytest.mark.by_gateway, pytest.mark.usefixtures("images", "buffers"), through_both]
REQUESTS, AT_ONCE = 200, "64"
RATE, LARGE_RATE = 60.0, 10.0


def counts(cluster: Cluster, checkout: Checkout) -> dict[int, float]:
    """Return how many requests the pods have answered, and how many they have refused, by the code."""
    routes = {200: "service", 429: "refused"}
    return {code: sum(answered(cluster, checkout, code, route).values()) for code, route in routes.items()}


def test_a_request_that_a_pod_refused_is_not_sent_to_another(make_checkout: MakeCheckout, hk: Cluster, tmp_path: Path) -> None:
    mine = deployed(make_checkout, "refuses", 2)
    first, second = (Pod.of(hk.context, mine.user, name) for name in names(hk, mine))
    before = counts(hk, mine)
    with keeping_file(first, "slow"), keeping_file(second, "slow"):
        sent = curl(url(mine), padded(tmp_path, 1), REQUESTS, "--parallel", "--parallel-max", AT_ONCE)
        codes = Counter(map(int, sent.communicate()[0].split()))
    assert set(codes) == {200, 429}, codes
    assert {code: count - before[code] for code, count in counts(hk, mine).items()} == dict(codes)


def test_a_pod_that_dies_takes_no_more_than_the_requests_that_it_holds(
    make_checkout: MakeCheckout, hk: Cluster, tmp_path: Path
) -> None:
    mine = deployed(make_checkout, "moody", 2)
    dying = Pod.of(hk.context, mine.user, names(hk, mine)[0])
    before = sum(pods(hk, mine).values())
    with loaded(url(mine), RATE) as digits, loaded(url(mine), LARGE_RATE, padded(tmp_path, LARGE)) as large:
        assert dying.run("python", "-c", "open('/tmp/dying', 'x')") == (0, "")
        until(lambda: sum(pods(hk, mine).values()) > before)
        until(lambda: len(ready(hk, mine)) == 2)
    for load, rate in ((digits, RATE), (large, LARGE_RATE)):
        lost = sum(kind["count"] for kind in load.figures["kinds"] if kind["name"] != "200")
        held = rate * load.figures["ms"]["p99"] / 1000  # by all pods, while the slowest are answered
        assert lost <= 1 + held, load.lost()
