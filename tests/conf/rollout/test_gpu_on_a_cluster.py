"""Pods share a card as long as its memory suffices. A pod that needs more stays pending, and its diagnosis says so."""

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.service_state import status_row, url, version
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
SHARE = "aliyun.com/gpu-mem"


@pytest.fixture
def hk(servers: dict[str, Cluster]) -> Cluster:
    found = servers["hk"]
    offered = [int(node["status"]["allocatable"].get(SHARE, 0)) for node in found.ask("get", "/api/v1/nodes")["items"]]
    if sum(offered) != 16:
        missing(f"these tests need one card of 16 GiB: a node that offers {SHARE}: 16 (found: {offered})")
    return found


def test_two_pods_share_a_card_and_a_third_stays_pending_and_is_told_within_ten_seconds(
    make_checkout: MakeCheckout, hk: Cluster
) -> None:
    first, third = make_checkout("hk"), make_checkout("hk", name="demo")
    first.write_value(gpu_memory=8, replicas=2, provider="cpu")
    assert "now version 1 in 2 pods" in first.run("deploy", tag="1").out
    third.write_value(gpu_memory=8, provider="cpu")
    waits = third.start("deploy", "--timeout", "240", tag="demo")
    waits.wait_for("0 of 1 ready")  # from here on it waits for the pod
    assert waits.wait_for("no node takes it: on 1 node too little GPU memory (aliyun.com/gpu-mem) is free") < 10
    row = status_row(third, status=1)
    assert (row["ready"], row["wanted"]) == (0, 1)
    assert "too little GPU memory" in row["troubles"][0]

    first.write_value(gpu_memory=8, provider="cpu")
    assert "now version 1 in 1 pod" in first.run("deploy", tag="1").out
    waits.wait_exit(0)  # there is room by now
    assert (version(url(first)), version(url(third))) == ("1", "demo")
    first.run("stop", "--yes")
    third.run("stop", "--yes")
