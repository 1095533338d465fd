"""What is there before a release: its history, or what is found without one, and what would be in its way.

Knows what to ask. Changes nothing in the cluster.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from conf.base.references import APPLIED, MANAGER, Item, Ref, gone, ref
from conf.remote.cluster import NoRights
from conf.rollout import capacity, field_owners
from conf.rollout import history as histories
from conf.rollout.finalizers import SEE_TO_IT, held_by
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.readiness import PERIOD, answers, look, resume
from conf.rollout.target import InTheWay, Place

Say = Callable[[str], None]
DELETION_MARGIN = 30  # s from the end of a Deployment's pods to the end of the Deployment
NOTED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
LISTED_KINDS = ("Pod", "ReplicaSet", "Event")  # what a rollout must be allowed to list


def history(place: Place, at: str) -> History:
    """Return the history of a place. at: now.

    Without one, what is there of ours becomes its first release: whoever deleted the history did not mean the service.
    Raises Unreadable, ClusterError.
    """
    kept = place.cluster.get(place.history)
    if kept is not None:
        return histories.read(kept)
    deployment = _ours(place, "Deployment")
    if deployment is None:
        return History()
    items = [item for kind in APPLIED if (item := _ours(place, kind))]
    version = deployment["metadata"].get("labels", {}).get("version", "")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    found = Release(1, version, image, at, place.by, GOOD, "found without a history", 0, tuple(map(ref, items)))
    return History(None, (found,), {1: [field_owners.taken_out(item, MANAGER) for item in items]})


def settled(place: Place, found: History) -> History:
    """Return a history whose last release, where it was broken off, counts as good if it is all there and serves.

    That is what a release that ended was shown: each object as it is applied, all pods ready, the way in answering with it.
    """
    last = found.last
    items = found.objects.get(last.number) if last and last.state == BEGUN else None
    if not last or not items or not all(_is_as(place, item) for item in items):
        return found
    if not look(place.cluster, place.deployment).done:
        return found
    if place.way_in and not answers(place.way_in.url, place.way_in.host, last.content):
        return found
    return found.ended(GOOD, last.inventory)


def serves_already(place: Place, found: History, items: Sequence[Item]) -> bool:
    """Whether objects are those of the last release, which is good, and nothing of it has drifted since: it all serves."""
    last = found.last
    if last is None or last.state != GOOD or found.objects.get(last.number) != list(items):
        return False
    if gone(last.inventory, tuple(map(ref, items))) or not all(_is_as(place, item, exactly=True) for item in items):
        return False
    if not look(place.cluster, place.deployment).done:
        return False
    return not place.way_in or answers(place.way_in.url, place.way_in.host, last.content)


def look_ahead(place: Place, items: Sequence[Item], before: History, say: Say) -> None:
    """Find out, before anything is changed, whether a release can be applied.

    What is on its way out is waited for. Raises InTheWay, Refused, NoRights, NoNamespace.
    """
    for kind in LISTED_KINDS:
        place.cluster.find(kind, place.namespace, fields="metadata.name=monopod")
    known = {each.uid for each in before.inventory if each.uid}
    for item in items:
        live = _staying(place, ref(item), say)
        if live is not None:
            _refuse(place, item, live, live["metadata"]["uid"] in known)
        then = place.cluster.apply(item, dry_run=True)
        if item["kind"] == "Deployment" and live is not None:
            for manager, paths in field_owners.others(then, (MANAGER, capacity.REPLICAS_MANAGER)).items():
                say(f"{manager} has set what this release leaves as it is: {', '.join(paths)}")


def content(item: Item) -> Item:
    """Return what of an object a release decides: without its status, and what the API server notes of every change."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in NOTED}
    return {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}


def is_ours(item: Item) -> bool:
    """Whether we applied an object, and nothing else owns it."""
    managed = any(entry.get("manager") == MANAGER for entry in item["metadata"].get("managedFields", []))
    return managed and not item["metadata"].get("ownerReferences")


def _ours(place: Place, kind: str) -> Item | None:
    """Return what we applied of a kind; None where there is none, and for kinds that this cluster or these rights leave out."""
    try:
        item = place.cluster.get(Ref(kind, place.namespace, place.service))
    except NoRights:
        return None
    return item if item and is_ours(item) and "deletionTimestamp" not in item["metadata"] else None


def _is_as(place: Place, item: Item, *, exactly: bool = False) -> bool:
    """Whether an object is there, and applying it would change nothing.

    exactly: it is ours besides, and has no more pods than it asks for.
    """
    live = place.cluster.get(ref(item))
    if live is None or "deletionTimestamp" in live["metadata"]:
        return False
    if exactly and not is_ours(live):
        return False
    if item["kind"] == "Deployment" and not exactly:
        count = max(live["spec"].get("replicas", 1), item["spec"].get("replicas", 1))
        item = {**item, "spec": {**item["spec"], "replicas": count}}
    return content(place.cluster.apply(item, dry_run=True)) == content(live)


def _staying(place: Place, each: Ref, say: Say) -> Item | None:
    """Return an object, or None once it is gone. One that is on its way out is waited for."""
    begin, told = time.monotonic(), False
    each = replace(each, uid="")
    while (live := place.cluster.get(each)) and "deletionTimestamp" in live["metadata"]:
        seconds = drain_seconds(place, live)
        if time.monotonic() > begin + seconds:
            raise InTheWay(f"{each} is on its way out and still there after {seconds:.0f} s, {held_by(live)}; {SEE_TO_IT}")
        if not told:
            say(f"waiting until {each} is gone")
            told = True
        time.sleep(PERIOD)
    return live


def drain_seconds(place: Place, item: Item) -> float:
    """Return for how long an object is waited for that is on its way out: at least until its pods must have ended."""
    pod = item.get("spec", {}).get("template", {}).get("spec", {})
    return max(place.patience, float(pod.get("terminationGracePeriodSeconds", 0)) + DELETION_MARGIN)


def _refuse(place: Place, item: Item, live: Item, known: bool) -> None:
    """Raise InTheWay where an object is another's, or where somebody wants no change of it. known: whether we once made it."""
    owners = [f"{each['kind']} {each['name']}" for each in live["metadata"].get("ownerReferences", [])]
    managers = sorted({entry["manager"] for entry in live["metadata"].get("managedFields", []) if entry.get("manager")})
    if not is_ours(live) and not (known and not owners):
        whose = f"owned by {', '.join(owners)}" if owners else f"made by {', '.join(managers) or 'another'}"
        since = live["metadata"].get("creationTimestamp", "")
        raise InTheWay(
            f"{ref(item)} is there already and is not ours: {whose} since {since}; take another service_name, or delete it"
        )
    if live["kind"] == "Deployment" and live["spec"].get("paused"):
        raise InTheWay(f"{ref(item)} is paused, by somebody's hand: {resume(place.cluster.context, ref(item))}")
