"""A canary's arms on a real API server: the longest names, and a history that was lost while they were there.

Simulated nodes are enough. The arms are applied by hand, as a command that was killed would have left them.
"""

import pytest

from conf.base.object_references import Item, Ref, path
from conf.remote.cluster import Cluster as Asking
from conf.render.arms import BASELINE, CANARY, arm_items, arm_names, arm_shares, weighted
from conf.rollout import history as histories
from conf.rollout.readiness import deployment_state
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

LONGEST = "d" * 40  # characters that a service's name may have


def history(checkout: Checkout) -> Ref:
    return Ref("ConfigMap", checkout.user, histories.object_name(checkout.name))


def leave_arms(asking: Asking, checkout: Checkout) -> None:
    """Apply both arms with two pods each, and their shares, and wait for the pods."""
    items = histories.read(asking.get(history(checkout))).objects[1]
    for suffix in (CANARY, BASELINE):
        for item in arm_items(items, checkout.name, suffix, 2):
            asking.apply(item)
    for name in arm_names(checkout.name):
        until(lambda name=name: deployment_state(asking, Ref("Deployment", checkout.user, name)).done)  # type: ignore[misc]
    for item in weighted(items, arm_shares(checkout.name, 25, has_baseline=True)):
        asking.apply(item)


def backends(cluster: Cluster, checkout: Checkout) -> list[dict[str, int]]:
    route: Item = cluster.ask("get", path("HTTPRoute", checkout.user, checkout.name))
    return [{each["name"]: each["weight"] for each in rule["backendRefs"]} for rule in route["spec"]["rules"]]


def test_arms_of_the_longest_name_run_and_a_deploy_that_finds_no_history_takes_them_away(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu", name=LONGEST)
    mine.run("deploy", tag="1")
    leave_arms(Asking(eu.context), mine)
    assert backends(eu, mine) == [arm_shares(LONGEST, 25, has_baseline=True)] * 2
    eu.ask("delete", history(mine).path)

    mine.run("deploy", tag="2")
    assert [kinds(eu, mine.user, name) for name in arm_names(LONGEST)] == [set(), set()]
    assert backends(eu, mine) == [{LONGEST: 100}] * 2
    mine.run("rollback")
    assert status_row(mine)["runs"] == {"1": 1}
    assert backends(eu, mine) == [{LONGEST: 100}] * 2  # not the shares that were live when the release was found
    assert [kinds(eu, mine.user, name) for name in arm_names(LONGEST)] == [set(), set()]


def test_a_service_that_is_called_as_an_arm_is_not_taken_for_one(make_checkout: MakeCheckout, eu: Cluster) -> None:
    mine, other = make_checkout("eu", name="digits"), make_checkout("eu", name="digits-canary")
    for each in (mine, other):
        each.run("deploy", tag="1")
    before = kinds(eu, other.user, other.name)
    eu.ask("delete", history(mine).path)
    mine.run("deploy", tag="2")
    assert kinds(eu, other.user, other.name) == before
    assert status_row(other)["state"] == "good"
