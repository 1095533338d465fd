"""`status` of a service that lost its pods, or that runs where nobody expects it. Simulated nodes are enough."""

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest

from conf.base.object_references import path
from tests.conf import kubeconfigs
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, pods, status_row, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


@pytest.fixture
def serving(make_checkout: MakeCheckout) -> Checkout:
    """A service that goes away with its namespace."""
    mine = make_checkout("eu", name=f"digits-{uuid4().hex[:6]}")
    mine.run("deploy", tag="1")
    return mine


def test_a_deployment_that_somebody_deleted_is_told_and_a_deploy_puts_it_there_again(serving: Checkout, eu: Cluster) -> None:
    eu.ask("delete", path("Deployment", serving.user, serving.name))
    until(lambda: not pods(eu, serving))
    row = status_row(serving, status=1)
    assert (row["state"], row["wanted"], row["runs"]) == ("nothing serves", 0, {})
    assert "its Deployment is not there" in serving.run("status", status=1).out
    serving.run("deploy", tag="1")
    assert status_row(serving)["state"] == "good"


def test_a_pod_that_is_ready_no_longer_is_told(serving: Checkout, eu: Cluster) -> None:
    pod = eu.ask("get", path("Pod", serving.user), labelSelector=f"app.kubernetes.io/name={serving.name}")["items"][0]
    status = pod["status"]
    for each in status["conditions"]:
        each["status"] = "False" if "Ready" in each["type"] else each["status"]
    for each in status["containerStatuses"]:
        each["ready"] = False
    where = f"{path('Pod', serving.user, pod['metadata']['name'])}/status"
    eu.ask("patch", where, {"status": status}, "application/merge-patch+json")
    row = status_row(serving, status=1)
    assert (row["ready"], row["wanted"], row["state"]) == (0, 1, "nothing serves")
    assert row["troubles"][0].startswith("nothing serves: no pod of 1 is ready")
    assert "its probe has not passed" in row["troubles"][1]


def test_a_deployment_that_somebody_scaled_to_nothing_is_told(serving: Checkout, eu: Cluster) -> None:
    eu.by_hand(path("Deployment", serving.user, serving.name), {"spec": {"replicas": 0}})
    until(lambda: not pods(eu, serving))
    row = status_row(serving, status=1)
    assert row["state"] == "nothing serves"
    assert "`monopod deploy` puts it there again" in row["troubles"][0]
    serving.run("deploy", tag="1")


def test_a_region_that_does_not_answer_is_told_though_nothing_is_to_run_there(
    make_checkout: MakeCheckout, servers: dict[str, Cluster], tmp_path: Path
) -> None:
    two = make_checkout("eu", "na")
    two.run("deploy", tag="1")
    two.write_value(na_replicas=0)
    away = kubeconfigs.written(tmp_path / "away", servers["na"].context, port=1)  # where nothing listens
    without = {"KUBECONFIG": f"{away}{os.pathsep}{os.environ['KUBECONFIG']}"}
    done = two.run("status", status=1, more=without)
    assert [line.split()[:2] for line in done.out.splitlines() if "unknown" in line] == [["na", "prod"], ["na", "grey"]]
    assert "na, prod: cluster na does not answer" in done.out
    assert "does not answer" in two.run("stop", "--yes", "--region", "na", status=10, more=without).err
    done = two.run("stop", "--yes", status=10, more=without)
    assert "eu, prod: removed" in done.out
    assert "failed: cluster na does not answer" in done.err
    assert "na, prod: removed" in two.run("stop", "--yes").out
    assert kinds(servers["na"], two.user, two.name) == set()


def test_regions_of_which_a_job_has_no_context_are_skipped_and_named(
    make_checkout: MakeCheckout, servers: dict[str, Cluster], tmp_path: Path
) -> None:
    two = make_checkout("eu", "na")
    two.write_value(na_replicas=0)
    alone = {"KUBECONFIG": kubeconfigs.written(tmp_path / "alone", servers["eu"].context, token="of nobody")}
    done = two.run("stop", "--yes", status=11, more=alone)
    assert "left there is not seen: na, prod" in done.err
    assert "context 'na' cannot be used" in two.run("stop", "--yes", "--region", "na", status=11, more=alone).err


def test_a_track_that_was_left_in_a_region_it_no_longer_has_is_found_and_stopped(
    make_checkout: MakeCheckout, servers: dict[str, Cluster]
) -> None:
    moved = make_checkout("eu", "na", name="rollout-moved")
    with servers["eu"].namespaces(["grey"]), servers["na"].namespaces(["grey"]):
        moved.run("deploy", "--track", "grey", tag="1")
        regions = json.loads(moved.regions_file.read_text())
        moved.regions_file.write_text(json.dumps({**regions, "grey": "eu"}))
        assert status_row(moved, "grey", "na")["runs"] == {"1": 1}
        assert "na, grey: removed" in moved.run("stop", "--track", "grey").out
        assert kinds(servers["na"], "grey", moved.name) == set()
        assert "does not run in na" in moved.run("stop", "--track", "grey", "--region", "na", status=1).err
