"""Canaries on a real node under load, judged by the promises of docs/canary.md: small changes are found, and equal versions are
never taken back. The tolerance is wide, since the load has the node's cores too.
"""

from collections import Counter
from functools import partial
from typing import Any

import pytest

from conf.base.matchers import chooses
from conf.base.object_references import path
from conf.plan.pods import ADMIN_PORT
from tests.conf.cluster import Cluster
from tests.conf.rollout.canary.scripted import pod_counters
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import STEADY_SETTINGS, tagged
from tests.conf.rollout.load import Load, loaded
from tests.conf.rollout.service_state import until, url, version

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.soak, pytest.mark.usefixtures("images", "buffers")]
RATE = 40.0  # requests a second
NUMBER = '{"data": [[1.0]]}'
JUDGED: dict[str, Any] = {
    "replicas": 2,
    "canary_tolerance": 3.0,
    "canary_margin": 0.03,
    "canary_latency_margins": (0.5, 0.3, 0.2),
}
ANSWERED = 300  # by each old pod, before a canary chooses bounds of latency by its answers
RELEASES = 20
GOOD, HELD, TAKEN_BACK = 0, 33, 34  # exit statuses


@pytest.fixture
def mine(make_checkout: MakeCheckout) -> Checkout:
    """A service with two pods, of which each thousandth request fails and a batch takes 40 ms."""
    made = make_checkout("hk")
    made.let_prometheus_scrape()
    made.write_value(**STEADY_SETTINGS, **JUDGED, canary_step_second=600)
    made.run("deploy", tag="steady")
    return made


def wait_answered(hk: Cluster, mine: Checkout) -> None:
    """Wait until each pod of a service has answered some requests."""

    def have_answered() -> bool:
        found = hk.ask("get", path("Pod", mine.user), labelSelector=f"app.kubernetes.io/name={mine.name}")["items"]
        staying = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
        return all(answered(hk, mine, name) >= ANSWERED for name in staying)

    until(have_answered, 120)


def answered(hk: Cluster, mine: Checkout, pod: str) -> float:
    text = hk.text(f"{path('Pod', mine.user, pod)}:{ADMIN_PORT}/proxy/metrics")
    return pod_counters(text).sum("monopod_requests_total", partial(chooses, 'code="200",route="service"')) or 0.0


def failed(load: Load) -> float:
    """Return the share of the requests that failed in the service itself, and assert that no other one was lost."""
    found = Counter({kind["name"]: kind["count"] for kind in load.figures["kinds"]})
    assert found.keys() <= {"200", "500"}, found
    assert load.figures["not_sent"] == 0
    assert load.figures["unfinished"] <= RATE
    return float(found["500"] / found.total())


def taken_back(mine: Checkout, hk: Cluster, tag: str, metric: str) -> float:
    """Deploy a worse version, which must be taken back by a metric; return the share of the requests that failed."""
    with loaded(url(mine), RATE, data=NUMBER) as load:
        wait_answered(hk, mine)
        told = mine.start("deploy", "--canary", "50", tag=tag).wait_exit(TAKEN_BACK, 660)
    print(told)
    assert f"{metric}: worse: " in next(line for line in told.splitlines() if "it is worse than the old version" in line)
    assert version(url(mine)) == "steady"
    return failed(load)


@pytest.mark.timeout(900)
def test_a_version_that_fails_two_percent_of_its_requests_is_found_and_taken_back(mine: Checkout, hk: Cluster) -> None:
    mine.write_value(**STEADY_SETTINGS, **JUDGED | {"canary_margin": 0.005}, canary_step_second=600)
    share = taken_back(mine, hk, "steady-fails", "errors")
    print(f"{100 * share:.2g} % of all requests failed")
    assert share < 0.02


@pytest.mark.timeout(900)
def test_a_version_that_takes_thirty_percent_longer_is_found_and_taken_back(mine: Checkout, hk: Cluster) -> None:
    assert taken_back(mine, hk, "steady-slower", " ms") < 0.005


@pytest.mark.timeout(3000)
def test_twenty_releases_without_a_change_are_never_taken_back_and_lose_no_request(mine: Checkout, hk: Cluster) -> None:
    """An undecided release is rolled back by hand."""
    mine.write_value(**STEADY_SETTINGS, **JUDGED, canary_step_second=120)
    tagged("steady-too", "steady")
    found = Counter[int]()
    with loaded(url(mine), RATE, data=NUMBER) as load:
        for number in range(RELEASES):
            wait_answered(hk, mine)
            other = {"steady": "steady-too", "steady-too": "steady"}[version(url(mine))]
            job = mine.start("deploy", "--canary", "50", tag=other)
            found[job.process.wait(300)] += 1
            print(f"{number + 1}: {dict(found)}", job.text.splitlines()[-12:], sep="\n", flush=True)
            if job.process.returncode == HELD:
                mine.run("rollback")
    print(f"{found[GOOD]} good, {found[HELD]} held, {found[TAKEN_BACK]} taken back; {100 * failed(load):.2g} % failed")
    assert found[TAKEN_BACK] == 0
    assert found[GOOD] + found[HELD] == RELEASES
    assert failed(load) < 0.005
