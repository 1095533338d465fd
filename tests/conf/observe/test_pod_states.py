"""Pods that are ready, wait, or were lost, from what Kubernetes writes into them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from conf.observe.pod_states import PodStates, pod_states

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
FULL = 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". '


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, seconds: float, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastTransitionTime": ago(seconds), **more}


def pod(name: str, phase: str, age: float, *conditions: dict[str, str], **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "creationTimestamp": ago(age), "labels": {"version": "7"}}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": list(conditions), **status}}


def found(*pods: dict[str, Any], evicted: str = "") -> PodStates:
    events = [{"involvedObject": {"name": evicted}, "message": FULL}] if evicted else []
    return pod_states(pods, events, NOW)


def test_a_ready_pod_has_its_version_and_since_when_unless_it_ends() -> None:
    ready, ends = (pod(name, "Running", 500, condition("Ready", "True", 12)) for name in ("small-1", "small-2"))
    ends["metadata"]["deletionTimestamp"] = ago(1)
    assert found(ready, ends, pod("small-3", "Running", 9, condition("Ready", "False", 9))).ready == (("small-1", "7", 12.0),)


def test_evicted_and_failed_pods_of_the_last_hour_are_lost_the_last_one_first() -> None:
    gone = condition("DisruptionTarget", "True", 100)
    states = found(
        pod("small-1", "Failed", 9000, condition("Ready", "False", 3700), reason="Evicted", message=FULL),
        pod("small-2", "Failed", 9000, condition("Ready", "False", 3000)),
        pod("small-3", "Failed", 9000, gone, reason="Evicted", message=FULL),
    )
    evicted = 'small-3 was evicted: Usage of EmptyDir volume "tmp" exceeds the limit "64Mi".'
    assert states.lost == (evicted, "small-2 failed: its containers ended")
    assert states.lost_words == f"{evicted}, and 1 more in the last hour"
    assert found().lost_words == ""


def test_an_evicted_pod_that_ended_with_0_is_told_by_its_event_alone() -> None:
    ended = pod("small-1", "Succeeded", 500, condition("Ready", "False", 25, reason="PodCompleted"))
    assert found(ended).lost == ("small-1 failed: its containers ended",)
    assert found(ended, evicted="small-1").lost[0].startswith("small-1 was evicted: Usage of EmptyDir")
    assert found(pod("small-1", "Running", 500), evicted="small-1").lost == ()


def test_a_pod_that_is_deleted_and_ends_is_not_lost() -> None:
    replaced = pod("small-1", "Failed", 500, condition("Ready", "False", 1))
    replaced["metadata"]["deletionTimestamp"] = ago(5)
    assert found(replaced).lost == ()


def test_a_pod_that_makes_room_for_another_is_told_while_it_ends() -> None:
    message = "default-scheduler: preempting to accommodate a higher priority pod"
    preempted = condition("DisruptionTarget", "True", 5, reason="PreemptionByScheduler", message=message)
    moved = condition("DisruptionTarget", "True", 5, reason="EvictionByEvictionAPI")  # as a node is drained
    states = found(pod("small-1", "Running", 500, preempted), pod("small-2", "Running", 500, moved))
    assert states.lost == ("small-1 was preempted: PreemptionByScheduler",)


def test_a_pod_without_a_node_is_told_at_once_and_one_without_a_container_after_a_minute() -> None:
    no_room = "0/1 nodes: 1 Insufficient memory"
    nowhere = condition("PodScheduled", "False", 5, message=no_room)
    waiting = {"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    states = found(
        pod("small-1", "Pending", 5, nowhere),
        pod("small-2", "Pending", 59, **waiting),
        pod("small-3", "Pending", 61, **waiting),
    )
    assert states.waiting == (
        ("small-1", f"it has been pending for 5 s: {no_room}"),
        ("small-3", "it has been pending for 61 s: ContainerCreating"),
    )


def test_an_init_container_that_keeps_a_pod_waiting_is_named() -> None:
    fails = {"name": "data", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    waits = {"state": {"waiting": {"reason": "PodInitializing"}}}
    there = pod("small-1", "Pending", 61, initContainerStatuses=[fails, {"name": "b", **waits}], containerStatuses=[waits])
    there["spec"] = {"initContainers": [{"name": "data"}, {"name": "b"}]}
    assert found(there).waiting == (("small-1", "it has been pending for 61 s: CrashLoopBackOff of data, PodInitializing"),)
