"""Objects that a release or a stop removes and that a finalizer holds. Simulated nodes are enough."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conf.base.object_references import path
from tests.conf.cluster import KEPT, Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
HOLDS = f"held by its finalizer {KEPT} (taken off by the controller of example.com); check that the controller"


@contextmanager
def kept(cluster: Cluster, where: str) -> Iterator[Callable[[], None]]:
    """Put a finalizer on an object. It is taken off at the block's end, or when the yielded function is called."""

    def free() -> None:
        if cluster.find(where):
            cluster.by_hand(where, {"metadata": {"finalizers": None}})

    cluster.by_hand(where, {"metadata": {"finalizers": [KEPT]}})
    try:
        yield free
    finally:
        free()


def test_a_stop_says_what_holds_an_object_and_the_next_one_ends_it(make_checkout: MakeCheckout, eu: Cluster) -> None:
    mine = make_checkout("eu")
    mine.run("deploy", tag="1")
    with kept(eu, path("Service", mine.user, mine.name)) as free:
        for _ in range(2):  # the second stop finds the object deleted already
            done = mine.run("stop", "--yes", "--timeout", "2", status=19)
            assert (
                f"eu, prod: failed: Service {mine.user}/{mine.name} is deleted and still there after 2 s, {HOLDS}" in done.err
            )
            assert f"removed Service {mine.user}" not in done.out
            assert kinds(eu, mine.user, mine.name) == {"Service"}
        assert status_row(mine)["state"] == "the change to nothing was broken off"
        stop = mine.start("stop", "--yes")
        stop.wait_for(f"eu: waiting until Service {mine.user}/{mine.name} is gone")
        free()
        text = stop.wait_exit(0)
    assert f"eu: removed Service {mine.user}/{mine.name}\neu, prod: removed" in text
    assert kinds(eu, mine.user, mine.name) == set()
    assert status_row(mine)["state"] == "not deployed"


def test_a_release_serves_though_an_old_object_stays_and_the_next_release_waits_for_it(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu", name="budgeted")
    mine.write_value(replicas=2)
    mine.run("deploy", tag="1")
    mine.write_value()
    with kept(eu, path("PodDisruptionBudget", mine.user, mine.name)):
        done = mine.run("deploy", "--timeout", "20", tag="2", status=19)
        words = f"2 serves, but PodDisruptionBudget {mine.user}/{mine.name} is deleted and still there after 20 s, {HOLDS}"
        assert f"eu, prod: failed: {words}" in done.err
        assert (status_row(mine)["state"], status_row(mine)["runs"]) == ("good", {"2": 1})
        assert [row["state"] for row in json.loads(mine.run("history", "--json").out)] == ["serves", "good"]
        done = mine.run("deploy", "--timeout", "20", tag="2", status=19)
        assert words in done.err
    mine.run("deploy", tag="2")
    assert "PodDisruptionBudget" not in kinds(eu, mine.user, mine.name)
    mine.run("stop", "--yes")
