"""The pods of a Deployment as Kubernetes knows them: for how long they are ready, which wait, and which were lost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conf.base.console import shortened
from conf.base.object_references import Item, conditions, container_statuses, is_staying
from conf.remote.cluster import Cluster

LOST_SECONDS = 3600.0  # for which a lost pod is told, as a restart is
WAITING_SECONDS = 60.0  # after which a pod is told that has a node, and no container yet
PREEMPTED = "PreemptionByScheduler"
HOW = {"Evicted": "was evicted", "Preempting": "was preempted", PREEMPTED: "was preempted"}


@dataclass(frozen=True)
class PodStates:
    """The pods of a Deployment. ready: the name and version of each, and the seconds for which it has been ready.

    lost: pods of the last hour, in words, the latest first. waiting: the name of each, and in words for what.
    names: of all pods that there are.
    """

    ready: tuple[tuple[str, str, float], ...] = ()
    lost: tuple[str, ...] = ()
    waiting: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()

    @property
    def lost_words(self) -> str:
        """The lost pods in one line, "" for none."""
        more = f", and {len(self.lost) - 1} more in the last hour" if len(self.lost) > 1 else ""
        return f"{self.lost[0]}{more}" if self.lost else ""


def states_of(cluster: Cluster, namespace: str, pods: Sequence[Item]) -> PodStates:
    """Return the states of pods. Events are asked for where a pod has ended. Raises ClusterError."""
    evictions = cluster.find("Event", namespace, fields="reason=Evicted") if any(map(has_ended, pods)) else []
    return pod_states(pods, evictions, datetime.now(UTC))


def pod_states(pods: Sequence[Item], evictions: Sequence[Item], now: datetime) -> PodStates:
    """Return the states of pods. evictions: such events of their namespace. now: with its zone."""
    why = {each["involvedObject"].get("name", ""): each.get("message") or "" for each in evictions}
    lost = sorted((each for pod in pods for each in _lost(pod, why)), reverse=True)
    staying = [(str(each["metadata"]["name"]), each) for each in pods if is_staying(each)]
    return PodStates(
        tuple((name, *found) for name, each in staying for found in _ready(each, now)),
        tuple(words for at, words in lost if _seconds(at, now) <= LOST_SECONDS),
        tuple((name, words) for name, each in staying for words in _waiting(each, now)),
        tuple(str(each["metadata"]["name"]) for each in pods),
    )


def _ready(pod: Item, now: datetime) -> Iterator[tuple[str, float]]:
    condition = conditions(pod).get("Ready", {})
    if condition.get("status") == "True":
        yield pod["metadata"]["labels"].get("version", ""), _seconds(condition["lastTransitionTime"], now)


def _waiting(pod: Item, now: datetime) -> Iterator[str]:
    scheduled, seconds = conditions(pod).get("PodScheduled", {}), _seconds(pod["metadata"]["creationTimestamp"], now)
    has_no_node = scheduled.get("status") == "False"
    if pod["status"].get("phase") == "Pending" and (has_no_node or seconds > WAITING_SECONDS):
        reasons = list(_reasons(pod))
        why = shortened(scheduled.get("message", "")) if has_no_node else ", ".join(reasons) or "it has no container yet"
        yield f"it has been pending for {seconds:.0f} s: {why}"


def _reasons(pod: Item) -> Iterator[str]:
    """Yield why the containers of a pod wait. An init container or a sidecar that fails is named: the others wait for it."""
    own = [each["name"] for each in pod.get("spec", {}).get("initContainers") or ()]
    for each in container_statuses(pod):
        waiting = (each.get("state") or {}).get("waiting")
        reason = waiting.get("reason", "") if waiting else ""
        if waiting and each.get("name") not in own:
            yield reason
        elif reason not in ("", "PodInitializing"):
            yield f"{reason} of {each['name']}"


def has_ended(pod: Item) -> bool:
    """Return whether a pod has ended. A Deployment's pod never does so by itself, so it was lost, even if it ended with 0."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _lost(pod: Item, evictions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the time and the words of a pod that was lost. Of one that ended with 0, the event alone tells the eviction."""
    status, known, name = pod["status"], conditions(pod), pod["metadata"]["name"]
    reason = status.get("reason") or known.get("DisruptionTarget", {}).get("reason", "")
    is_deleted = not is_staying(pod)  # as pods of an older release are, which then end
    if (has_ended(pod) and not is_deleted) or reason == PREEMPTED:
        reason = "Evicted" if name in evictions else reason
        times = [each.get("lastTransitionTime") or "" for each in known.values()]
        why = shortened(status.get("message") or evictions.get(name) or reason or "its containers ended")
        yield max(times, default=pod["metadata"]["creationTimestamp"]), f"{name} {HOW.get(reason, 'failed')}: {why}"


def _seconds(at: str, now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(at)).total_seconds())
