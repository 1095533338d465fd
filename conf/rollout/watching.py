"""Whether a release is there: by its Deployment, its pods, and the answers of the region's way in.

Knows what to ask and how long. Does not change anything.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from conf.cluster import Cluster, Unreachable
from conf.refs import Item, Ref
from conf.rollout.trouble import CRASH, MEMORY, PROBE, Trouble, troubles

PERIOD = 0.5  # seconds between two looks
LOG_LINES = 15
LOOKED_AT = 5  # pods in trouble whose events are asked for
IN_A_ROW = 5  # answers of the new version, after which the way in leads to it
WAY_IN_SECONDS = 60


@dataclass(frozen=True)
class Seen:
    """The state of a Deployment's newest pods."""

    wanted: int
    ready: int
    done: bool
    troubles: tuple[Trouble, ...] = ()
    pods: tuple[Item, ...] = ()

    def __str__(self) -> str:
        return f"{self.ready} of {self.wanted} ready"


class NotReady(Exception):
    """A release did not become ready. trouble: why, where that is known; log: the last lines of one of its containers."""

    def __init__(self, words: str, trouble: Trouble | None = None, log: str = ""):
        super().__init__(words)
        self.trouble, self.log = trouble, log


def wait_ready(cluster: Cluster, deployment: Ref, generation: int, patience: float, say: Callable[[str], None]) -> Seen:
    """Wait until all pods of a Deployment's generation are ready and the older ones are gone, at most patience seconds.

    Each trouble is said once. Raises NotReady in time, and early where waiting would not mend it; Unreachable after patience.
    """
    end, told, last = time.monotonic() + patience, set[str](), ""
    while True:
        try:
            seen = look(cluster, deployment, generation)
        except Unreachable:
            if time.monotonic() > end:
                raise
            time.sleep(PERIOD)
            continue
        if str(seen) != last:
            last = str(seen)
            say(last)
        if seen.done:
            return seen
        for trouble in seen.troubles:
            if trouble.words not in told:
                told.add(trouble.words)
                say(str(trouble))
        hopeless = next((each for each in seen.troubles if each.hopeless), None)
        if hopeless or time.monotonic() > end:
            cause = hopeless or next(iter(seen.troubles), None)
            words = f"only {seen} after {patience:.0f} s; raise init_delay_second if it needs longer"
            words = str(cause) if cause else words
            raise NotReady(words, cause, last_lines(cluster, cause, seen.pods))
        time.sleep(PERIOD)


def look(cluster: Cluster, deployment: Ref, generation: int = 0) -> Seen:
    """Return the state of a Deployment as it is now."""
    item = cluster.get(deployment)
    if item is None:
        return Seen(0, 0, False)
    wanted, status = item["spec"].get("replicas", 1), item.get("status", {})
    updated, ready = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    known = status.get("observedGeneration", 0) >= max(generation, item["metadata"]["generation"])
    done = known and updated == wanted == status.get("replicas", 0) == ready
    if done:
        return Seen(wanted, ready, True)
    selector = ",".join(f"{key}={value}" for key, value in item["spec"]["selector"]["matchLabels"].items())
    sets = [each for each in cluster.find("ReplicaSet", deployment.namespace, selector) if _owned(each, item)]
    newest = sorted(sets, key=_revision)[-1:]
    pods = [
        each
        for each in cluster.find("Pod", deployment.namespace, selector)
        if newest and _owned(each, newest[0]) and not _is_ready(each)
    ]
    events = [e for each in pods[:LOOKED_AT] for e in _events(cluster, each)]
    return Seen(wanted, max(0, updated - len(pods)), False, tuple(troubles(pods, events, newest)), tuple(pods))


def last_lines(cluster: Cluster, trouble: Trouble | None, pods: tuple[Item, ...]) -> str:
    """Return the last lines of the container that is in trouble, as a person reads them."""
    if trouble is None or trouble.kind not in (CRASH, MEMORY, PROBE):
        return ""
    for pod in pods:
        if pod["metadata"]["name"] == trouble.pod:
            ref = Ref("Pod", pod["metadata"]["namespace"], trouble.pod)
            container = pod["spec"]["containers"][0]["name"]
            text = cluster.logs(ref, container, LOG_LINES, previous=True) or cluster.logs(ref, container, LOG_LINES)
            return "\n".join(readable(line) for line in text.splitlines())
    return ""


def readable(line: str) -> str:
    """Return a line of a pod's log for a person: of JSON its level and message."""
    try:
        told = json.loads(line)
        return f"{told['level']}: {told['message']}"
    except (ValueError, KeyError, TypeError):
        return line


def wait_way_in(url: str, host: str, version: str, say: Callable[[str], None]) -> None:
    """Wait until a region's way in answers with a version, several times in a row. Raises NotReady.

    url: of the service, at an address where the gateway can be asked; host: what the request says it asks, "*" for nothing.
    """
    end, good, heard = time.monotonic() + WAY_IN_SECONDS, 0, ""
    while good < IN_A_ROW:
        heard = version_at(url, host)
        good = good + 1 if heard == version else 0
        if time.monotonic() > end:
            raise NotReady(
                f"the pods are ready, but {url} answers {heard!r} and not version {version}; look at the gateway, "
                "its listeners and the route's status"
            )
        time.sleep(0.05 if good else 0.2)
    say(f"{url} answers with version {version}")


def version_at(url: str, host: str) -> str:
    """Return the version that a service says it is, or what went wrong."""
    request = urllib.request.Request(f"{url}/v2", headers={} if host == "*" else {"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return str(json.load(answer)["version"])
    except urllib.error.HTTPError as error:
        with error:
            return f"status {error.code}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(getattr(error, "reason", error))


def _events(cluster: Cluster, pod: Item) -> list[Item]:
    metadata = pod["metadata"]
    return cluster.find("Event", metadata["namespace"], fields=f"involvedObject.uid={metadata['uid']}")


def _owned(item: Item, owner: Item) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any(each["uid"] == owner["metadata"]["uid"] for each in owners)


def _revision(replica_set: Item) -> int:
    return int(replica_set["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", 0))


def _is_ready(pod: Item) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
