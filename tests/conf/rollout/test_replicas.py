"""The number of pods of a release: after an earlier release, beside an autoscaler, and once the release is good."""

import pytest

from conf.base.object_references import MANAGER, Item, Ref
from conf.rollout import replicas
from conf.rollout.replicas import REPLICAS_MANAGER

FIXED: Item = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "cats", "namespace": "like"},
    "spec": {"replicas": 2},
}
SCALED: Item = {**FIXED, "spec": {}}
SCALER = Ref("HorizontalPodAutoscaler", "like", "cats")
WITH_SCALER: list[Item] = [{"kind": "ScaledObject", "metadata": {"name": "cats"}, "spec": {"minReplicaCount": 3}}]
OFFLINE: Item = {**FIXED, "metadata": {"name": "cats-offline", "namespace": "like"}, "spec": {"replicas": 3}}


def with_count(count: int, manager: str) -> Item:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {**FIXED, "metadata": {**FIXED["metadata"], "managedFields": [entry]}, "spec": {"replicas": count}}


def test_a_first_release_begins_with_its_own_number_or_the_minimum_of_its_autoscaler() -> None:
    assert replicas.apply_step(FIXED, None, []) == replicas.DeploymentStep(FIXED)
    assert replicas.apply_step(SCALED, None, WITH_SCALER).item["spec"] == {"replicas": 3}


def test_on_the_change_to_an_autoscaler_the_count_is_handed_over_once() -> None:
    step = replicas.apply_step(SCALED, with_count(5, MANAGER), WITH_SCALER)
    assert step.first is not None
    assert (step.item, step.first["spec"], step.first["kind"]) == (SCALED, {"replicas": 5}, "Deployment")
    assert replicas.apply_step(SCALED, with_count(5, REPLICAS_MANAGER), WITH_SCALER).first is None


def test_an_autoscaler_never_begins_with_no_pod_because_it_would_stay_at_none() -> None:
    step = replicas.apply_step(SCALED, with_count(0, "kubectl"), WITH_SCALER)
    assert step.first is not None
    assert step.first["spec"] == {"replicas": 1}


@pytest.mark.parametrize(("there", "then"), [(0, 2), (1, 2), (2, 2), (6, 6)])
def test_until_a_release_is_good_it_has_no_fewer_pods_than_were_there(there: int, then: int) -> None:
    found = replicas.with_at_least([FIXED, *WITH_SCALER], {"cats": there})
    assert found == [{**FIXED, "spec": {"replicas": then}}, *WITH_SCALER]
    assert replicas.with_at_least([SCALED], {"cats": there}) == [SCALED]


@pytest.mark.parametrize("there", [0, 1, 6])
def test_a_release_that_is_undone_has_as_many_pods_as_before(there: int) -> None:
    assert replicas.with_exactly([FIXED], {"cats": there}) == [{**FIXED, "spec": {"replicas": there}}]
    assert replicas.with_exactly([SCALED], {"cats": there}) == [SCALED]


def test_each_deployment_has_a_number_of_its_own() -> None:
    counts = {"cats": 5, "cats-offline": 1}
    assert [each["spec"] for each in replicas.with_at_least([FIXED, OFFLINE], counts)] == [{"replicas": 5}, {"replicas": 3}]
    assert [each["spec"] for each in replicas.with_exactly([FIXED, OFFLINE], counts)] == [{"replicas": 5}, {"replicas": 1}]
    assert replicas.with_exactly([FIXED, OFFLINE], {"cats": 2}) == [FIXED, OFFLINE]


def test_an_autoscaler_decides_for_the_deployment_of_its_name_alone() -> None:
    online = {**FIXED, "spec": {}}
    offline = {**OFFLINE, "spec": {}}
    scalers: list[Item] = [{"kind": "ScaledObject", "metadata": {"name": "cats-offline"}, "spec": {"minReplicaCount": 2}}]
    assert replicas.apply_step(offline, None, [*scalers, *WITH_SCALER]).item["spec"] == {"replicas": 2}
    assert replicas.apply_step(online, None, scalers).item == online
    of_offline = (Ref("ScaledObject", "like", "cats-offline"),)
    step = replicas.scale_down_step(FIXED, with_count(6, MANAGER), of_offline)
    assert step == replicas.DeploymentStep(FIXED, words="from 6 pods to 2, as the release says")


def test_a_release_that_is_good_gets_its_own_number() -> None:
    step = replicas.scale_down_step(FIXED, with_count(6, MANAGER), ())
    assert step == replicas.DeploymentStep(FIXED, words="from 6 pods to 2, as the release says")
    assert replicas.scale_down_step(FIXED, with_count(2, MANAGER), ()) is None
    assert replicas.scale_down_step(SCALED, with_count(6, MANAGER), (SCALER,)) is None


def test_on_the_change_from_an_autoscaler_the_larger_count_stays() -> None:
    step = replicas.scale_down_step(FIXED, with_count(6, "kube-controller-manager"), (SCALER,))
    assert step is not None
    assert step.item["spec"] == {"replicas": 6}
    assert "its 6 pods stay" in step.words
    assert "the next release makes them 2" in step.words
    assert replicas.scale_down_step(FIXED, with_count(1, "kube-controller-manager"), (SCALER,)) is None
