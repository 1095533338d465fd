"""A Flask program as it was under gunicorn, on a real node: canaries judge it, and `status` tells what it does to its pod."""

from typing import Any

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.load import loaded
from tests.conf.rollout.ready_pods import names
from tests.conf.rollout.service_state import pods, status_row, until, url, version
from tests.running import get

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images", "buffers")]
PROGRAM: dict[str, Any] = {"model_path": "", "stuck_after_second": 2, "replicas": 2}
WIDE = {"canary_step_second": 180, "canary_tolerance": 3.0, "canary_margin": 0.2, "canary_latency_margins": (0.9, 0.9, 0.9)}
REJECTED = 34


def test_a_canary_of_a_program_that_fails_more_often_is_taken_back(make_checkout: MakeCheckout) -> None:
    mine = make_checkout("hk")
    mine.let_prometheus_scrape()
    mine.write_value(**PROGRAM, **WIDE)
    mine.run("deploy", tag="program")
    with loaded(url(mine), 40.0) as load:
        told = mine.start("deploy", "--canary", "50", tag="program-fails").wait_exit(REJECTED, 300)
    assert "errors: worse" in told, told
    assert {kind["name"] for kind in load.figures["kinds"]} == {"200", "500"}, load.lost()
    assert version(url(mine)) == "program"


def test_what_a_program_does_to_its_pod_is_told_by_status(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk")
    mine.write_value(**{**PROGRAM, "replicas": 1})
    mine.run("deploy", tag="program")
    assert [get(f"{url(mine)}/{way}")[0] for way in ("fork", "threads")] == [200, 200]
    assert status_row(mine)["troubles"] == []
    (name,) = names(hk, mine)

    get(f"{url(mine)}/exit")
    until(lambda: list(pods(hk, mine).values()) == [1])
    assert "it ended with exit code 7" in mine.run("status", "--pod", name).out

    until(lambda: status_row(mine, status=None)["ready"] == 1)
    assert get(f"{url(mine)}/hang")[0] in (503, 504)
    until(lambda: list(pods(hk, mine).values()) == [2])
    told = mine.run("status", "--pod", name).out
    assert "Liveness probe failed" in told
    assert "stuck_after_second" in told
