"""What is wrong with a release's pods, in words, with the cure.

Knows what Kubernetes writes into pods, ReplicaSets and events. A pure module: asks no cluster.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conf.refs import Item

IMAGE, CRASH, MEMORY, PROBE, UNSCHEDULABLE, QUOTA, CONFIG, NODE = (
    "image", "crash", "memory", "probe", "unschedulable", "quota", "config", "node",
)  # fmt: skip
# Kinds that waiting does not mend, and how often a container starts again before that is believed.
HOPELESS = (IMAGE, CRASH, MEMORY, PROBE, CONFIG)
ENOUGH_RESTARTS = 2
PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
CURES = {
    IMAGE: "check its name and tag, that it was pushed, and that the cluster may pull it (pull_secrets in regions.yaml)",
    CRASH: "its last lines are below; run the image locally: the same lines come",
    MEMORY: "raise memory in value.py, or lower max_batch_size, ins_num_per_gpu or queue_limit",
    PROBE: "raise init_delay_second in value.py if the model needs longer to load; its last lines are below",
    UNSCHEDULABLE: "free or add nodes, or ask for less in value.py",
    QUOTA: "ask for less in value.py, or have the namespace's quota raised",
    CONFIG: "the message above names what is missing in the namespace",
    NODE: "the node is in trouble; the platform engineer looks there",
}


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong. pod: "" where there is none yet. hopeless: waiting does not mend it."""

    kind: str
    pod: str
    words: str
    hopeless: bool = False

    def __str__(self) -> str:
        where = f"pod {self.pod}: " if self.pod else ""
        return f"{where}{self.words}; {CURES[self.kind]}"


def troubles(pods: Sequence[Item], events: Sequence[Item], sets: Sequence[Item]) -> list[Trouble]:
    """Return what is wrong with a release: of its pods, the events in their namespace, and its ReplicaSets."""
    found = [trouble for pod in pods for trouble in _of_pod(pod, [e for e in events if _is_about(e, pod)])]
    names = {each["metadata"]["name"] for each in sets}
    found += [_quota(each) for each in sets if _failure(each)]
    if not pods:
        refused = (e for e in events if e.get("reason") == "FailedCreate" and e["involvedObject"]["name"] in names)
        found += [Trouble(QUOTA, "", f"no pod may be made: {_short(e['message'])}") for e in refused if not found]
    return list({(each.kind, each.words): each for each in found}.values())


def _of_pod(pod: Item, events: Sequence[Item]) -> Iterator[Trouble]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") in ("Unschedulable", "SchedulerError"):
        yield Trouble(UNSCHEDULABLE, name, f"no node takes it: {scheduling(scheduled.get('message', ''))}")
    if status.get("reason") in ("Evicted", "NodeLost", "NodeShutdown"):
        yield Trouble(NODE, name, f"{status['reason']}: {_short(status.get('message', ''))}")
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        yield from _of_container(name, container, events)


def _of_container(pod: str, container: Item, events: Sequence[Item]) -> Iterator[Trouble]:
    restarts = container.get("restartCount", 0)
    waiting = container.get("state", {}).get("waiting", {})
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    reason = waiting.get("reason", "")
    enough = restarts >= ENOUGH_RESTARTS
    if reason in PULL_REASONS:
        tried = sum(e.get("count") or 1 for e in events if e.get("reason") == "Failed")
        hopeless = reason == "InvalidImageName" or tried >= ENOUGH_RESTARTS or "not found" in _pull_error(waiting, events)
        yield Trouble(IMAGE, pod, f"its image cannot be pulled: {_pull_error(waiting, events)}", hopeless)
    elif reason in CONFIG_REASONS:
        yield Trouble(
            CONFIG, pod, f"its container cannot be made: {_short(waiting.get('message', reason))}", enough or not ended
        )
    elif ended.get("reason") == "OOMKilled" or (ended.get("exitCode") == 137 and not _probe_event(events) and restarts):
        yield Trouble(MEMORY, pod, f"it was killed for its memory, {_times(restarts)}", enough or restarts > 0)
    elif (probe := _probe_event(events)) and restarts:
        yield Trouble(PROBE, pod, f"its probe does not pass and it was started again, {_times(restarts)}: {probe}", enough)
    elif ended and (ended.get("exitCode") or reason == "CrashLoopBackOff"):
        yield Trouble(CRASH, pod, f"it ended with exit code {ended.get('exitCode')}, {_times(restarts)}", enough)


def scheduling(message: str) -> str:
    """Return the scheduler's message in words: which nodes lack what."""
    counts = re.findall(r"(\d+) (Insufficient [\w./-]*\w|node\(s\) [^,.]+|Too many pods)", message)
    if not counts:
        return _short(message)
    words = {"Insufficient memory": "too little memory is free", "Insufficient cpu": "too few cores are free"}
    parts = []
    for number, what in counts:
        told = words.get(what) or re.sub(r"Insufficient (\S+)", r"too little \1 is free", what).replace("node(s) ", "")
        parts.append(f"on {number} {'node' if number == '1' else 'nodes'} {told}")
    return ", ".join(parts)


def _pull_error(waiting: Item, events: Sequence[Item]) -> str:
    told = [e["message"] for e in events if e.get("reason") == "Failed" and "pull" in e.get("message", "").lower()]
    longest = max([*told, waiting.get("message", "")], key=len, default="")
    return _short(longest or waiting.get("reason", ""))


def _probe_event(events: Sequence[Item]) -> str:
    """Return what the kubelet last said of a probe that made it start the container again."""
    if not any(e.get("reason") == "Killing" and "probe" in e.get("message", "") for e in events):
        return ""
    said = [e["message"] for e in events if e.get("reason") == "Unhealthy"]
    return _short(said[-1]) if said else "it failed too often"


def _failure(replica_set: Item) -> Item:
    conditions: Iterable[Item] = replica_set.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "ReplicaFailure" and each["status"] == "True"), {})


def _quota(replica_set: Item) -> Trouble:
    message = _failure(replica_set).get("message", "")
    if "exceeded quota" in message:
        asked = re.search(r"requested: ([^;]*?), used: ([^;]*?), limited: (.*)$", message)
        words = f"asked for {asked[1]}, in use {asked[2]}, allowed {asked[3]}" if asked else _short(message)
        return Trouble(QUOTA, "", f"the namespace's quota is spent: {words}")
    return Trouble(CONFIG, "", f"no pod may be made: {_short(message)}", hopeless="PodSecurity" in message)


def _is_about(event: Item, pod: Item) -> bool:
    about = event.get("involvedObject", {})
    return bool(about.get("uid") == pod["metadata"].get("uid") and about.get("kind") == "Pod")


def _times(restarts: int) -> str:
    return "once" if restarts <= 1 else f"{restarts} times"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."
