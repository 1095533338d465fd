"""Field owners, from managedFields as a real API server wrote them."""

from conf.base.object_references import MANAGER, Item
from conf.rollout import field_owners

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
                "f:containers": {'k:{"name":"cats"}': {"f:env": {'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}}}
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


def test_an_object_is_picked_as_its_manager_applied_it_in_its_own_order() -> None:
    env = [{"name": "Z", "value": "1"}, {"name": "A", "value": "2"}]
    container = {"name": "cats", "image": "cats:1", "command": ["a", "b"], "env": env}
    assert field_owners.applied_part(live(), MANAGER) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cats", "namespace": "like", "labels": {"app": "cats"}},
        "spec": {"replicas": 3, "finalizers": ["ours"], "template": {"spec": {"containers": [container]}}},
    }


def test_a_field_that_people_set_by_hand_is_named_by_its_path() -> None:
    assert field_owners.fields_by_hand(live(), (MANAGER,)) == {
        "kubectl-edit": [
            "spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt",
            "spec.template.spec.containers[cats].env[DEBUG].name",
            "spec.template.spec.containers[cats].env[DEBUG].value",
        ]
    }
