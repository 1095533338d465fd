"""What is there before a release: its history, or what is found without one, and what would be in its way.

Knows what to ask. Changes nothing in the cluster.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from conf.base.object_references import APPLIED, MANAGER, Item, Ref, dropped, ref
from conf.remote.cluster import NoRights
from conf.rollout import capacity, field_owners
from conf.rollout import history as histories
from conf.rollout.finalizers import SEE_TO_IT, held_by
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.readiness import PERIOD, deployment_state, gateway_serves, resume
from conf.rollout.targets import Blocked, Target

Say = Callable[[str], None]
DELETION_MARGIN = 30  # seconds from the end of a Deployment's pods to the end of the Deployment
NOTED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
LISTED_KINDS = ("Pod", "ReplicaSet", "Event")  # what a rollout must be allowed to list


def load_history(target: Target, at: str) -> History:
    """Return the history of a target. at: now.

    Without one, what is there of ours becomes its first release: whoever deleted the history did not mean the service.
    Raises UnreadableHistory, ClusterError.
    """
    kept = target.cluster.get(target.history)
    if kept is not None:
        return histories.read(kept)
    deployment = _ours(target, "Deployment")
    if deployment is None:
        return History()
    items = [item for kind in APPLIED if (item := _ours(target, kind))]
    version = deployment["metadata"].get("labels", {}).get("version", "")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    found = Release(1, version, image, at, target.by, GOOD, "found without a history", 0, tuple(map(ref, items)))
    return History(None, (found,), {1: [field_owners.taken_out(item, MANAGER) for item in items]})


def settle_interrupted(target: Target, found: History) -> History:
    """Return a history whose last release, where it was broken off, counts as good if it is all there and serves.

    That is what a release that ended was shown: each object as it is applied, all pods ready, the way in answering with it.
    """
    last = found.last
    items = found.objects.get(last.number) if last and last.state == BEGUN else None
    if not last or not items or not all(_is_as(target, item) for item in items):
        return found
    if not deployment_state(target.cluster, target.deployment).done:
        return found
    if target.gateway and not gateway_serves(target.gateway.url, target.gateway.host, last.content):
        return found
    return found.ended(GOOD, last.inventory)


def serves_already(target: Target, found: History, items: Sequence[Item]) -> bool:
    """Whether objects are those of the last release, which is good, and nothing of it has drifted since: it all serves."""
    last = found.last
    if last is None or last.state != GOOD or found.objects.get(last.number) != list(items):
        return False
    if dropped(last.inventory, tuple(map(ref, items))) or not all(_is_as(target, item, exactly=True) for item in items):
        return False
    if not deployment_state(target.cluster, target.deployment).done:
        return False
    return not target.gateway or gateway_serves(target.gateway.url, target.gateway.host, last.content)


def check_applicable(target: Target, items: Sequence[Item], before: History, say: Say) -> None:
    """Find out, before anything is changed, whether a release can be applied.

    What is on its way out is waited for. Raises Blocked, Refused, NoRights, NoNamespace.
    """
    for kind in LISTED_KINDS:
        target.cluster.find(kind, target.namespace, fields="metadata.name=monopod")
    known = {each.uid for each in before.inventory if each.uid}
    for item in items:
        live = _staying(target, ref(item), say)
        if live is not None:
            _refuse(target, item, live, live["metadata"]["uid"] in known)
        then = target.cluster.apply(item, dry_run=True)
        if item["kind"] == "Deployment" and live is not None:
            for manager, paths in field_owners.others(then, (MANAGER, capacity.REPLICAS_MANAGER)).items():
                say(f"{manager} has set what this release leaves as it is: {', '.join(paths)}")


def comparable(item: Item) -> Item:
    """Return what of an object a release decides: without its status, and what the API server notes of every change."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in NOTED}
    return {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}


def is_ours(item: Item) -> bool:
    """Whether we applied an object, and nothing else owns it."""
    managed = any(entry.get("manager") == MANAGER for entry in item["metadata"].get("managedFields", []))
    return managed and not item["metadata"].get("ownerReferences")


def _ours(target: Target, kind: str) -> Item | None:
    """Return what we applied of a kind; None where there is none, and for kinds that this cluster or these rights leave out."""
    try:
        item = target.cluster.get(Ref(kind, target.namespace, target.service))
    except NoRights:
        return None
    return item if item and is_ours(item) and "deletionTimestamp" not in item["metadata"] else None


def _is_as(target: Target, item: Item, *, exactly: bool = False) -> bool:
    """Whether an object is there, and applying it would change nothing.

    exactly: it is ours besides, and has no more pods than it asks for.
    """
    live = target.cluster.get(ref(item))
    if live is None or "deletionTimestamp" in live["metadata"]:
        return False
    if exactly and not is_ours(live):
        return False
    if item["kind"] == "Deployment" and not exactly:
        count = max(live["spec"].get("replicas", 1), item["spec"].get("replicas", 1))
        item = {**item, "spec": {**item["spec"], "replicas": count}}
    return comparable(target.cluster.apply(item, dry_run=True)) == comparable(live)


def _staying(target: Target, each: Ref, say: Say) -> Item | None:
    """Return an object, or None once it is gone. One that is on its way out is waited for."""
    begin, told = time.monotonic(), False
    each = replace(each, uid="")
    while (live := target.cluster.get(each)) and "deletionTimestamp" in live["metadata"]:
        seconds = drain_seconds(target, live)
        if time.monotonic() > begin + seconds:
            raise Blocked(f"{each} is on its way out and still there after {seconds:.0f} s, {held_by(live)}; {SEE_TO_IT}")
        if not told:
            say(f"waiting until {each} is gone")
            told = True
        time.sleep(PERIOD)
    return live


def drain_seconds(target: Target, item: Item) -> float:
    """Return for how long an object is waited for that is on its way out: at least until its pods must have ended."""
    pod = item.get("spec", {}).get("template", {}).get("spec", {})
    return max(target.pod_timeout, float(pod.get("terminationGracePeriodSeconds", 0)) + DELETION_MARGIN)


def _refuse(target: Target, item: Item, live: Item, known: bool) -> None:
    """Raise Blocked where an object is another's, or where somebody wants no change of it. known: whether we once made it."""
    owners = [f"{each['kind']} {each['name']}" for each in live["metadata"].get("ownerReferences", [])]
    managers = sorted({entry["manager"] for entry in live["metadata"].get("managedFields", []) if entry.get("manager")})
    if not is_ours(live) and not (known and not owners):
        whose = f"owned by {', '.join(owners)}" if owners else f"made by {', '.join(managers) or 'another'}"
        since = live["metadata"].get("creationTimestamp", "")
        raise Blocked(
            f"{ref(item)} is there already and is not ours: {whose} since {since}; take another service_name, or delete it"
        )
    if live["kind"] == "Deployment" and live["spec"].get("paused"):
        raise Blocked(f"{ref(item)} is paused, by somebody's hand: {resume(target.cluster.context, ref(item))}")
