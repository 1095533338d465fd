"""Whether a release is there: by its Deployment, its pods, and the answers of the region's way in.

Knows what to ask and how long. Does not change anything.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conf.base.image_names import digest_of, with_digest
from conf.base.object_references import Item, Ref
from conf.remote.cluster import Cluster, Unreachable, kubectl
from conf.rollout.diagnosis import GATEWAY, PAUSED, Diagnosis, diagnose, event_lines

PERIOD = 0.5  # seconds between two looks
LOG_LINES = 15
DIAGNOSED_PODS = 5  # pods in trouble whose events are asked for
IN_A_ROW = 20  # answers of the new version, after which the way in leads to it: beside an old pod, 1 in 2^20 goes wrong
GATEWAY_SECONDS = 60

Content = tuple[str, str]  # a version and its image's digest, "" where that is not known


@dataclass(frozen=True)
class DeploymentState:
    """The state of a Deployment. ready: its newest pods that are. pods, events: of those that are not yet."""

    wanted: int
    ready: int
    done: bool
    diagnoses: tuple[Diagnosis, ...] = ()
    pods: tuple[Item, ...] = ()
    events: tuple[Item, ...] = ()

    def __str__(self) -> str:
        return f"{self.ready} of {self.wanted} ready"


@dataclass(frozen=True)
class RunningPods:
    """What a service's pods are. versions: how many ready ones of each; restarts: of all their containers."""

    versions: Mapping[str, int]
    restarts: int

    def __str__(self) -> str:
        counts = (f"version {name} in {count} {'pod' if count == 1 else 'pods'}" for name, count in self.versions.items())
        return " and ".join(counts) or "no ready pod"


@dataclass
class ProgressDeadline:
    """How long is waited for one more pod. seconds: it counts anew whenever more new pods are ready than ever before.

    Pods are replaced one after another, so the time of all grows with their number; what is stuck is stuck at one of them.
    """

    seconds: float
    since: float
    most: int = 0

    def is_over(self, at: float) -> bool:
        return at > self.since + self.seconds

    def sees(self, ready: int, at: float) -> bool:
        """Note how many new pods are ready, and return whether there were never as many."""
        more = ready > self.most
        if more:
            self.most, self.since = ready, at
        return more


class NotReady(Exception):
    """A release did not become ready. diagnosis: why, where that is known.

    events: the last about its pods; log: the last lines of the container that is in trouble.
    """

    def __init__(self, words: str, diagnosis: Diagnosis | None = None, events: Sequence[str] = (), log: str = ""):
        super().__init__(words)
        self.diagnosis, self.events, self.log = diagnosis, tuple(events), log


def wait_ready(cluster: Cluster, deployment: Ref, patience: float, say: Callable[[str], None]) -> DeploymentState:
    """Wait until all pods of a Deployment are its newest and ready, at most patience seconds for one more of them.

    Each trouble is said once. Raises NotReady in time, and early where waiting would not mend it; Unreachable after patience.
    """
    waiting, told = ProgressDeadline(patience, time.monotonic()), set[str]()
    while True:
        late = waiting.is_over(time.monotonic())
        try:
            seen = deployment_state(cluster, deployment, late=late)
        except Unreachable as error:
            if late:
                raise
            _once(str(error), told, say)
            time.sleep(PERIOD)
            continue
        _once(str(seen), told, say)
        if seen.done:
            return seen
        if waiting.sees(seen.ready, time.monotonic()) and late:
            continue  # it came at the last moment, so the others are not late
        for each in seen.diagnoses:
            _once(str(each), told, say)
        hopeless = next((each for each in seen.diagnoses if each.hopeless), None)
        if hopeless or late:
            raise not_ready_error(cluster, seen, hopeless or next(iter(seen.diagnoses), None), patience)
        time.sleep(PERIOD)


def not_ready_error(cluster: Cluster, seen: DeploymentState, cause: Diagnosis | None, patience: float) -> NotReady:
    """Return why a Deployment is not ready, with the events and log lines that show it."""
    words = str(cause) if cause else f"only {seen}, and no more in {patience:.0f} s; raise init_delay_second if it needs longer"
    return NotReady(words, cause, event_lines(seen.events), last_lines(cluster, cause, seen.pods))


def deployment_state(cluster: Cluster, deployment: Ref, *, late: bool = False) -> DeploymentState:
    """Return the state of a Deployment as it is now. late: whether its time is over."""
    item = cluster.get(deployment)
    if item is None:
        return DeploymentState(0, 0, False)
    wanted, status = item["spec"].get("replicas", 1), item.get("status", {})
    updated = status.get("updatedReplicas", 0)
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        return DeploymentState(wanted, 0, False)  # its ReplicaSets are still those of the release before
    if updated == wanted == status.get("replicas", 0) == status.get("availableReplicas", 0):
        return DeploymentState(wanted, wanted, True)
    selector = ",".join(f"{key}={value}" for key, value in item["spec"]["selector"]["matchLabels"].items())
    sets = [each for each in cluster.find("ReplicaSet", deployment.namespace, selector) if _owned(each, item)]
    newest = sorted(sets, key=_revision)[-1:]
    pods = [
        each
        for each in cluster.find("Pod", deployment.namespace, selector)
        if newest and _owned(each, newest[0]) and not is_ready(each) and "deletionTimestamp" not in each["metadata"]
    ]
    events = [e for each in [*pods[:DIAGNOSED_PODS], *newest] for e in _events(cluster, each)]
    found = diagnose(pods, events, newest, late=late)
    if item["spec"].get("paused"):
        found.insert(0, Diagnosis(PAUSED, "", f"{deployment} is paused: {resume(cluster.context, deployment)}"))
    return DeploymentState(wanted, max(0, updated - len(pods)), False, tuple(found), tuple(pods), tuple(events))


def resume(context: str, deployment: Ref) -> str:
    """Return the command that goes on with a Deployment that somebody paused."""
    return kubectl(context, f"rollout resume -n {deployment.namespace} deployment/{deployment.name}")


def running_pods(cluster: Cluster, deployment: Ref) -> RunningPods:
    """Return what the pods of a service are now, whatever a history says."""
    pods = cluster.find("Pod", deployment.namespace, f"app.kubernetes.io/name={deployment.name}")
    staying = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
    containers = [status for each in staying for status in each.get("status", {}).get("containerStatuses", [])]
    return RunningPods(
        count_by_version([each for each in staying if is_ready(each)]), sum(status["restartCount"] for status in containers)
    )


def count_by_version(pods: Sequence[Item]) -> Mapping[str, int]:
    """Return how many pods there are of each version; of one whose pods have several images, of each of these."""
    found = Counter(map(_content, pods))
    several = {version for version, count in Counter(version for version, _ in found).items() if count > 1}
    return {
        with_digest(version, digest if version in several else ""): count for (version, digest), count in sorted(found.items())
    }


def _content(pod: Item) -> Content:
    return pod["metadata"]["labels"].get("version", "?"), digest_of(pod["spec"]["containers"][0]["image"])


def last_lines(cluster: Cluster, diagnosis: Diagnosis | None, pods: Sequence[Item]) -> str:
    """Return the last lines of the container that is in trouble, as a person reads them."""
    pod = next((each for each in pods if diagnosis and each["metadata"]["name"] == diagnosis.pod), None)
    if diagnosis is None or not diagnosis.container or pod is None:
        return ""
    where = Ref("Pod", pod["metadata"]["namespace"], diagnosis.pod)
    text = cluster.logs(where, diagnosis.container, LOG_LINES, previous=True)
    text = text or cluster.logs(where, diagnosis.container, LOG_LINES)
    return "\n".join(readable(line) for line in text.splitlines())


def readable(line: str) -> str:
    """Return a line of a pod's log for a person: of JSON its level and message."""
    try:
        told = json.loads(line)
        return f"{told['level']}: {told['message']}"
    except (ValueError, KeyError, TypeError):
        return line


def wait_for_gateway(url: str, host: str, content: Content, say: Callable[[str], None]) -> None:
    """Wait until a region's way in answers with a release's content, several times in a row. Raises NotReady.

    url: of the service, at an address where the gateway can be asked; host: what the request says it asks, "*" for nothing.
    """
    end, good = time.monotonic() + GATEWAY_SECONDS, 0
    while good < IN_A_ROW:
        heard = served_content(url, host)
        good = good + 1 if same_content(heard, content) else 0
        if time.monotonic() > end:
            words = f"the pods are ready, but {url} answers {with_digest(*heard)} and not version {with_digest(*content)}"
            found = Diagnosis(GATEWAY, "", words)
            raise NotReady(str(found), found)
        time.sleep(0.02 if good else 0.2)
    say(f"{url} answers with version {with_digest(*content)}")


def gateway_serves(url: str, host: str, content: Content) -> bool:
    """Return whether a region's way in leads to a release's content now."""
    return all(same_content(served_content(url, host), content) for _ in range(IN_A_ROW))


def same_content(heard: Content, wanted: Content) -> bool:
    """Whether what answers is what is wanted. Where one of them names no digest, its version is all that tells.

    Releases by tag have none, and neither say images that were built before the runtime knew it.
    """
    return heard[0] == wanted[0] and (heard[1] == wanted[1] or not heard[1] or not wanted[1])


def served_content(url: str, host: str) -> Content:
    """Return the version and digest that a service says it is, or what went wrong in place of the version."""
    request = urllib.request.Request(f"{url}/v2", headers={} if host == "*" else {"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            told = json.load(answer)
            return str(told["version"]), str(told.get("digest", ""))
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}", ""
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        return str(getattr(error, "reason", error)), ""


def _once(words: str, told: set[str], say: Callable[[str], None]) -> None:
    if words not in told:
        told.add(words)
        say(words)


def _events(cluster: Cluster, pod: Item) -> list[Item]:
    metadata = pod["metadata"]
    return cluster.find("Event", metadata["namespace"], fields=f"involvedObject.uid={metadata['uid']}")


def _owned(item: Item, owner: Item) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any(each["uid"] == owner["metadata"]["uid"] for each in owners)


def _revision(replica_set: Item) -> int:
    return int(replica_set["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", 0))


def is_ready(pod: Item) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
