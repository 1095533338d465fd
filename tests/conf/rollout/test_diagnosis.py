"""Diagnoses of pods, from objects as real clusters wrote them."""

import re
from typing import Any

import pytest

from conf.base.object_references import Item
from conf.rollout import diagnosis
from conf.rollout.diagnosis import RECYCLED, Diagnosis, diagnose, event_lines, scheduling
from serving.web.recycle import EXIT_CODE

POD = {"name": "cats-1", "namespace": "like", "uid": "p1"}


def pod(container: Item | None = None, **status: Any) -> Item:
    containers = {"containerStatuses": [{"name": "main", "restartCount": 0, **container}]} if container else {}
    return {"metadata": POD, "status": {**containers, **status}}


def event(reason: str, message: str, **more: Any) -> Item:
    return {"reason": reason, "message": message, "involvedObject": {"kind": "Pod", "uid": "p1", "name": "cats-1"}} | more


def only(*found: Diagnosis) -> Diagnosis:
    assert len(found) == 1, found
    return found[0]


def not_scheduled(message: str) -> Diagnosis:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return only(*diagnose([pod(phase="Pending", conditions=[condition])], [], []))


def not_created(message: str) -> Diagnosis:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return only(*diagnose([], [], [{"metadata": {"name": "cats-5f"}, "status": {"conditions": [condition]}}]))


WAITING = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}}
KILLED = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
ENDED = {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}


def pulls(message: str, times: int) -> list[Item]:
    """The events of failed pulls of an image, as the kubelet writes them: two for each attempt."""
    story = f'Failed to pull image "localhost:5000/like/cats:9": failed to pull and unpack image: {message}'
    both = [event("Failed", story, count=times), event("Failed", "Error: ErrImagePull", count=times)]
    pulling = event("Pulling", 'Pulling image "localhost:5000/like/cats:9"', count=times)
    backs_off = [event("BackOff", "Back-off pulling image", count=9), event("Failed", "Error: ImagePullBackOff", count=9)]
    return [pulling, *both, *backs_off]


NOT_PULLED = pod({"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "…"'}}})
MISSING = "failed to resolve reference: localhost:5000/like/cats:9: not found"
REFUSED = "failed to authorize: unexpected status from GET request to https://registry/token: 401 Unauthorized"
SLOW = 'failed to do request: Head "https://registry/v2/like/cats/manifests/9": dial tcp 10.0.0.1:443: i/o timeout'
AWAY = "unexpected status from HEAD request to https://registry/v2/like/cats/manifests/9: 503 Service Unavailable"
CLOSED = 'failed to do request: Head "https://registry/v2/": dial tcp 10.0.0.1:443: connect: connection refused'


@pytest.mark.parametrize(
    ("message", "enough"), [(MISSING, 2), (REFUSED, 2), (SLOW, 3), (AWAY, 3), (CLOSED, 3)], ids=lambda each: str(each)[-20:]
)
def test_an_image_is_given_up_after_a_number_of_attempts_that_the_registrys_answer_decides(message: str, enough: int) -> None:
    for times in range(1, 5):
        found = only(*diagnose([NOT_PULLED], pulls(message, times), []))
        assert (found.kind, found.hopeless) == (diagnosis.IMAGE, times >= enough), times
        assert message[-20:] in str(found)
        assert "check its name and tag" in str(found)


def test_attempts_that_each_failed_in_their_own_way_are_counted_together() -> None:
    many = [*pulls(SLOW, 1), *pulls(AWAY, 1), *pulls(CLOSED, 1)]
    assert only(*diagnose([NOT_PULLED], many, [])).hopeless
    assert not only(*diagnose([NOT_PULLED], many[:-5], [])).hopeless


def test_an_image_with_an_invalid_name_is_hopeless_at_once() -> None:
    waiting = {"state": {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}}
    assert only(*diagnose([pod(waiting)], [event("InspectFailed", "Failed to apply default image tag")], [])).hopeless


def test_a_long_message_about_an_image_keeps_its_end() -> None:
    said = f"Failed to pull image: {'failed to resolve reference ' * 20}: x:9: not found"
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}}
    words = only(*diagnose([pod(waiting)], [event("Failed", said)], [])).words
    assert words.endswith("x:9: not found")
    assert len(words) < 250


@pytest.mark.parametrize(("restarts", "hopeless"), [(0, False), (1, False), (2, True)])
def test_a_container_that_ends_is_hopeless_after_its_second_restart(restarts: int, hopeless: bool) -> None:
    found = only(*diagnose([pod({**WAITING, **ENDED, "restartCount": restarts})], [], []))
    assert (found.kind, found.hopeless) == (diagnosis.CRASH, hopeless)
    assert "exit code 1" in found.words


def test_a_container_that_ended_itself_for_its_memory_is_not_a_diagnosis() -> None:
    assert RECYCLED == EXIT_CODE
    ended = {"lastState": {"terminated": {"exitCode": RECYCLED, "reason": "Error"}}, "restartCount": 4}
    states: tuple[Item, ...] = ({"running": {}}, WAITING["state"])
    for state in states:
        assert diagnose([pod({"state": state, **ended})], [], []) == []


def test_a_container_that_was_killed_for_its_memory_is_told_apart_from_a_crash() -> None:
    found = only(*diagnose([pod({**WAITING, **KILLED, "restartCount": 2})], [], []))
    assert found.kind == diagnosis.MEMORY
    assert "raise memory in value.py" in str(found)


def test_a_probe_that_never_passes_is_reported_with_its_answer() -> None:
    events = [
        event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503"),
        event("Killing", "Container main failed startup probe, will be restarted"),
    ]
    found = only(*diagnose([pod({"state": {"running": {}}, **KILLED | ENDED, "restartCount": 2})], events, []))
    assert (found.kind, found.hopeless) == (diagnosis.PROBE, True)
    assert "statuscode: 503" in found.words
    assert "init_delay_second" in str(found)


def test_a_container_that_hung_is_told_by_its_liveness_probe_and_not_by_what_its_start_says_since() -> None:
    events = [
        event(
            "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503", lastTimestamp="2026-11-25T10:00:00Z"
        ),
        event("Killing", "Container main failed liveness probe, will be restarted", lastTimestamp="2026-11-25T10:00:00Z"),
        event("Unhealthy", "Readiness probe failed: connection refused", lastTimestamp="2026-11-25T10:00:09Z"),
    ]
    killed = {"lastState": {"terminated": {"exitCode": 0, "startedAt": "2026-11-25T09:00:00Z"}}}
    found = only(*diagnose([pod({"state": {"running": {}}, **killed, "restartCount": 1})], events, []))
    assert (found.kind, found.hopeless) == (diagnosis.PROBE, False)
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in found.words
    assert "stuck_after_second" in str(found)
    assert "init_delay_second" not in str(found)


def test_a_container_that_ends_by_itself_after_an_earlier_kill_is_told_by_its_exit_code() -> None:
    kill = event("Killing", "Container main failed liveness probe, will be restarted", lastTimestamp="2026-11-25T10:00:00Z")
    ended = {"lastState": {"terminated": {"exitCode": 7, "startedAt": "2026-11-25T10:00:09Z"}}}
    found = only(*diagnose([pod({"state": {"running": {}}, **ended, "restartCount": 2})], [kill], []))
    assert (found.kind, "exit code 7" in found.words) == (diagnosis.CRASH, True)


def test_a_pod_that_no_node_takes_says_what_is_short_and_where() -> None:
    found = not_scheduled(
        "0/3 nodes are available: 1 Insufficient aliyun.com/gpu-mem, 2 Insufficient memory. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    )
    assert (found.kind, found.hopeless) == (diagnosis.UNSCHEDULABLE, False)
    assert found.words.startswith("no node takes it: on 1 node too little")
    assert found.words.endswith("on 2 nodes too little memory is free")
    assert "(aliyun.com/gpu-mem)" in found.words


@pytest.mark.parametrize(
    "message", ['persistentvolumeclaim "indexes" not found', "pod has unbound immediate PersistentVolumeClaims."]
)
def test_a_claim_that_is_missing_or_has_no_volume_is_not_reported_as_missing_nodes(message: str) -> None:
    found = not_scheduled(f"0/1 nodes: {message}")
    assert found.kind == diagnosis.CONFIG
    assert found.words.endswith(f"data_claim cannot be used: 0/1 nodes: {message}")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("1 node(s) had untolerated taint {gpu: true}.", "on 1 node had untolerated taint"),
        ("2 Insufficient nvidia.com/gpu.", "on 2 nodes no whole GPU (nvidia.com/gpu)"),
        ("2 Too many pods.", "on 2 nodes there is no room"),
    ],
)
def test_a_shortage_is_told_with_the_number_of_its_nodes(said: str, told: str) -> None:
    assert scheduling(f"0/2 nodes are available: {said}").startswith(told)


def test_a_scheduler_that_says_something_else_is_quoted() -> None:
    assert scheduling("no scheduler of that name") == "no scheduler of that name"


def test_a_spent_quota_is_told_in_figures() -> None:
    asked = "requested: requests.cpu=2, used: requests.cpu=3, limited: requests.cpu=4"
    found = not_created(f'pods "cats-1" is forbidden: exceeded quota: team, {asked}')
    assert found.kind == diagnosis.QUOTA
    assert re.findall(r"requests\.cpu=(\d)", found.words) == ["2", "3", "4"]  # asked for, in use, allowed


def with_init(status: Item, **container: str) -> Item:
    """Return a pod whose init container has a status. The model waits for it."""
    main = {"name": "main", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
    statuses = {"initContainerStatuses": [{"name": "data", "restartCount": 0, **status}], "containerStatuses": [main]}
    return {"metadata": POD, "spec": {"initContainers": [{"name": "data", **container}]}, "status": statuses}


def of_container(name: str, reason: str, message: str) -> Item:
    about = {"kind": "Pod", "uid": "p1", "fieldPath": f"spec.initContainers{{{name}}}"}
    return event(reason, message, involvedObject=about)


CRASHES, SWELLS = {**WAITING, **ENDED, "restartCount": 2}, {**WAITING, **KILLED, "restartCount": 1}
NOT_NAMED, RUNS = {"state": {"waiting": {"reason": "InvalidImageName"}}}, {"state": {"running": {}}, "ready": False}


@pytest.mark.parametrize(
    ("status", "sidecar", "kind", "words"),
    [
        (CRASHES, False, diagnosis.CRASH, "init container data: it ended with exit code 1"),
        (SWELLS, True, diagnosis.MEMORY, "sidecar data: it was killed for its memory, once; raise its memory in pod.yaml"),
        (NOT_NAMED, True, diagnosis.IMAGE, "sidecar data: its image cannot be pulled"),
        (RUNS, False, diagnosis.PROBE, "init container data: it has not ended"),
        (RUNS, True, diagnosis.PROBE, "sidecar data: its probe has not passed: no answer"),
    ],
)
def test_a_container_of_pod_yaml_that_keeps_the_model_from_starting_is_named(
    status: Item, sidecar: bool, kind: str, words: str
) -> None:
    there = with_init(status, **({"restartPolicy": "Always"} if sidecar else {}))
    found = only(*diagnose([there], [of_container("data", "Unhealthy", "no answer")], [], late=True))
    assert (found.kind, found.container) == (kind, "data")
    assert f"pod cats-1: {words}" in str(found)
    assert "value.py" not in str(found)


def test_what_a_sidecars_probe_says_is_not_said_of_the_model() -> None:
    there = with_init({"state": {"running": {}}, "ready": True}, restartPolicy="Always")
    there["status"]["containerStatuses"][0] |= {"state": {"running": {}}, "ready": False}
    found = only(*diagnose([there], [of_container("data", "Unhealthy", "of the sidecar")], [], late=True))
    assert found.words == "its probe has not passed: it is not ready yet"


def test_a_missing_object_of_the_namespace_is_named() -> None:
    waiting = {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}}}
    found = only(*diagnose([pod(waiting)], [], []))
    assert (found.kind, found.hopeless) == (diagnosis.CONFIG, True)
    assert 'secret "keys" not found: kubectl create' in found.words
    assert "secret generic keys --namespace like" in found.words


def test_a_node_that_went_away_is_named() -> None:
    there = {**pod({"state": {"running": {}}, "ready": True}), "spec": {"nodeName": "n7"}}
    found = only(*diagnose([there], [event("NodeNotReady", "Node is not ready")], []))
    assert (found.kind, found.words) == (diagnosis.NODE, "its node n7 is not ready")


def test_a_pod_that_is_starting_has_no_diagnosis() -> None:
    states: list[Item] = [{"waiting": {"reason": "ContainerCreating"}}, {"running": {}}]
    for state in states:
        assert diagnose([pod({"state": state})], [event("Unhealthy", "Startup probe failed: 503")], []) == []


def test_a_probe_that_has_not_passed_is_a_diagnosis_once_the_time_is_over() -> None:
    waits = pod({"state": {"running": {}}, "ready": False})
    events = [event("Unhealthy", "Startup probe failed: 503")]
    assert diagnose([waits], events, []) == []
    found = only(*diagnose([waits], events, [], late=True))
    assert found.kind == diagnosis.PROBE
    assert found.words.endswith("not passed: Startup probe failed: 503")
    assert diagnose([pod({"state": {"running": {}}, "ready": True})], [], [], late=True) == []


def test_a_namespace_that_takes_no_such_pod_is_hopeless() -> None:
    found = not_created('pods "cats" is forbidden: violates PodSecurity "x"')
    assert (found.kind, found.hopeless) == (diagnosis.CONFIG, True)


def test_events_are_told_in_their_order_and_those_of_one_text_once() -> None:
    late, early = {"lastTimestamp": "2026-01-01T00:00:09Z"}, {"lastTimestamp": "2026-01-01T00:00:01Z"}
    found = event_lines(
        [event("BackOff", "again", count=3, **late), event("Pulled", "it is  here", **early), event("BackOff", "again")]
    )
    assert found == ("Pulled: it is here", "BackOff: again (4 times)")


def test_two_pods_with_the_same_diagnosis_are_reported_once() -> None:
    twin = {**pod({**WAITING, **ENDED, "restartCount": 2}), "metadata": {**POD, "name": "cats-2", "uid": "p2"}}
    assert len(diagnose([pod({**WAITING, **ENDED, "restartCount": 2}), twin], [], [])) == 1
