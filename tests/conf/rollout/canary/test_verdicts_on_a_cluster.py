"""Canaries on a real node, under load and through both gateways: a good one takes over, a bad one is taken back, and no request
is lost. Margins are wide, since the node's cores are shared with the load.
"""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.gateways import through_both
from tests.conf.rollout.load import DIGIT, Load, loaded
from tests.conf.rollout.service_state import kinds, status_row, until, url, version
from tests.prerequisites import kubectl
from tests.running import get

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images", "buffers")]
RATE = 40.0  # requests a second
WIDE: dict[str, Any] = {
    "replicas": 2,
    "canary_step_second": 180,
    "canary_tolerance": 3.0,
    "canary_margin": 0.2,
    "canary_latency_margins": (0.9, 0.9, 0.9),
}
GUARDED_WITHIN = 10.0  # seconds
REJECTED = 34


@pytest.fixture
def mine(make_checkout: MakeCheckout) -> Checkout:
    """A service with two pods of version 1, whose canaries are judged with wide margins."""
    made = make_checkout("hk")
    made.let_prometheus_scrape()
    made.write_value(**WIDE)
    made.run("deploy", tag="1")
    return made


def bad(load: Load) -> dict[str, int]:
    """Return how many answers there were of each kind but 200, what was never answered included."""
    found = {kind["name"]: kind["count"] for kind in load.figures["kinds"] if kind["name"] != "200"}
    missing = load.figures["not_sent"] + (load.figures["unfinished"] if load.figures["unfinished"] > RATE else 0)
    return found | ({"missing": missing} if missing else {})


def total(load: Load) -> int:
    return sum(int(kind["count"]) for kind in load.figures["kinds"])


def arms(cluster: Cluster, mine: Checkout) -> list[set[str]]:
    return [kinds(cluster, mine.user, f"{mine.name}{suffix}") for suffix in ("-canary", "-baseline")]


@pytest.mark.by_gateway
@through_both
def test_a_bad_version_is_taken_back_and_a_good_one_takes_over_with_no_request_lost(
    mine: Checkout, hk: Cluster, tmp_path: Path
) -> None:
    page = tmp_path / "verdict.html"
    with loaded(url(mine), RATE) as load:
        told = mine.start("deploy", "--canary", "25,50", "--html", str(page), tag="fails").wait_exit(REJECTED, 300)
    assert "errors: worse" in told, told
    assert re.search(r"    log: \d+ times: ", told)
    assert set(bad(load)) == {"500"}, load.lost()
    assert bad(load)["500"] <= 0.25 * total(load)
    assert version(url(mine)) == "1"
    assert arms(hk, mine) == [set(), set()]
    assert "Evidence that it is worse" in page.read_text()
    with loaded(url(mine), RATE) as load:
        told = mine.start("deploy", "--canary", "25,50", tag="2").wait_exit(0, 600)
    assert load.lost() == []
    assert version(url(mine)) == "2"
    assert arms(hk, mine) == [set(), set()]
    # The errors of the bad version count against the objective, and may still be alerted on.
    assert status_row(mine, status=None)["state"] in ("good", "alerts fire")


@pytest.mark.by_gateway
@through_both
def test_a_canary_whose_pods_are_gone_costs_requests_for_no_more_than_ten_seconds(mine: Checkout, hk: Cluster) -> None:
    mine.write_value(**{**WIDE, "canary_margin": 0.0001})  # so that no verdict comes meanwhile
    job = mine.start("deploy", "--canary", "50", tag="2")
    job.wait_for("shares are set")
    for pod in hk.ask("get", path("Pod", mine.user), labelSelector=f"app.kubernetes.io/name={mine.name}-canary")["items"]:
        hk.ask("delete", path("Pod", mine.user, pod["metadata"]["name"]), gracePeriodSeconds="0")
    assert last_failure(mine, GUARDED_WITHIN + 3) < GUARDED_WITHIN
    until(lambda: status_row(mine, status=None)["canary"]["phase"] == "judging")  # the first counts take a while without pods
    job.process.terminate()
    assert "a canary keeps its share" in job.wait_exit(130)
    row = status_row(mine, status=None)  # errors of the test before may still be alerted on, which is status 1
    assert (row["canary"]["share"], row["canary"]["phase"]) == (50, "judging")
    mine.run("rollback")
    assert arms(hk, mine) == [set(), set()]
    assert version(url(mine)) == "1"


def test_a_canary_whose_container_ends_is_taken_back_with_its_last_lines(mine: Checkout, hk: Cluster, tmp_path: Path) -> None:
    mine.write_value(**{**WIDE, "canary_margin": 0.0001})
    job = mine.start("deploy", "--canary", "50", "--html", str(tmp_path / "verdict.html"), tag="2")
    job.wait_for("shares are set")
    chosen = f"app.kubernetes.io/name={mine.name}-canary"
    pod = hk.ask("get", path("Pod", mine.user), labelSelector=chosen)["items"][0]["metadata"]["name"]
    within = [kubectl(), "--context", hk.context, "-n", mine.user, "exec", pod, "--"]
    subprocess.run([*within, "python3", "-c", "import os; os.kill(1, 15)"], check=True, timeout=60)
    told = job.wait_exit(REJECTED, 300)
    assert "restarts: 1 of the canary's containers" in told
    assert re.search("    log: .*drain", told)
    assert re.search("<h3>Outcome</h3><ul><li>hk, prod: undone.*<li>log: .*drain", (tmp_path / "verdict.html").read_text())
    assert arms(hk, mine) == [set(), set()]


def last_failure(mine: Checkout, seconds: float) -> float:
    """Send a request after the other, and return after how many seconds one failed for the last time; 0 for none."""
    begin, last = time.monotonic(), 0.0
    while (now := time.monotonic() - begin) < seconds:
        if get(url(mine), DIGIT.encode(), {"Content-Type": "application/json"})[0] != 200:
            last = now
        time.sleep(0.02)
    return last
