"""The grey track is put to sleep and woken. Simulated nodes are enough."""

from collections.abc import Iterator

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
GREY = ("--track", "grey")


@pytest.fixture
def grey(make_checkout: MakeCheckout, eu: Cluster) -> Iterator[Checkout]:
    mine = make_checkout("eu", name="sleeper")
    with eu.namespaces(["grey"]):
        mine.run("deploy", *GREY, tag="1")
        yield mine
        mine.run("stop", *GREY)


def replicas(cluster: Cluster, checkout: Checkout) -> int:
    return int(cluster.ask("get", path("Deployment", "grey", checkout.name))["spec"]["replicas"])


def alerts(cluster: Cluster, checkout: Checkout) -> int:
    groups = cluster.ask("get", path("PrometheusRule", "grey", checkout.name))["spec"]["groups"]
    return sum(len(group.get("rules", [])) for group in groups)


def pods(cluster: Cluster, checkout: Checkout) -> int:
    found = cluster.ask("get", path("Pod", "grey"), labelSelector=f"app.kubernetes.io/name={checkout.name}")["items"]
    return len(found)


def test_a_sleeping_track_keeps_all_but_its_pods_and_alerts_and_a_wake_brings_them_back(grey: Checkout, eu: Cluster) -> None:
    before, rules = kinds(eu, "grey", grey.name), alerts(eu, grey)
    assert rules > 0
    assert "eu, grey: asleep 1" in grey.run("sleep").out
    until(lambda: pods(eu, grey) == 0)
    assert (replicas(eu, grey), alerts(eu, grey), kinds(eu, "grey", grey.name)) == (0, 0, before)
    row = status_row(grey, "grey")  # with status 0: it is no fault
    assert row["state"] == f"asleep since {row['asleep']}"
    assert (row["wanted"], row["version"], row["troubles"]) == (0, "1", [])
    assert "since" in grey.run("sleep").out
    assert "serves" in grey.run("history", *GREY).out
    assert "eu, grey: awake 1" in grey.run("wake").out
    assert (replicas(eu, grey), alerts(eu, grey), pods(eu, grey)) == (1, rules, 1)
    assert (status_row(grey, "grey")["state"], status_row(grey, "grey")["asleep"]) == ("good", "")
    assert "it does not sleep" in grey.run("wake").out


def test_a_deploy_wakes_it_also_of_the_very_same_objects(grey: Checkout, eu: Cluster) -> None:
    grey.run("sleep")
    assert "eu, grey: deployed 1" in grey.run("deploy", *GREY, tag="1").out
    assert (replicas(eu, grey), status_row(grey, "grey")["state"]) == (1, "good")


def test_a_deploy_that_fails_leaves_it_asleep(grey: Checkout, eu: Cluster) -> None:
    grey.run("sleep")
    until(lambda: pods(eu, grey) == 0)
    grey.write_value(node_labels=UNUSED_LABEL)  # which no node has
    done = grey.run("deploy", *GREY, "--timeout", "6", tag="2", status=24)
    assert "1 sleeps, as before" in done.text
    until(lambda: pods(eu, grey) == 0)
    assert (replicas(eu, grey), alerts(eu, grey)) == (0, 0)
    assert "asleep since" in status_row(grey, "grey")["state"]
    grey.write_value()


def test_only_a_track_that_is_due_sleeps_by_the_clock_and_a_broken_off_one_goes_on(grey: Checkout, eu: Cluster) -> None:
    assert "grey_sleep_after_day is 0" in grey.run("sleep", "--due").out
    grey.write_value(grey_sleep_after_day=3)
    assert "it was deployed at" in grey.run("sleep", "--due").out
    assert replicas(eu, grey) == 1
    grey.run("sleep")
    eu.by_hand(path("Deployment", "grey", grey.name), {"spec": {"replicas": 1}})  # as where a sleep broke off
    assert "eu, grey: asleep 1" in grey.run("sleep", "--due").out
    assert replicas(eu, grey) == 0
    grey.write_value()


def test_a_track_of_another_project_and_one_that_is_not_there_are_left_alone(
    grey: Checkout, make_checkout: MakeCheckout
) -> None:
    theirs = {"CI_COMMIT_REF_NAME": "dogs"}
    assert "belongs to branch cats of like/models" in grey.run("sleep", status=15, more=theirs).err
    nobody = make_checkout("eu", name="nobody")
    assert "has no good release" in nobody.run("sleep", status=17).err
    nobody.write_value(grey_sleep_after_day=3)
    assert "eu, grey: not there" in nobody.run("sleep", "--due").out
