"""The diagnosis of a release's pods: each cause in words, with its cure. A pure module."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from conf.base.console import shortened
from conf.base.object_references import Item, conditions, container_statuses

IMAGE, CRASH, MEMORY, PROBE, UNSCHEDULABLE, QUOTA, CONFIG, NODE, GATEWAY, PAUSED = (
    "image", "crash", "memory", "probe", "unschedulable", "quota", "config", "node", "gateway", "paused",
)  # fmt: skip
RECYCLED = 75  # the exit code of serving/web/recycle.py
ENOUGH_RESTARTS = 2  # restarts of a container after which waiting is not expected to help
# The kubelet writes two events for each failed pull. Only this one counts: the other only says that the pull failed.
PULL_FAILED = "Failed to pull image"
ENOUGH_PULLS = 3  # failed pulls where waiting may help: the registry was away, or slow
ENOUGH_REFUSALS = 2  # failed pulls where the registry answered that the image is not there, or not for this cluster
REFUSALS = ("not found", "unauthorized", "denied", "forbidden", "authentication required", "manifest unknown", "no basic auth")
PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
MISSING_SECRET = re.compile(r'secret "([^"]+)" not found')  # the kubelet's words
INIT_CURES = {  # of containers that pod.yaml adds, where the cure is another one
    MEMORY: "raise its memory in pod.yaml",
    PROBE: "its last log lines say how far it got; a sidecar's startupProbe may take longer with a higher failureThreshold",
}
LIVENESS = "Liveness probe"
HUNG = "a batch or a request ran longer than stuck_after_second; `monopod logs --previous` shows its last lines"
CURES = {
    IMAGE: "check its name and tag, that it was pushed, and that the cluster may pull it (pull_secrets in regions.yaml)",
    CRASH: "its last log lines say why; run the image locally: the same lines come",
    MEMORY: "raise memory in value.py, or lower max_batch_size, ins_num_per_gpu or queue_limit",
    PROBE: "raise init_delay_second in value.py if the model needs longer to load; its last log lines say how far it got",
    UNSCHEDULABLE: "free or add nodes, or ask for less in value.py",
    QUOTA: "ask for less in value.py, or have the quota raised; a roll-out needs room for one pod more",
    CONFIG: "the message names what is missing or not allowed in the namespace",
    NODE: "the node has a problem; ask the platform engineer to look at it",
    GATEWAY: "look at the gateway, its listeners and the route's status, and whether the image is this service's",
    PAUSED: "somebody did that by hand",
}


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong. pod, container: their names, "" where there is none yet. hopeless: waiting does not help.

    cure: "" for the usual one of its kind.
    """

    kind: str
    pod: str
    words: str
    hopeless: bool = False
    container: str = ""
    cure: str = ""

    def __str__(self) -> str:
        return f"pod {self.pod}: {self.told}" if self.pod else self.told

    @property
    def told(self) -> str:
        """What is wrong, with its cure."""
        return f"{self.words}; {self.cure or CURES[self.kind]}"


def diagnose(pods: Sequence[Item], events: Sequence[Item], sets: Sequence[Item], *, late: bool = False) -> list[Diagnosis]:
    """Return what is wrong with a release, from its pods, the events about them, and its ReplicaSets.

    late: whether its timeout is over. A probe that has not passed yet is a diagnosis only then.
    """
    found = [each for pod in pods for each in _of_pod(pod, [e for e in events if _is_about(e, pod)], late)]
    found += [_no_pod(each) for each in sets if _failure(each)]
    return list({(each.kind, each.words): each for each in found}.values())


def create_secret(namespace: str, name: str) -> str:
    """Return the words after `kubectl` that create a Secret for env_secret, whose keys become environment variables."""
    return f"create secret generic {name} --namespace {namespace} --from-literal=KEY=VALUE"


def event_lines(events: Iterable[Item], most: int = 10) -> tuple[str, ...]:
    """Return the last events as lines for a person, the newest last."""
    found: dict[str, int] = {}
    for event in sorted(events, key=_last_seen):
        line = f"{event.get('reason', '')}: {shortened(event.get('message') or '')}"
        found[line] = found.pop(line, 0) + (event.get("count") or 1)
    return tuple(f"{line} ({count} times)" if count > 1 else line for line, count in [*found.items()][-most:])


def _of_pod(pod: Item, events: Sequence[Item], late: bool) -> Iterator[Diagnosis]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False" and scheduled.get("reason") in ("Unschedulable", "SchedulerError"):
        message = scheduled.get("message", "")
        if "persistentvolumeclaim" in message.lower():
            yield Diagnosis(CONFIG, name, f"a claim of its pod.yaml or its data_claim cannot be used: {shortened(message)}")
        else:
            yield Diagnosis(UNSCHEDULABLE, name, f"no node takes it: {scheduling(message)}")
    if any(event.get("reason") == "NodeNotReady" for event in events):
        yield Diagnosis(NODE, name, f"its node {pod.get('spec', {}).get('nodeName', '')} is not ready")
    if status.get("reason") in ("Evicted", "NodeLost", "NodeShutdown", "Terminated"):
        yield Diagnosis(NODE, name, f"{status['reason']}: {shortened(status.get('message', ''))}")
    inits = {each["name"]: each for each in pod.get("spec", {}).get("initContainers") or ()}
    for container in container_statuses(pod):
        own = [each for each in events if _is_of(each, container.get("name", ""))]
        for found in _of_container(pod["metadata"].get("namespace", ""), name, container, own, late):
            yield _of_init_container(found, inits[found.container]) if found.container in inits else found


def _of_init_container(found: Diagnosis, container: Item) -> Diagnosis:
    """Return the diagnosis of an init container or a sidecar with its name, and the cure for what pod.yaml adds."""
    is_sidecar = container.get("restartPolicy") == "Always"
    is_late = found.kind == PROBE and not is_sidecar  # it has no probe
    words = "it has not ended, and the model waits for it" if is_late else found.words
    who = f"{'sidecar' if is_sidecar else 'init container'} {found.container}"
    return replace(found, words=f"{who}: {words}", cure=INIT_CURES.get(found.kind, ""))


def _is_of(event: Item, container: str) -> bool:
    """Return whether an event may be about a container. One about the pod as a whole names none."""
    field = event.get("involvedObject", {}).get("fieldPath") or ""
    return "{" not in field or field.endswith(f"{{{container}}}")


def _of_container(namespace: str, pod: str, container: Item, events: Sequence[Item], late: bool) -> Iterator[Diagnosis]:
    restarts, name = container.get("restartCount", 0), container.get("name", "")
    waiting = container.get("state", {}).get("waiting", {})
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    reason, enough = waiting.get("reason", ""), restarts >= ENOUGH_RESTARTS
    probe = _failed_probe(events, ended.get("startedAt", ""))
    if ended.get("exitCode") == RECYCLED:
        ended = {}  # the process drained for its memory: the alert Leaking tells it
    killed = ended.get("exitCode") == 137 and restarts and not probe  # most likely by the node's OOM killer
    if reason in PULL_REASONS:
        said = _pull_error(waiting, events)
        yield Diagnosis(
            IMAGE, pod, f"its image cannot be pulled: {said}", reason == "InvalidImageName" or _refused(events), name
        )
    elif reason in CONFIG_REASONS:
        said = waiting.get("message", reason)
        words = f"its container cannot be created: {shortened(said)}"
        if missing := MISSING_SECRET.search(said):
            words += f": kubectl {create_secret(namespace, missing[1])}"
        yield Diagnosis(CONFIG, pod, words, enough or not ended, name)
    elif ended.get("reason") == "OOMKilled" or killed:
        yield Diagnosis(MEMORY, pod, f"it was killed for its memory, {_times(restarts)}", restarts > 0, name)
    elif probe and restarts:
        words = (
            f"its probe does not pass and it was started again, {_times(restarts)}: {_unhealthy(events, probe) or 'no answer'}"
        )
        yield Diagnosis(PROBE, pod, words, enough, name, HUNG if probe == LIVENESS else "")
    elif ended and (ended.get("exitCode") or reason == "CrashLoopBackOff"):
        yield Diagnosis(CRASH, pod, f"it ended with exit code {ended.get('exitCode')}, {_times(restarts)}", enough, name)
    elif late and "running" in container.get("state", {}) and not container.get("ready"):
        probe = _unhealthy(events) or "it is not ready yet"
        yield Diagnosis(PROBE, pod, f"its probe has not passed: {probe}", False, name)


def scheduling(message: str) -> str:
    """Return the scheduler's message in words: how many nodes lack which resource."""
    counts = re.findall(r"(\d+) (Insufficient [\w./-]*\w|node\(s\) [^,.]+|Too many pods)", message)
    if not counts:
        return shortened(message)
    parts = (f"on {number} {'node' if number == '1' else 'nodes'} {_lacks(what)}" for number, what in counts)
    return ", ".join(parts)


def _lacks(what: str) -> str:
    words = {"Insufficient memory": "too little memory is free", "Insufficient cpu": "too few cores are free"}
    words["Too many pods"] = "there is no room for another pod"
    resource = what.removeprefix("Insufficient ")
    if what in words or resource == what:
        return words.get(what, what.replace("node(s) ", ""))
    if resource.endswith("/gpu"):
        return f"no whole GPU ({resource}) is free"
    return f"too little {'GPU memory (' + resource + ')' if 'gpu' in resource else resource} is free"


def _pull_error(waiting: Item, events: Sequence[Item]) -> str:
    told = [e["message"] for e in events if e.get("reason") == "Failed" and "pull" in e.get("message", "").lower()]
    longest = " ".join(max([*told, waiting.get("message", "")], key=len, default="").split())
    # The runtime wraps the registry's own words, so these come last.
    return (longest if len(longest) <= 200 else f"...{longest[-200:]}") or waiting.get("reason", "")


def _refused(events: Sequence[Item]) -> bool:
    attempts = [e for e in events if e.get("reason") == "Failed" and e.get("message", "").startswith(PULL_FAILED)]
    final = [e for e in attempts if any(words in e["message"].lower() for words in REFUSALS)]
    return _count(attempts) >= ENOUGH_PULLS or _count(final) >= ENOUGH_REFUSALS


def _count(events: Iterable[Item]) -> int:
    """Return how often events came. An event that comes again only raises its count."""
    return sum((e.get("series") or e).get("count") or 1 for e in events)


def _failed_probe(events: Sequence[Item], since: str) -> str:
    """Return the first words of the probe for which the kubelet ended the container's last process; "" where no probe did.

    since: when that process began, as Kubernetes writes times. Earlier events are of the processes before it.
    """
    kills = [e.get("message", "") for e in events if e.get("reason") == "Killing" and _last_seen(e) >= since]
    named = [match[1] for message in kills if (match := re.search(r"failed (startup|liveness) probe", message))]
    return f"{named[-1].capitalize()} probe" if named else ""


def _unhealthy(events: Sequence[Item], begins: str = "") -> str:
    """Return the kubelet's last message about a probe that failed. begins: the words with which it begins, "" for any probe."""
    unhealthy = [e for e in sorted(events, key=_last_seen) if e.get("reason") == "Unhealthy"]
    told = [e["message"] for e in unhealthy if e["message"].startswith(begins)]
    return shortened(told[-1]) if told else ""


def _last_seen(event: Item) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event.get("metadata", {}).get("creationTimestamp") or ""


def _failure(replica_set: Item) -> Item:
    failure = conditions(replica_set).get("ReplicaFailure", {})
    return failure if failure.get("status") == "True" else {}


def _no_pod(replica_set: Item) -> Diagnosis:
    message = _failure(replica_set).get("message", "")
    if "exceeded quota" in message:
        asked = re.search(r"requested: (.*?), used: (.*?), limited: (.*)$", message)
        words = f"asked for {asked[1]}, in use {asked[2]}, allowed {asked[3]}" if asked else shortened(message)
        return Diagnosis(QUOTA, "", f"the namespace's quota is spent: {words}")
    return Diagnosis(CONFIG, "", f"no pod can be created: {shortened(message)}", hopeless="PodSecurity" in message)


def _is_about(event: Item, pod: Item) -> bool:
    about = event.get("involvedObject", {})
    return bool(about.get("uid") == pod["metadata"].get("uid") and about.get("kind") == "Pod")


def _times(restarts: int) -> str:
    return "once" if restarts <= 1 else f"{restarts} times"
