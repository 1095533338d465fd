"""A quota has room for a service's pods and one more in a roll-out, or the shortage is told: only the use of others counts."""

from typing import Any

import pytest

from conf.base.yaml_nodes import documents
from conf.rollout.preflight import named_objects, of_rollout, shortages, usage
from tests.conf.golden import GOLDEN

GPU = "aliyun.com/gpu-mem"
MODEL = {"resources": {"requests": {"cpu": "500m", "memory": "1Gi", GPU: "4"}, "limits": {"memory": "1Gi", GPU: "4"}}}
POD = usage({"containers": [MODEL]})


def quota(hard: dict[str, str], used: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "status": {"hard": hard, "used": used}}


def times(pods: int) -> dict[str, float]:
    return {name: amount * pods for name, amount in POD.items()}


def test_a_pod_uses_what_its_containers_ask_for_together() -> None:
    amounts = [{"requests": {"cpu": "250m", "memory": "1e3"}}, {"requests": {"cpu": "1"}, "limits": {"memory": "2k"}}, {}]
    two = usage({"containers": [{"resources": each} for each in amounts]})
    assert two == {"pods": 1, "count/pods": 1, "requests.cpu": 1.25, "requests.memory": 1000, "limits.memory": 2000}


def test_the_objects_that_pods_name_are_found_in_volumes_and_in_the_environment_of_every_container() -> None:
    items = documents((GOLDEN / "every-setting/hk-prod-istio.yaml").read_text(encoding="utf-8"))
    named = set(named_objects(items))
    assert {("Secret", "index"), ("Secret", "keys"), ("ConfigMap", "index"), ("ConfigMap", "words")} <= named
    assert {("PersistentVolumeClaim", "index"), ("Secret", "same-keys")} <= named
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "only-here", "key": "a"}}}, {"name": "B", "value": "b"}]
    pod = {"initContainers": [{"env": env}], "containers": [{}]}
    alone = {"kind": "Deployment", "spec": {"template": {"spec": pod}}}
    assert named_objects([alone, alone, {"kind": "Service"}]) == [("ConfigMap", "only-here")]


def test_a_sidecar_is_added_and_an_init_container_counts_where_it_asks_for_more_than_all_the_others() -> None:
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}}
    fetch = {"resources": {"requests": {"cpu": "100m", "memory": "4Gi"}}}
    found = usage({"containers": [MODEL], "initContainers": [sidecar, fetch]})
    assert (found["requests.cpu"], found["limits.memory"]) == (0.75, 2 * 2**30)
    assert (found["requests.memory"], found[f"requests.{GPU}"]) == (4 * 2**30, 4)


@pytest.mark.parametrize(
    ("hard", "used", "own", "words"),
    [
        ({"pods": "10"}, {"pods": "7"}, 0, []),
        ({"pods": "10"}, {"pods": "8"}, 0, ["team allows 10 pods, others use 8 of it"]),
        ({"pods": "10"}, {"pods": "9"}, 2, []),  # two of the nine are ours
        ({"cpu": "2"}, {"cpu": "1500m"}, 1, ["others use 1 of it; the pods take 1.5"]),
        ({"requests.cpu": "3"}, {"requests.cpu": "1500m"}, 0, []),
        ({"limits.memory": "4Gi"}, {"limits.memory": "2Gi"}, 0, ["allows 4Gi limits.memory, others use 2Gi"]),
        ({f"requests.{GPU}": "12"}, {}, 0, []),
        ({f"requests.{GPU}": "11"}, {}, 0, [f"11 requests.{GPU}, others use 0 of it; the pods take 12"]),
        ({"requests.nvidia.com/gpu": "0", "services": "0"}, {}, 0, []),  # not what is asked for here
    ],
)  # fmt: skip
def test_room_is_what_is_allowed_less_what_others_use(
    hard: dict[str, str], used: dict[str, str], own: int, words: list[str]
) -> None:
    found = list(shortages(quota(hard, used), times(3), times(own)))
    assert len(found) == len(words)
    assert all(reason in one for one, reason in zip(found, words, strict=True)), found


@pytest.mark.parametrize(
    ("replicas", "there", "changed", "pods"),
    [(2, 0, False, 2), (2, 2, True, 3), (2, 2, False, 2), (1, 4, True, 5), (4, 2, True, 4)],
)
def test_a_rollout_needs_its_pods_at_the_end_and_one_more_than_now_where_they_are_replaced(
    replicas: int, there: int, changed: bool, pods: int
) -> None:
    assert of_rollout(replicas, there, changed, {"containers": [{"resources": {"requests": {"cpu": "500m"}}}]}) == {
        "pods": pods, "count/pods": pods, "requests.cpu": pods / 2,
    }  # fmt: skip
