"""One track of a service in one region: released, undone, returned to an older release, taken away.

    lease -> history -> look ahead -> inventory written -> apply -> wait -> way in -> remove what is no longer in it -> good

Knows the order, and what must hold when it breaks off anywhere: the inventory is written before the first object, so that the
next run knows whatever this one may have left; an older release is removed only after the new one is ready. Does not know how
objects are made, nor several regions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from conf.base.image_names import digest_of
from conf.base.references import Item, Ref, gone, ref
from conf.remote.cluster import CONFLICT, GONE, BadCredentials, ClusterError, Unreachable
from conf.rollout import capacity, lease, preflight
from conf.rollout import history as histories
from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release
from conf.rollout.lease import Lease, Lost
from conf.rollout.readiness import NotReady, wait_ready, wait_way_in
from conf.rollout.removal import but, remove, told
from conf.rollout.rollback import none_to, rolled_back
from conf.rollout.target import InTheWay, Place

Say = Callable[[str], None]
UNDO_SECONDS = 60.0  # at least, for pods that never went away to be counted again
CANNOT_UNDO = (Unreachable, BadCredentials)  # the next run finds what is there, and goes on


class Held(Exception):
    """The name belongs to another project's branch. The text says to whom, and since when."""


class NothingThere(Exception):
    """There is no release to return to, or to take away."""


class Undone(Exception):
    """A release failed and was undone. The text says what serves now.

    cause: what failed. complete: whether it could be undone; where not, the next run goes on.
    """

    def __init__(self, words: str, cause: NotReady | ClusterError, complete: bool = True):
        super().__init__(words)
        self.cause, self.complete = cause, complete


@dataclass(frozen=True)
class Order:
    """What is to be released. items: in their order. note, origin, override: as history's Release has them."""

    items: Sequence[Item]
    version: str
    image: str
    note: str = ""
    origin: int = 0
    override: str = ""


@dataclass(frozen=True)
class Made:
    """What came of an order: the release that serves. unchanged: it did already, whole, so that no other was made."""

    release: Release
    unchanged: bool = False


def release(place: Place, order: Order, say: Say) -> Made:
    """Release objects, unless the last release is of these very ones and all of it serves.

    Raises Held, InTheWay, Busy, Unreadable, ClusterError where nothing was changed; Undone where it was undone; Lost,
    Unreachable and BadCredentials where the next run goes on.
    """
    return _release(place, lambda _: order, say)


def roll_back(place: Place, say: Say, ask: Callable[[str], None], to: str = "") -> Made:
    """Return to the good release before the one that serves, or to a version. Raises as `release` does, and NothingThere.

    ask: about the older release's image, before anything is changed; it raises where there is none to return to.
    """

    def order(found: History) -> Order:
        older = found.earlier(to)
        if older is None:
            raise NothingThere(f"{place.namespace}/{place.service} has {none_to(found, to)}")
        ask(older.image)
        say(f"returning to {older.beside(found.good)}, deployed at {older.at}")
        return Order(found.objects[older.number], older.version, older.image, rolled_back(found, older), older.line)

    return _release(place, order, say)


def stop(place: Place, say: Say) -> None:
    """Take a track away: what releases left, and their history last. Returns when all of it is gone.

    Raises NothingThere, Held, Busy, InTheWay, ClusterError.
    """
    with lease.held(place.cluster, place.namespace, histories.name(place.service), place.by, place.wait, say) as mine:
        found = preflight.history(place, now())
        if found.last is None:
            raise NothingThere(f"{place.namespace}/{place.service} is not there: there is no release of it")
        _ask_holder(place, found)
        # From here on nothing is good: a deploy that fails later must not bring back what was half taken away.
        end = Release(found.last.number + 1, "", "", now(), place.by, BEGUN, "stop", 0, found.inventory)
        kept = _save(place, replace(found, releases=(end,), objects={}), mine)
        if staying := remove(place, tuple(reversed(kept.inventory)), mine, say):
            raise InTheWay(told(staying))
        mine.steadily(place.cluster.delete, place.history)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _release(place: Place, choose: Callable[[History], Order], say: Say) -> Made:
    with lease.held(place.cluster, place.namespace, histories.name(place.service), place.by, place.wait, say) as mine:
        found = preflight.history(place, now())
        _ask_holder(place, found)
        before = preflight.settled(place, found)
        order = choose(before)
        if not _changes_hands(place, before) and preflight.serves_already(place, before, order.items):
            if before is not found:  # it was broken off, and is settled by that
                _save(place, before, mine)
            assert before.last is not None
            return Made(before.last, unchanged=True)
        if before.last and before.last.state == BEGUN:
            say(f"the change to {before.last.version or 'nothing'} was broken off; going on from what it left")
        preflight.look_ahead(place, order.items, before, say)
        live = mine.steadily(place.cluster.get, place.deployment)
        count = live["spec"].get("replicas", 1) if live else None
        kept = _save(place, _begun(place, before, order), mine)
        try:
            applied = _apply(place, capacity.at_least(order.items, count or 0), mine)
            wait_ready(place.cluster, place.deployment, place.patience, say)
            _wait_way_in(place, order, say)
            _lower(place, kept, order.items, mine, say)
        except CANNOT_UNDO:
            raise
        except (NotReady, ClusterError) as cause:
            raise _undo(place, kept, count, cause, mine, say) from cause
        return Made(_ended(place, kept, applied, mine, say))


def _ended(place: Place, kept: History, applied: Sequence[Ref], mine: Lease, say: Say) -> Release:
    """Take away what a release that serves no longer holds, and note that it is good. Raises InTheWay where something stays."""
    staying = remove(place, gone(kept.inventory, applied), mine, say)
    good = _save(place, kept.ended(GOOD, (*applied, *(each.ref for each in staying))), mine).last
    assert good is not None
    if staying:  # the next release has them in its inventory, and waits for them again
        raise InTheWay(f"{good.version} serves, but {told(staying)}")
    return good


def _changes_hands(place: Place, found: History) -> bool:
    """Whether a release would write another holder into the history."""
    return place.holder is not None and not (found.holder and found.holder.same(place.holder))


def _ask_holder(place: Place, found: History) -> None:
    if place.holder and found.holder and not place.take_over and not found.holder.same(place.holder):
        raise Held(
            f"{place.namespace}/{place.service} belongs to {found.holder} since {found.holder.since}; this is {place.holder}: "
            "take another service_name, have it stopped there first (monopod stop), or take it over with --take-over"
        )


def _begun(place: Place, before: History, order: Order) -> History:
    """Return the history with a new release."""
    number = before.last.number + 1 if before.last else 1
    fresh = Release(
        number,
        order.version,
        order.image,
        now(),
        place.by,
        note=order.note,
        origin=order.origin,
        inventory=tuple(map(ref, order.items)),
        override=order.override,
    )
    ours = before.holder and place.holder and before.holder.same(place.holder)
    holder = before.holder if ours else place.holder or before.holder
    return replace(before.begin(fresh, list(order.items)), holder=holder)


def _save(place: Place, history: History, mine: Lease) -> History:
    """Write the history, anew where somebody has deleted it. Raises Lost where another has written it since it was read."""
    item = histories.write(history, place.service, place.namespace)
    write = place.cluster.replace if history.resource_version else place.cluster.create
    try:
        kept = mine.steadily(write, item)
    except ClusterError as error:
        if error.status == GONE and history.resource_version:
            return _save(place, replace(history, resource_version=""), mine)
        found = place.cluster.get(place.history) if error.status == CONFLICT else None
        if found is None:
            raise
        if found.get("data") != item["data"]:
            raise Lost("another deploy has written the history; `monopod status` shows what runs, run it again") from error
        kept = found  # by this very run: only the answer was lost
    return replace(history, resource_version=kept["metadata"]["resourceVersion"])


def _apply(place: Place, items: Sequence[Item], mine: Lease) -> tuple[Ref, ...]:
    """Apply all objects, in their order, and return which they are."""
    applied = []
    for item in items:
        if item["kind"] == "Deployment":
            live = mine.steadily(place.cluster.get, ref(item))
            step = capacity.step(item, live, items)
            if step.first:
                mine.steadily(place.cluster.apply, step.first, manager=capacity.REPLICAS_MANAGER)
            item = step.item
        applied.append(ref(mine.steadily(place.cluster.apply, item)))
    return tuple(applied)


def _lower(place: Place, kept: History, items: Sequence[Item], mine: Lease, say: Say) -> None:
    """Come from the pods that were there to as many as the release says."""
    item = next(each for each in items if each["kind"] == "Deployment")
    step = capacity.lowered(item, mine.steadily(place.cluster.get, place.deployment), kept.inventory)
    if step:
        say(step.words)
        mine.steadily(place.cluster.apply, step.item)
        wait_ready(place.cluster, place.deployment, place.patience, lambda _: None)


def _wait_way_in(place: Place, order: Order, say: Say) -> None:
    if place.way_in:
        wait_way_in(place.way_in.url, place.way_in.host, (order.version, digest_of(order.image)), say)
    else:
        say("ready, as Kubernetes says; this region's way in is not asked (no way_in in regions.yaml)")


def _undo(place: Place, kept: History, count: int | None, cause: NotReady | ClusterError, mine: Lease, say: Say) -> Undone:
    """Take back the last release, which failed, and return what is to be told. count: of the pods before it; None for none."""
    if isinstance(cause, ClusterError):
        say(str(cause))
    try:
        good = kept.good
        if good is None:
            say("it is the first release: taking it away")
            staying = remove(place, tuple(reversed(kept.inventory)), mine, say, drain=False)
            _save(place, kept.ended(UNDONE, tuple(each.ref for each in staying)), mine)
            return Undone(f"it was the first release and was taken away; nothing serves{but(staying)}", cause)
        name = good.beside(kept.last)
        say(f"returning to {name}")
        items = kept.objects[good.number]
        back = _apply(place, items if count is None else capacity.exactly(items, count), mine)
        staying = remove(place, gone(kept.inventory, back), mine, say)
        words = f"{name} serves, as before"
        try:
            wait_ready(place.cluster, place.deployment, max(place.patience, UNDO_SECONDS), say)
        except NotReady as again:
            words = f"{name} was applied again and is not ready either: {again}"
        _save(place, kept.ended(UNDONE, (*back, *(each.ref for each in staying))), mine)
        return Undone(words + but(staying), cause)
    except (ClusterError, Lost) as error:
        return Undone(
            f"it could not be undone ({error}); run deploy or rollback again, it goes on from what is there", cause, False
        )
