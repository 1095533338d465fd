"""What is there before a release: its history, or what is found without one, and what would be in its way.

Knows what to ask. Changes nothing in the cluster.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from conf.cluster import MANAGER, NoRights
from conf.refs import APPLIED, Item, Ref, ref
from conf.rollout import capacity, fields
from conf.rollout import history as histories
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.place import InTheWay, Place
from conf.rollout.watching import PERIOD, look

Say = Callable[[str], None]
READ = ("Pod", "ReplicaSet", "Event")  # what a rollout must be allowed to list


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
    return History(None, (found,), {1: [fields.taken_out(item, MANAGER) for item in items]})


def settled(place: Place, found: History) -> History:
    """Return a history whose last release, where it was broken off, counts as good if it is all there and serves."""
    last = found.last
    if last is None or last.state != BEGUN or not found.objects.get(last.number):
        return found
    items = found.objects[last.number]
    deployment = next((item for item in items if item["kind"] == "Deployment"), None)
    there = [place.cluster.get(ref(item)) for item in items]
    if deployment is None or None in there or not _is_as(place, deployment):
        return found
    return found.ended(GOOD, last.inventory)


def look_ahead(place: Place, items: Sequence[Item], before: History, say: Say) -> None:
    """Find out, before anything is changed, whether a release can be applied.

    What is on its way out is waited for. Raises InTheWay, Refused, NoRights, NoNamespace.
    """
    for kind in READ:
        place.cluster.find(kind, place.namespace, fields="metadata.name=monopod")
    known = {each.uid for each in before.inventory if each.uid}
    for item in items:
        live = _staying(place, ref(item), say)
        if live is not None:
            _refuse(item, live, live["metadata"]["uid"] in known)
        then = place.cluster.apply(item, dry_run=True)
        if item["kind"] == "Deployment" and live is not None:
            for manager, paths in fields.others(then, (MANAGER, capacity.REPLICAS_MANAGER)).items():
                say(f"{manager} has set what this release leaves as it is: {', '.join(paths)}")


def wait_gone(place: Place, each: Ref, say: Say) -> None:
    """Wait until an object is gone, for as long as its pods may drain. Raises InTheWay."""
    _staying(place, each, say, all_of_it=True)


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


def _is_as(place: Place, item: Item) -> bool:
    """Whether applying a Deployment would change nothing, and its pods are ready."""
    live = place.cluster.get(ref(item))
    if live is None:
        return False
    count = {"replicas": live["spec"].get("replicas", 1)}
    then = place.cluster.apply({**item, "spec": {**item["spec"], **count}}, dry_run=True)
    return bool(then["metadata"]["generation"] == live["metadata"]["generation"] and look(place.cluster, ref(item)).done)


def _staying(place: Place, each: Ref, say: Say, *, all_of_it: bool = False) -> Item | None:
    """Return an object, or None once it is gone. One that is on its way out is waited for; all_of_it: whichever is there."""
    end, told = time.monotonic() + place.patience, False
    each = replace(each, uid="")
    while (live := place.cluster.get(each)) and (all_of_it or "deletionTimestamp" in live["metadata"]):
        if time.monotonic() > end:
            raise InTheWay(
                f"{each} is on its way out for {place.patience:.0f} s and not gone yet; look at its pods and finalizers"
            )
        if not told:
            say(f"waiting until {each} is gone")
            told = True
        time.sleep(PERIOD)
    return live


def _refuse(item: Item, live: Item, known: bool) -> None:
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
        where = f"-n {live['metadata']['namespace']} deployment/{live['metadata']['name']}"
        raise InTheWay(f"{ref(item)} is paused, by somebody's hand: kubectl rollout resume {where}")
