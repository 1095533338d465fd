"""Online and offline pods are one release: both become ready, both are undone, rolled back and stopped.

Simulated nodes are enough, whose pods are ready at once and run nothing. So figures of offline pods are not known here.
"""

import json

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row

pytestmark = pytest.mark.cluster

NOWHERE = "127.0.0.1:9/digits"  # nobody answers there, and no registry is asked for an image that a deploy names by digest
ONE, TWO = (f"{NOWHERE}:{number}@sha256:{str(number) * 64}" for number in (1, 2))
OFFLINE = {"offline_source": "kafka:digits", "offline_sinks": ["kafka:answers"], "replicas": 1}
OBJECTS = {"ServiceAccount", "NetworkPolicy", "Deployment", "PodMonitor", "PrometheusRule"}


@pytest.fixture
def mine(make_checkout: MakeCheckout, request: pytest.FixtureRequest) -> Checkout:
    made = make_checkout("eu", name=f"reads-{request.function.__name__.split('_')[1]}-{len(request.function.__name__)}")
    made.set_region(kafka={"brokers": ["10.0.0.9:9092"]})
    return made


def write(mine: Checkout, **more: object) -> None:
    mine.write_value(**{**OFFLINE, **more})


def offline(mine: Checkout) -> str:
    return f"{mine.name}-offline"


def counts(eu: Cluster, mine: Checkout) -> dict[str, int]:
    """Return how many pods each Deployment is to have."""
    found = {name: eu.find(path("Deployment", mine.user, name)) for name in (mine.name, offline(mine))}
    return {name: item["spec"]["replicas"] for name, item in found.items() if item}


def test_both_are_deployed_compared_listed_rolled_back_and_stopped(mine: Checkout, eu: Cluster) -> None:
    write(mine)
    assert f"eu: Deployment {mine.user}/{offline(mine)}" in mine.run("diff", "--image", ONE, status=3).out
    done = mine.run("deploy", "--image", ONE)
    assert f"eu: {offline(mine)}: 1 of 1 ready" in done.out
    assert kinds(eu, mine.user, offline(mine)) == OBJECTS
    assert mine.run("deploy", "--image", ONE).out.splitlines()[-1].startswith("eu, prod: unchanged 1")
    assert mine.run("diff", "--image", ONE).out == "eu: nothing would change\n"
    write(mine, offline_replicas=3)
    mine.run("deploy", "--image", TWO)
    row = status_row(mine)
    assert (row["ready"], row["wanted"], row["version"], row["state"]) == (1, 1, "2", "good")
    assert (row["offline"]["ready"], row["offline"]["wanted"], row["offline"]["runs"]) == (3, 3, {"2": 3})
    assert row["offline"]["lag"] is None
    assert row["offline"]["note"].startswith("lag and dead letters are not known: ")
    assert "3/3" in mine.run("status").out
    assert [each["version"] for each in json.loads(mine.run("history", "--json").out)] == ["2", "1"]
    assert "the rollback goes on without" in mine.run("rollback").text
    assert counts(eu, mine) == {mine.name: 1, offline(mine): 1}
    mine.run("stop", "--yes")
    assert kinds(eu, mine.user, mine.name) | kinds(eu, mine.user, offline(mine)) == set()


def test_without_its_source_the_offline_pods_go_and_without_replicas_the_online_ones(mine: Checkout, eu: Cluster) -> None:
    write(mine, max_replicas=2)
    mine.run("deploy", "--image", ONE)
    write(mine, replicas=0)
    done = mine.run("deploy", "--image", TWO)
    assert "offline pods answer at no gateway" in done.out
    assert (kinds(eu, mine.user, mine.name), kinds(eu, mine.user, offline(mine))) == (set(), OBJECTS)
    row = status_row(mine)
    assert (row["wanted"], row["runs"], row["state"], row["troubles"]) == (0, {"2": 1}, "good", [])
    mine.write_value(replicas=1)
    mine.run("deploy", "--image", ONE)
    assert "Deployment" in kinds(eu, mine.user, mine.name)
    assert kinds(eu, mine.user, offline(mine)) == set()
    assert status_row(mine)["offline"] is None


def test_where_the_offline_pods_fail_the_online_ones_are_undone_too(mine: Checkout, eu: Cluster) -> None:
    write(mine)
    mine.run("deploy", "--image", ONE)
    spec = {"hard": {"pods": "4"}, "scopes": ["NotTerminating"]}  # a preflight does not judge a quota of some pods alone
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}
    write(mine, offline_replicas=4)
    with eu.having(f"/api/v1/namespaces/{mine.user}/resourcequotas", quota):
        done = mine.run("deploy", "--timeout", "8", "--image", TWO, status=25)
        assert "the namespace's quota is spent" in done.text
        assert "1 serves, as before" in done.text
    assert counts(eu, mine) == {mine.name: 1, offline(mine): 1}
    row = status_row(mine)
    assert (row["runs"], row["offline"]["runs"], row["state"]) == ({"1": 1}, {"1": 1}, "2 was undone")


def test_an_autoscaler_of_the_offline_pods_takes_over_their_number_alone(mine: Checkout, eu: Cluster) -> None:
    write(mine, offline_replicas=2, replicas=2)
    mine.run("deploy", "--image", ONE)
    eu.by_hand(path("Deployment", mine.user, offline(mine)), {"spec": {"replicas": 3}})
    write(mine, offline_replicas=1, offline_max_replicas=4, replicas=1)
    mine.run("deploy", "--image", TWO)
    assert counts(eu, mine) == {mine.name: 1, offline(mine): 3}
    assert "ScaledObject" in kinds(eu, mine.user, offline(mine))
    assert "ScaledObject" not in kinds(eu, mine.user, mine.name)
    write(mine, offline_replicas=1)
    done = mine.run("deploy", "--image", ONE)
    assert f"{offline(mine)}: the autoscaler is taken away" in done.out
    mine.run("deploy", "--image", TWO)
    assert counts(eu, mine) == {mine.name: 1, offline(mine): 1}


def test_where_the_history_was_deleted_both_are_found_again(mine: Checkout, eu: Cluster) -> None:
    write(mine)
    mine.run("deploy", "--image", ONE)
    eu.ask("delete", path("ConfigMap", mine.user, f"monopod-{mine.name}"))
    mine.run("stop", "--yes")
    assert kinds(eu, mine.user, mine.name) | kinds(eu, mine.user, offline(mine)) == set()
