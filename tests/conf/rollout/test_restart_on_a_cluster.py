"""`monopod restart` on a real node under load: every pod is another one, no request is lost, and one pod goes by itself."""

import json
import re
from pathlib import Path

import pytest

from conf.base.object_references import path
from conf.clusters.rights import READ, rules
from tests.conf import kubeconfigs
from tests.conf.accounts import allowed, token
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout, deployed
from tests.conf.rollout.load import loaded
from tests.conf.rollout.ready_pods import names
from tests.conf.rollout.service_state import pods, status_row, until, url

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images", "buffers")]
RATE = 20.0  # requests a second
NO_RIGHTS, NOT_THERE, BLOCKED = 12, 17, 19
ACCOUNT = "looker"


@pytest.fixture
def mine(make_checkout: MakeCheckout) -> Checkout:
    return deployed(make_checkout, "1", 2)


def test_a_restart_replaces_every_pod_with_no_request_lost_and_a_deploy_of_the_same_then_replaces_none(
    mine: Checkout, hk: Cluster
) -> None:
    before = pods(hk, mine)
    with loaded(url(mine), RATE) as load:
        done = mine.run("restart", "--region", "hk")
    assert load.lost() == []
    assert "hk, prod: restarted 1; now version 1 in 2 pods" in done.out
    after = pods(hk, mine)
    assert (len(after), set(after) & set(before)) == (2, set())
    last = json.loads(mine.run("history", "--json", "--track", "prod").out)[0]
    assert (last["version"], last["state"], last["note"]) == ("1", "serves", "restarted")
    assert "hk: nothing would change" in mine.run("diff", tag="1").out
    assert "unchanged 1" in mine.run("deploy", tag="1").out
    assert pods(hk, mine) == after
    assert status_row(mine)["state"] == "good, restarted"


def test_people_who_look_may_evict_one_pod_where_a_sibling_is_ready(mine: Checkout, hk: Cluster, tmp_path: Path) -> None:
    first, second = names(hk, mine)
    told = mine.run("status", "--pod", first).out
    assert re.search(rf"^hk, prod: {first} on \S+: ready, 0 restarts\n", told)
    assert re.search("^    event: Started: ", told, re.MULTILINE)
    named = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
    with hk.having(f"/api/v1/namespaces/{mine.user}/serviceaccounts", named):
        file = kubeconfigs.written(tmp_path / "looker", hk.context, token=token(hk, mine.user, ACCOUNT))
        with allowed(hk, mine.user, ACCOUNT, rules(READ)):
            done = mine.run("restart", "--pod", first, more={"KUBECONFIG": file})
            assert f"hk, prod: evicted: {first}" in done.out
            until(lambda: first not in names(hk, mine) and len(names(hk, mine)) == 2)
            assert second in names(hk, mine)
            mine.run("restart", status=NO_RIGHTS, more={"KUBECONFIG": file})
    until(lambda: hk.find(path("Pod", mine.user, first)) is None)  # it is still there while it drains
    assert f"no pod {first} in hk, prod" in mine.run("status", "--pod", first, status=NOT_THERE).err
    assert f"has no pod {first}; there are " in mine.run("restart", "--pod", first, status=NOT_THERE).out
    mine.write_value(replicas=1)
    mine.run("deploy", tag="1")
    (only,) = names(hk, mine)
    assert "no other pod of digits is ready" in mine.run("restart", "--pod", only, status=BLOCKED).err
    assert hk.find(path("Pod", mine.user, only)) is not None
