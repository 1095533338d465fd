"""One track of a service in one region: released, undone, returned to an older release, taken away.

    lease -> history -> dry run -> inventory written -> apply -> wait -> way in -> remove what is no longer in it -> good

Knows the order, and what must hold when it breaks off anywhere: the inventory is written before the first object, so that the
next run knows whatever this one may have left; an older release is removed only after the new one is ready. Does not know how
objects are made, nor several regions.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conf.cluster import MANAGER, Cluster, ClusterError
from conf.refs import SCALERS, Item, Ref, gone, nameless, ref
from conf.rollout import history as histories
from conf.rollout import lease
from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Holder, Release
from conf.rollout.watching import NotReady, wait_ready, wait_way_in

Say = Callable[[str], None]


class Held(Exception):
    """The name belongs to another project's branch. The text says to whom, and since when."""


class NothingThere(Exception):
    """There is no release to return to, or to take away."""


@dataclass(frozen=True)
class WayIn:
    """Where a region's way in can be asked: the service's URL there, and the host that the request names."""

    url: str
    host: str


@dataclass(frozen=True)
class Place:
    """One track of a service in one cluster. patience: seconds for its pods to be ready; wait: for another deploy's end.

    by: who deploys, for history and lease. holder: whose the name must be, or becomes with take_over; None does not ask.
    """

    cluster: Cluster
    namespace: str
    service: str
    patience: float
    by: str
    holder: Holder | None = None
    take_over: bool = False
    way_in: WayIn | None = None
    wait: float = 0.0

    @property
    def history(self) -> Ref:
        return Ref("ConfigMap", self.namespace, histories.name(self.service))

    @property
    def deployment(self) -> Ref:
        return Ref("Deployment", self.namespace, self.service)


class Undone(Exception):
    """A release did not become ready and was undone. The text says why, and what serves now. cause: what was seen."""

    def __init__(self, words: str, cause: NotReady):
        super().__init__(words)
        self.cause = cause


def release(place: Place, items: Sequence[Item], version: str, image: str, say: Say, note: str = "") -> Release:
    """Release objects, in their order. Returns the good release.

    Raises Held, Busy, Lost, ClusterError where nothing was changed or the next run goes on; Undone where it was undone.
    """
    with lease.held(place.cluster, place.namespace, histories.name(place.service), place.by, place.wait, say) as mine:
        before = histories.read(place.cluster.get(place.history))
        _ask_holder(place, before)
        if before.last and before.last.state == BEGUN:
            say(f"release {before.last.number} ({before.last.version}) was broken off; going on from what it left")
        for item in items:
            place.cluster.apply(item, dry_run=True)
        number = before.last.number + 1 if before.last else 1
        fresh = Release(number, version, image, now(), place.by, BEGUN, note, tuple(ref(item) for item in items))
        started = before.begin(fresh, list(items))
        holder = place.holder if place.take_over or before.holder is None else before.holder
        kept = _save(place, dataclasses.replace(started, holder=holder))
        try:
            kept = _apply(place, kept, items, mine, say)
            _wait(place, version, say)
        except NotReady as cause:
            mine.check()
            raise Undone(_undo(place, kept, number, say), cause) from cause
        mine.check()
        _remove(place, gone(before.inventory(), kept.changed(number).releases[-1].inventory), say)
        kept = _save(place, kept.changed(number, state=GOOD))
        good = kept.last
        assert good is not None
        return good


def roll_back(place: Place, say: Say) -> Release:
    """Return to the last good release before the one that was last good. Raises as `release` does, and NothingThere."""
    found = histories.read(place.cluster.get(place.history))
    current = found.good()
    broken_off = (
        found.last is not None and found.last.state == BEGUN
    )  # it may be half there: the last good one is the older one
    older = current if broken_off or current is None else found.good(current.number)
    if older is None or older.number not in found.objects:
        raise NothingThere(f"{place.namespace}/{place.service} has no earlier good release to return to")
    say(f"returning to release {older.number} ({older.version}) of {older.at}")
    note = f"rollback to {older.number}"
    return release(place, found.objects[older.number], older.version, older.image, say, note)


def stop(place: Place, say: Say) -> None:
    """Take a track away: what releases left, and their history last. Raises NothingThere, Held, Busy, ClusterError."""
    with lease.held(place.cluster, place.namespace, histories.name(place.service), place.by, place.wait, say) as mine:
        found = histories.read(place.cluster.get(place.history))
        if not found.releases:
            raise NothingThere(f"{place.namespace}/{place.service} is not running: there is no release of it")
        _ask_holder(place, found)
        mine.check()
        _remove(place, tuple(reversed(found.inventory())), say)
        place.cluster.delete(place.history)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ask_holder(place: Place, found: History) -> None:
    if place.holder and found.holder and not place.take_over and not found.holder.same(place.holder):
        raise Held(
            f"{place.namespace}/{place.service} belongs to {found.holder} since {found.holder.since}; this is {place.holder}: "
            "take another service_name, have it stopped there first (monopod stop), or take it over with --take-over"
        )


def _save(place: Place, history: History) -> History:
    """Write the history; it fails where another has written it since it was read."""
    item = histories.write(history, place.service, place.namespace)
    kept = place.cluster.replace(item) if history.resource_version else place.cluster.create(item)
    return dataclasses.replace(history, resource_version=kept["metadata"]["resourceVersion"])


def _apply(place: Place, kept: History, items: Sequence[Item], mine: lease.Lease, say: Say) -> History:
    """Apply all objects and write down which they are."""
    applied = []
    for item in items:
        mine.check()
        if item["kind"] == "Deployment":
            item = _with_capacity(place, item, kept, say)
        applied.append(ref({**place.cluster.apply(item), "kind": item["kind"]}))
    last = kept.last
    assert last is not None
    return _save(place, kept.changed(last.number, inventory=tuple(applied)))


def _with_capacity(place: Place, item: Item, kept: History, say: Say) -> Item:
    """Return a Deployment such that no change of who sets its replicas lets them fall on the way.

    To an autoscaler: the count is first handed to another field manager, or leaving it out would set it to 1. From one: the
    live count stays where it is larger, and the next release sets it.
    """
    live = place.cluster.get(ref(item))
    if live is None:
        return item
    count = live["spec"].get("replicas", 1)
    if "replicas" not in item["spec"]:
        bare = {key: item[key] for key in ("apiVersion", "kind")} | {"spec": {"replicas": count}}
        metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
        place.cluster.apply({**bare, "metadata": metadata}, manager=f"{MANAGER}-replicas")
        return item
    scaled = any(each.kind in SCALERS for each in kept.inventory())
    if scaled and count > item["spec"]["replicas"] and not _has_scaler(kept):
        say(f"the autoscaler is taken away: its {count} pods stay, the next release makes them {item['spec']['replicas']}")
        return {**item, "spec": {**item["spec"], "replicas": count}}
    return item


def _has_scaler(kept: History) -> bool:
    return bool(kept.last and any(each.kind in SCALERS for each in kept.last.inventory))


def _wait(place: Place, version: str, say: Say) -> None:
    wait_ready(place.cluster, place.deployment, 0, place.patience, say)
    if place.way_in:
        wait_way_in(place.way_in.url, place.way_in.host, version, say)
    else:
        say("ready, as Kubernetes says; this region's way in is not asked (no way_in in regions.yaml)")


def _undo(place: Place, kept: History, number: int, say: Say) -> str:
    """Take a release back that did not become ready, and say what serves now."""
    failed = next(each for each in kept.releases if each.number == number)
    good = kept.good()
    if good is None or good.number not in kept.objects:
        say("it is the first release: taking it away")
        _remove(place, tuple(reversed(failed.inventory)), say)
        _save(place, kept.changed(number, state=UNDONE))
        return "it was the first release and was taken away; nothing serves"
    say(f"returning to release {good.number} ({good.version})")
    items = kept.objects[good.number]
    for item in items:
        place.cluster.apply(_with_capacity(place, item, kept, say) if item["kind"] == "Deployment" else item)
    back = tuple(ref(item) for item in items)
    _remove(place, [each for each in failed.inventory if (each.kind, each.namespace, each.name) not in nameless(back)], say)
    try:
        wait_ready(place.cluster, place.deployment, 0, place.patience, say)
    except NotReady as again:
        _save(place, kept.changed(number, state=UNDONE))
        return f"release {good.number} ({good.version}) was applied again and is not ready either: {again}"
    _save(place, kept.changed(number, state=UNDONE))
    return f"release {good.number} ({good.version}) serves, as before"


def _remove(place: Place, refs: Sequence[Ref], say: Say) -> None:
    """Delete objects of older releases: only the very ones that are ours, and that nothing else owns."""
    for each in refs:
        live = place.cluster.get(Ref(each.kind, each.namespace, each.name))
        if live is None:
            continue
        metadata = live["metadata"]
        ours = any(entry.get("manager") == MANAGER for entry in metadata.get("managedFields", []))
        same = each.uid in ("", metadata["uid"])
        if not ours or not same or metadata.get("ownerReferences"):
            say(f"left alone, since it is another's by now: {each}")
            continue
        if place.cluster.delete(Ref(each.kind, each.namespace, each.name, metadata["uid"])):
            say(f"removed {each}")


__all__ = ["ClusterError", "Held", "NothingThere", "Place", "Undone", "WayIn", "now", "release", "roll_back", "stop"]
