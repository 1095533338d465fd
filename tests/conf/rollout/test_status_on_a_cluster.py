"""What `status` sees of a service that lost its pods, or that runs where nobody expects it. No work for a node."""

from collections.abc import Callable, Iterator

import pytest

from conf.refs import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.asked import pods, standing, until
from tests.conf.rollout.desk import Desk

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("images")]
Make = Callable[..., Desk]


@pytest.fixture(scope="module")
def eu(servers: dict[str, Cluster]) -> Cluster:
    return servers["eu"]


@pytest.fixture
def serving(desk: Make) -> Iterator[Desk]:
    mine = desk("eu")
    mine.run("deploy", tag="1")
    yield mine
    mine.run("stop", "--yes")


def test_a_deployment_that_somebody_deleted_is_told_and_a_deploy_puts_it_there_again(serving: Desk, eu: Cluster) -> None:
    eu.ask("delete", path("Deployment", serving.user, serving.name))
    until(lambda: not pods(eu, serving))
    row = standing(serving, status=1)
    assert (row["state"], row["wanted"], row["runs"]) == ("nothing serves", 0, {})
    assert "eu, prod: nothing serves: its Deployment is not there" in serving.run("status", status=1).out
    serving.run("deploy", tag="1")
    assert standing(serving)["state"] == "good"


def test_a_pod_that_is_ready_no_longer_is_told(serving: Desk, eu: Cluster) -> None:
    pod = eu.ask("get", path("Pod", serving.user), labelSelector=f"app.kubernetes.io/name={serving.name}")["items"][0]
    status = pod["status"]
    for each in status["conditions"]:
        each["status"] = "False" if "Ready" in each["type"] else each["status"]
    for each in status["containerStatuses"]:
        each["ready"] = False
    where = f"{path('Pod', serving.user, pod['metadata']['name'])}/status"
    eu.ask("patch", where, {"status": status}, "application/merge-patch+json")
    row = standing(serving, status=1)
    assert (row["ready"], row["wanted"], row["state"]) == (0, 1, "nothing serves")
    assert row["troubles"][0].startswith("nothing serves: no pod of 1 is ready")
    assert "its probe has not passed" in row["troubles"][1]


def test_a_deployment_that_somebody_scaled_to_nothing_is_told(serving: Desk, eu: Cluster) -> None:
    eu.by_hand(path("Deployment", serving.user, serving.name), {"spec": {"replicas": 0}})
    until(lambda: not pods(eu, serving))
    row = standing(serving, status=1)
    assert row["state"] == "nothing serves"
    assert "`monopod deploy` puts it there again" in row["troubles"][0]
    serving.run("deploy", tag="1")
