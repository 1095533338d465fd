"""A service's objects from release to release: removed, held, left alone, handed to an autoscaler and back, and warned of."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conf.base.object_references import path
from tests.conf.cluster import KEPT, Cluster
from tests.conf.rollout.checkout import UNUSED_LABEL, MakeCheckout
from tests.conf.rollout.service_state import kinds, lowest, pods, status_row, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
MORE = {"PodDisruptionBudget", "HorizontalPodAutoscaler"}


def test_objects_that_a_release_no_longer_holds_are_removed_and_those_of_others_are_not(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu")
    labels = {"app.kubernetes.io/managed-by": "monopod", "app.kubernetes.io/name": "digits"}
    alike = eu.by_hand(path("ConfigMap", mine.user), named("ConfigMap", "v1", "digits", labels=labels))
    mine.write_value(max_replicas=2)
    mine.run("deploy", tag="1")
    assert kinds(eu, mine.user, mine.name) >= MORE

    # Somebody deletes one of our objects, and creates it again.
    budget, scaler = (path(kind, mine.user, mine.name) for kind in sorted(MORE, reverse=True))
    made = eu.ask("get", budget)
    eu.ask("delete", budget)
    again = {**named("PodDisruptionBudget", made["apiVersion"], mine.name), "spec": made["spec"]}
    eu.by_hand(path("PodDisruptionBudget", mine.user), again)
    mine.write_value()
    change = mine.run("diff", tag="2", status=3).out
    assert f"eu: HorizontalPodAutoscaler {mine.user}/{mine.name}\n--- now\n+++ then\n" in change
    done = mine.run("deploy", tag="2")
    assert f"somebody else now: PodDisruptionBudget {mine.user}/digits" in done.out
    assert f"removed HorizontalPodAutoscaler {mine.user}/digits" in done.out
    assert eu.find(scaler) is None
    assert eu.find(budget) is not None

    # An object that somebody created adopts another one of ours.
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "digits", "uid": alike["metadata"]["uid"]}
    eu.by_hand(path("ServiceMonitor", mine.user, mine.name), {"metadata": {"ownerReferences": [owner]}})
    assert f"somebody else now: ServiceMonitor {mine.user}/digits" in mine.run("stop", "--yes").out
    assert kinds(eu, mine.user, mine.name) == {"PodDisruptionBudget", "ServiceMonitor"}
    assert (
        eu.ask("get", path("ConfigMap", mine.user, "digits"))["metadata"]["resourceVersion"]
        == alike["metadata"]["resourceVersion"]
    )


def test_the_number_of_pods_never_falls_on_the_way_to_an_autoscaler_and_back(make_checkout: MakeCheckout, eu: Cluster) -> None:
    mine = make_checkout("eu", name="scaled")
    mine.write_value(replicas=3)
    mine.run("deploy", tag="1")
    with lowest(eu, mine) as seen:
        mine.write_value(replicas=1, max_replicas=4)
        mine.run("deploy", tag="2")
        mine.run("deploy", tag="3")
        owners = eu.ask("get", path("Deployment", mine.user, mine.name))["metadata"]["managedFields"]
        assert [each["manager"] for each in owners if "f:replicas" in each["fieldsV1"].get("f:spec", {})] == [
            "monopod-replicas"
        ]
        mine.write_value(replicas=2)
        done = mine.run("deploy", tag="1")
        assert "pods stay, the next release makes them 2" in done.out
        assert status_row(mine)["runs"] == {"1": 3}
    assert min(seen) == 3
    mine.run("deploy", tag="1")
    assert len(pods(eu, mine)) == 2


def test_pods_that_somebody_added_by_hand_stay_until_a_release_is_good(make_checkout: MakeCheckout, eu: Cluster) -> None:
    mine = make_checkout("eu", name="busy")
    scale = f"{path('Deployment', mine.user, mine.name)}/scale"
    mine.write_value(replicas=2)
    mine.run("deploy", tag="1")
    eu.by_hand(scale, {"spec": {"replicas": 4}})
    until(lambda: status_row(mine, status=None)["runs"] == {"1": 4})
    before = pods(eu, mine)
    mine.write_value(replicas=2, node_labels=UNUSED_LABEL)
    with lowest(eu, mine) as seen:
        assert "now version 1 in 4 pods" in mine.run("deploy", "--timeout", "6", tag="2", status=24).err
    assert (min(seen), pods(eu, mine)) == (4, before)

    mine.write_value(replicas=2)
    done = mine.run("deploy", tag="2")
    assert done.out.index("4 of 4 ready") < done.out.index("from 4 pods to 2, as the release says")
    assert "now version 2 in 2 pods" in done.out
    eu.by_hand(scale, {"spec": {"replicas": 3}})
    done = mine.run("rollback")
    assert "3 of 3 ready" in done.out
    assert "now version 1 in 2 pods" in done.out


def named(kind: str, version: str, name: str, **metadata: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


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
    mine = make_checkout("eu", name="held")
    mine.run("deploy", tag="1")
    with kept(eu, path("Service", mine.user, mine.name)) as free:
        for _ in range(2):  # the second stop finds the object deleted already
            done = mine.run("stop", "--yes", "--timeout", "2", status=19)
            assert f"eu, prod: failed: Service {mine.user}/{mine.name} is deleted" in done.err
            assert f"after 2 s, held by its finalizer {KEPT}" in done.err
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
        done = mine.run("deploy", "--timeout", "10", tag="2", status=19)
        words = f"PodDisruptionBudget {mine.user}/{mine.name} is deleted and still there after 10 s"
        assert f"eu, prod: failed: 2 serves, but {words}" in done.err
        assert (status_row(mine)["state"], status_row(mine)["runs"]) == ("good", {"2": 1})
        assert [row["state"] for row in json.loads(mine.run("history", "--json").out)] == ["serves", "good"]
        done = mine.run("deploy", "--timeout", "10", tag="2", status=19)
        assert words in done.err
    mine.run("deploy", tag="2")
    assert "PodDisruptionBudget" not in kinds(eu, mine.user, mine.name)


GROUP = "admissionregistration.k8s.io/v1"
WORDS = "Deployments of this team are looked at on Mondays"


def test_a_warning_of_the_api_server_is_shown_once_by_diff_deploy_and_rollback(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu", name="warned")
    mine.run("deploy", tag="1")
    name = f"{mine.user}-warns"
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": mine.user}}}
    rules = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "false", "message": WORDS}]}
    bound = {"policyName": name, "validationActions": ["Warn"], "matchResources": where}
    head = {"apiVersion": GROUP, "metadata": {"name": name}}
    policies, bindings = f"/apis/{GROUP}/validatingadmissionpolicies", f"/apis/{GROUP}/validatingadmissionpolicybindings"
    with (
        eu.having(policies, {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec}),
        eu.having(bindings, {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound}),
    ):
        until(lambda: WORDS in mine.run("diff", tag="2", status=3).err)  # policies come into force a moment later
        assert mine.run("diff", tag="2", status=3).err.count(WORDS) == 1
        for command, tag in (("deploy", "2"), ("rollback", "")):
            lines = [line for line in mine.run(command, tag=tag).out.splitlines() if WORDS in line]
            assert len(lines) == 1
            assert lines[0].startswith("eu: warning of the API server: ")
