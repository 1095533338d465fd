"""Whose a field is: from managedFields of the shape that a real API server wrote."""

import pytest

from conf.base.object_references import MANAGER, Item, Ref
from conf.rollout import capacity, field_owners
from conf.rollout.capacity import REPLICAS_MANAGER

OURS = {
    "f:metadata": {"f:labels": {"f:app": {}}, "f:ownerReferences": {}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"cats"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:command": {},
                        "f:env": {
                            'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"Z"}': {".": {}, "f:name": {}, "f:value": {}},
                        },
                    }
                }
            }
        },
        "f:finalizers": {'v:"ours"': {}},
    },
}
BY_HAND = {
    "f:spec": {
        "f:template": {
            "f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"cats"}': {"f:env": {'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}},
                }
            },
        }
    }
}
STATUS = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "status",
    "fieldsV1": {"f:spec": {"f:x": {}}},
}


def live() -> Item:
    env = [{"name": "Z", "value": "1"}, {"name": "DEBUG", "value": "1"}, {"name": "A", "value": "2"}]
    container = {"name": "cats", "image": "cats:1", "command": ["a", "b"], "env": env, "imagePullPolicy": "Always"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "cats",
            "namespace": "like",
            "uid": "u",
            "labels": {"app": "cats", "team": "theirs"},
            "ownerReferences": [{"uid": "x"}],
            "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": OURS},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": BY_HAND},
                STATUS,
            ],
        },
        "spec": {
            "replicas": 3,
            "paused": True,
            "finalizers": ["theirs", "ours"],
            "template": {"spec": {"restartPolicy": "Always", "containers": [container]}},
        },
    }


def test_an_object_is_taken_out_as_its_manager_applied_it_in_its_own_order() -> None:
    env = [{"name": "Z", "value": "1"}, {"name": "A", "value": "2"}]
    container = {"name": "cats", "image": "cats:1", "command": ["a", "b"], "env": env}
    assert field_owners.taken_out(live(), MANAGER) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cats", "namespace": "like", "labels": {"app": "cats"}},
        "spec": {"replicas": 3, "finalizers": ["ours"], "template": {"spec": {"containers": [container]}}},
    }


def test_what_people_set_by_hand_is_named_by_its_path() -> None:
    assert field_owners.others(live(), (MANAGER,)) == {
        "kubectl-edit": [
            "spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt",
            "spec.template.spec.containers[cats].env[DEBUG].name",
            "spec.template.spec.containers[cats].env[DEBUG].value",
        ]
    }


FIXED: Item = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "cats", "namespace": "like"},
    "spec": {"replicas": 2},
}
SCALED: Item = {**FIXED, "spec": {}}
SCALER = Ref("HorizontalPodAutoscaler", "like", "cats")
WITH_SCALER: list[Item] = [{"kind": "ScaledObject", "spec": {"minReplicaCount": 3}}]


def with_count(count: int, manager: str) -> Item:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {**FIXED, "metadata": {**FIXED["metadata"], "managedFields": [entry]}, "spec": {"replicas": count}}


def test_a_first_release_begins_with_its_own_number_or_the_autoscalers_least() -> None:
    assert capacity.step(FIXED, None, []) == capacity.Step(FIXED)
    assert capacity.step(SCALED, None, WITH_SCALER).item["spec"] == {"replicas": 3}


def test_to_an_autoscaler_the_count_is_handed_over_once() -> None:
    step = capacity.step(SCALED, with_count(5, MANAGER), WITH_SCALER)
    assert step.first is not None
    assert (step.item, step.first["spec"], step.first["kind"]) == (SCALED, {"replicas": 5}, "Deployment")
    assert capacity.step(SCALED, with_count(5, REPLICAS_MANAGER), WITH_SCALER).first is None


def test_an_autoscaler_is_never_left_with_no_pod_for_it_would_stay_so() -> None:
    step = capacity.step(SCALED, with_count(0, "kubectl"), WITH_SCALER)
    assert step.first is not None
    assert step.first["spec"] == {"replicas": 1}


@pytest.mark.parametrize(("there", "then"), [(0, 2), (1, 2), (2, 2), (6, 6)])
def test_until_a_release_is_good_it_has_no_fewer_pods_than_were_there(there: int, then: int) -> None:
    found = capacity.at_least([FIXED, *WITH_SCALER], there)
    assert found == [{**FIXED, "spec": {"replicas": then}}, *WITH_SCALER]
    assert capacity.at_least([SCALED], there) == [SCALED]


@pytest.mark.parametrize("there", [0, 1, 6])
def test_what_is_undone_has_as_many_pods_as_before(there: int) -> None:
    assert capacity.exactly([FIXED], there) == [{**FIXED, "spec": {"replicas": there}}]
    assert capacity.exactly([SCALED], there) == [SCALED]


def test_a_release_that_is_good_comes_to_its_own_number() -> None:
    step = capacity.lowered(FIXED, with_count(6, MANAGER), ())
    assert step == capacity.Step(FIXED, words="from 6 pods to 2, as the release says")
    assert capacity.lowered(FIXED, with_count(2, MANAGER), ()) is None
    assert capacity.lowered(SCALED, with_count(6, MANAGER), (SCALER,)) is None


def test_from_an_autoscaler_the_larger_count_stays() -> None:
    step = capacity.lowered(FIXED, with_count(6, "kube-controller-manager"), (SCALER,))
    assert step is not None
    assert step.item["spec"] == {"replicas": 6}
    assert "its 6 pods stay" in step.words
    assert capacity.lowered(FIXED, with_count(1, "kube-controller-manager"), (SCALER,)) is None
