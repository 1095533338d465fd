"""Readiness of a release: of its Deployment, of its pods, and of the answers at the region's gateway."""

import json
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from conf.base.image_names import digest_of, version_with_digest
from conf.base.object_references import DEPLOYMENT_LABEL, Item, Ref, container_statuses, is_ready, is_staying
from conf.base.quantities import counted
from conf.observe.pod_logs import Line, common_errors
from conf.observe.pod_states import PodStates, states_of
from conf.remote import safe_http
from conf.remote.cluster import Cluster, ClusterError, Unreachable, kubectl
from conf.remote.safe_http import NoAnswer
from conf.rollout.diagnosis import GATEWAY, PAUSED, QUOTA, Diagnosis, diagnose, event_lines
from conf.rollout.targets import GatewayAddress, Say

POLL_SECONDS = 0.5  # between two looks at the cluster
LOG_LINES = 15
ERROR_LINES = 2000  # of a pod's log, in which errors are counted
DIAGNOSED_PODS = 5  # pods whose events are asked for, of all that are not ready
IN_A_ROW = 20  # right answers at the gateway that prove a release. Beside one old pod, chance gives them once in 2^20.
GATEWAY_SECONDS = 60
MAX_CONTENT_BYTES = 100_000
QUOTA_SECONDS = 30  # after which a spent quota ends a wait, once no pod starts, and none can still be ending

Content = tuple[str, str]  # a version and its image's digest, "" where the digest is not known


@dataclass(frozen=True)
class DeploymentState:
    """The state of a Deployment. ready: how many of its newest pods are. pods, events: of those pods that are not.

    drain: seconds in which a pod that was told to end is gone.
    """

    wanted: int
    ready: int
    done: bool
    diagnoses: tuple[Diagnosis, ...] = ()
    pods: tuple[Item, ...] = ()
    events: tuple[Item, ...] = ()
    drain: float = 0.0

    def __str__(self) -> str:
        return f"{self.ready} of {self.wanted} ready"


@dataclass(frozen=True)
class RunningPods:
    """The pods of a service. versions: how many pods of each version are ready. restarts: of all their containers.

    states: those that wait, or were lost in the last hour.
    """

    versions: Mapping[str, int]
    restarts: int
    states: PodStates = PodStates()

    def __str__(self) -> str:
        counts = (f"version {name} in {counted(count, 'pod')}" for name, count in self.versions.items())
        return " and ".join(counts) or "no ready pod"


@dataclass
class ProgressDeadline:
    """The deadline for one more ready pod. seconds: counted again whenever more new pods are ready than ever before.

    Pods are replaced one after another, so the time of all grows with their number. A stuck rollout is stuck at one pod.
    """

    seconds: float
    since: float
    most: int = 0

    def is_over(self, at: float) -> bool:
        return at > self.since + self.seconds

    def note_ready(self, ready: int, at: float) -> bool:
        """Note how many new pods are ready, and return whether there were never as many."""
        more = ready > self.most
        if more:
            self.most, self.since = ready, at
        return more


class NotReady(Exception):
    """A release did not become ready. diagnosis: the cause, where it is known.

    events: the last events of its pods, as lines. log: the last lines of the container that the diagnosis names.
    """

    def __init__(self, words: str, diagnosis: Diagnosis | None = None, events: Sequence[str] = (), log: str = ""):
        super().__init__(words)
        self.diagnosis, self.events, self.log = diagnosis, tuple(events), log


def wait_ready(
    cluster: Cluster, deployment: Ref, timeout: float, say: Say, meanwhile: Callable[[], None] = lambda: None
) -> DeploymentState:
    """Wait until all pods of a Deployment are its newest ones and ready, and return its state.

    timeout: seconds until one more pod is ready. Each diagnosis is said once. meanwhile: called before each look. Raises
    NotReady after the timeout, and at once where waiting does not help; Unreachable after the timeout.
    """
    deadline, told = ProgressDeadline(timeout, time.monotonic()), set[str]()
    while True:
        meanwhile()
        late = deadline.is_over(time.monotonic())
        try:
            state = deployment_state(cluster, deployment, late=late)
        except Unreachable as error:
            if late:
                raise
            _say_once(str(error), told, say)
            time.sleep(POLL_SECONDS)
            continue
        _say_once(str(state), told, say)
        if state.done:
            return state
        if deadline.note_ready(state.ready, time.monotonic()) and late:
            continue  # a pod became ready at the last moment, so the others are not late
        for each in state.diagnoses:
            _say_once(str(each), told, say)
        stuck = not state.pods and time.monotonic() > deadline.since + state.drain + QUOTA_SECONDS
        hopeless = next((each for each in state.diagnoses if each.hopeless or (stuck and each.kind == QUOTA)), None)
        if hopeless or late:
            raise _not_ready(cluster, state, hopeless or next(iter(state.diagnoses), None), timeout)
        time.sleep(POLL_SECONDS)


def _not_ready(cluster: Cluster, state: DeploymentState, cause: Diagnosis | None, timeout: float) -> NotReady:
    words = f"only {state}, and no more in {timeout:.0f} s; raise init_delay_second if it needs longer"
    return NotReady(str(cause or words), cause, event_lines(state.events), _last_log_lines(cluster, cause, state.pods))


def deployment_state(cluster: Cluster, deployment: Ref, *, late: bool = False) -> DeploymentState:
    """Return the state of a Deployment as it is now. late: whether its timeout is over. Raises ClusterError."""
    item = cluster.get(deployment)
    if item is None:
        return DeploymentState(0, 0, False)
    wanted, status = item["spec"].get("replicas", 1), item.get("status", {})
    updated = status.get("updatedReplicas", 0)
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        return DeploymentState(wanted, 0, False)  # its newest ReplicaSet still belongs to the release before
    if updated == wanted == status.get("replicas", 0) == status.get("availableReplicas", 0):
        return DeploymentState(wanted, wanted, True)
    newest, pods = _newest_pods(cluster, item, deployment.namespace)
    about = [f"involvedObject.uid={each['metadata']['uid']}" for each in [*pods[:DIAGNOSED_PODS], *newest]]
    events = [event for fields in about for event in cluster.find("Event", deployment.namespace, fields=fields)]
    found = diagnose(pods, events, newest, late=late)
    if item["spec"].get("paused"):
        found.insert(0, Diagnosis(PAUSED, "", f"{deployment} is paused: {resume_command(cluster.context, deployment)}"))
    drain = item["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
    return DeploymentState(wanted, max(0, updated - len(pods)), False, tuple(found), tuple(pods), tuple(events), drain)


def _newest_pods(cluster: Cluster, deployment: Item, namespace: str) -> tuple[list[Item], list[Item]]:
    """Return the newest ReplicaSet of a Deployment, as a list of one or none, and its pods that stay and are not ready."""
    selector = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    sets = [each for each in cluster.find("ReplicaSet", namespace, selector) if _is_owned(each, deployment)]
    revision = "deployment.kubernetes.io/revision"
    newest = sorted(sets, key=lambda each: int(each["metadata"].get("annotations", {}).get(revision, 0)))[-1:]
    pods = [
        each
        for each in cluster.find("Pod", namespace, selector)
        if newest and _is_owned(each, newest[0]) and not is_ready(each) and is_staying(each)
    ]
    return newest, pods


def resume_command(context: str, deployment: Ref) -> str:
    """Return the command that continues a Deployment that somebody paused."""
    return kubectl(context, f"rollout resume -n {deployment.namespace} deployment/{deployment.name}")


def running_pods(cluster: Cluster, namespace: str, names: Sequence[str]) -> RunningPods:
    """Return the pods of a service as they are now, whatever its history says. Raises ClusterError.

    names: of its Deployments.
    """
    pods = cluster.find("Pod", namespace, f"{DEPLOYMENT_LABEL} in ({','.join(names)})")
    staying = [each for each in pods if is_staying(each)]
    containers = [status for each in staying for status in container_statuses(each)]
    versions = count_by_version([each for each in staying if is_ready(each)])
    restarts = sum(status["restartCount"] for status in containers)
    return RunningPods(versions, restarts, states_of(cluster, namespace, pods))


def count_by_version(pods: Sequence[Item]) -> Mapping[str, int]:
    """Return how many pods there are of each version. A version whose pods have several images is counted by image."""
    images = [(each["metadata"]["labels"].get("version", "?"), each["spec"]["containers"][0]["image"]) for each in pods]
    found = Counter((version, digest_of(image)) for version, image in images)
    several = {version for version, count in Counter(version for version, _ in found).items() if count > 1}
    return {
        version_with_digest(version, digest if version in several else ""): count
        for (version, digest), count in sorted(found.items())
    }


def _last_log_lines(cluster: Cluster, cause: Diagnosis | None, pods: Sequence[Item]) -> str:
    """Return the last log lines of the container that a diagnosis names; "" where it names none."""
    pod = next((each for each in pods if cause and each["metadata"]["name"] == cause.pod), None)
    if cause is None or not cause.container or pod is None:
        return ""
    where = Ref("Pod", pod["metadata"]["namespace"], cause.pod)
    text = cluster.logs(where, cause.container, LOG_LINES, previous=True)
    return _readable(text or cluster.logs(where, cause.container, LOG_LINES))


def dead_container_lines(cluster: Cluster, namespace: str, name: str) -> str:
    """Return the last log lines of a Deployment's container that was restarted; "" for none, or where nobody can tell."""
    with suppress(ClusterError):
        for pod in cluster.find("Pod", namespace, f"{DEPLOYMENT_LABEL}={name}"):
            for status in container_statuses(pod):
                if status["restartCount"]:
                    where = Ref("Pod", namespace, pod["metadata"]["name"])
                    return _readable(cluster.logs(where, status["name"], LOG_LINES, previous=True))
    return ""


def logged_errors(cluster: Cluster, namespace: str, name: str, container: str) -> str:
    """Return the commonest errors in the last log lines of a Deployment's pods; "" for none, or where nobody can tell."""
    with suppress(ClusterError):
        pods = cluster.find("Pod", namespace, f"{DEPLOYMENT_LABEL}={name}")[:DIAGNOSED_PODS]
        texts = (cluster.logs(Ref("Pod", namespace, pod["metadata"]["name"]), container, ERROR_LINES) for pod in pods)
        found = common_errors(Line("", "", "", line) for text in texts for line in text.splitlines())
        return "\n".join(f"{counted(count, 'time')}: {words}" for words, count in found)
    return ""


def _readable(text: str) -> str:
    """Return log lines for a person: the level and message of a JSON line, any other line as it is."""
    read = ((line, Line("", "", "", line).fields) for line in text.splitlines())
    return "\n".join(
        f"{fields['level']}: {fields['message']}" if fields.keys() >= {"level", "message"} else line for line, fields in read
    )


def wait_for_gateway(gateway: GatewayAddress, content: Content, say: Say) -> None:
    """Wait until a region's gateway answers with a release's content, IN_A_ROW times. Raises NotReady after GATEWAY_SECONDS."""
    end, right = time.monotonic() + GATEWAY_SECONDS, 0
    while right < IN_A_ROW:
        answer = served_content(gateway)
        right = right + 1 if is_same_content(answer, content) else 0
        if time.monotonic() > end:
            found, expected = version_with_digest(*answer), version_with_digest(*content)
            words = f"the pods are ready, but {gateway.url} answers {found} and not version {expected}"
            cause = Diagnosis(GATEWAY, "", words)
            raise NotReady(str(cause), cause)
        time.sleep(0.02 if right else 0.2)
    say(f"{gateway.url} answers with version {version_with_digest(*content)}")


def gateway_serves(gateway: GatewayAddress, content: Content) -> bool:
    """Return whether a region's gateway answers with a release's content now, IN_A_ROW times."""
    return all(is_same_content(served_content(gateway), content) for _ in range(IN_A_ROW))


def is_same_content(answer: Content, wanted: Content) -> bool:
    """Return whether two contents are the same. Where one of them has no digest, their versions decide.

    A release by tag has no digest, and neither has the answer of an image that was built before the runtime knew its digest.
    """
    return answer[0] == wanted[0] and (answer[1] == wanted[1] or not answer[1] or not wanted[1])


def served_content(gateway: GatewayAddress) -> Content:
    """Return the version and digest that a service answers, or the failure in place of the version."""
    headers = {} if gateway.host == "*" else {"Host": gateway.host}
    request = urllib.request.Request(f"{gateway.url}/v2", headers=headers)
    try:
        answer = safe_http.ask(request, {urllib.parse.urlsplit(gateway.url).netloc}, MAX_CONTENT_BYTES, seconds=3)
        if answer.status != 200:
            return f"status {answer.status}", ""
        found = json.loads(answer.body)
        return str(found["version"]), str(found.get("digest", ""))
    except NoAnswer as error:
        return str(error.reason or error.words), ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error), ""


def _say_once(words: str, told: set[str], say: Say) -> None:
    if words not in told:
        told.add(words)
        say(words)


def _is_owned(item: Item, owner: Item) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any(each["uid"] == owner["metadata"]["uid"] for each in owners)
