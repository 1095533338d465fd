"""One track of a service in one region: released, undone, returned to an older release, taken away.

    lease -> history -> look ahead -> inventory written -> apply -> wait -> way in -> remove what is no longer in it -> good

Knows the order, and what must hold when it breaks off anywhere: the inventory is written before the first object, so that the
next run knows whatever this one may have left; an older release is removed only after the new one is ready. Does not know how
objects are made, nor several regions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conf.base.image_names import digest_of
from conf.base.object_references import Item, Ref, dropped, ref
from conf.remote.cluster import CONFLICT, GONE, BadCredentials, ClusterError, Unreachable
from conf.rollout import capacity, lease, preflight
from conf.rollout import history as histories
from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release, utc_now
from conf.rollout.lease import Lease, LeaseLost
from conf.rollout.readiness import NotReady, wait_for_gateway, wait_ready
from conf.rollout.removal import remove, stuck_clause, stuck_message
from conf.rollout.rollback import no_release_message, rollback_note
from conf.rollout.targets import Blocked, Target

Say = Callable[[str], None]
UNDO_SECONDS = 60.0  # at least, for pods that never went away to be counted again
CANNOT_UNDO = (Unreachable, BadCredentials)  # the next run finds what is there, and goes on


class NameTaken(Exception):
    """The name belongs to another project's branch. The text says to whom, and since when."""


class NoRelease(Exception):
    """There is no release to return to, or to take away."""


class Undone(Exception):
    """A release failed and was undone. The text says what serves now.

    cause: what failed. complete: whether it could be undone; where not, the next run goes on.
    """

    def __init__(self, words: str, cause: NotReady | ClusterError, complete: bool = True):
        super().__init__(words)
        self.cause, self.complete = cause, complete


@dataclass(frozen=True)
class ReleaseRequest:
    """What is to be released. items: in their order. note, origin, override: as history's Release has them."""

    items: Sequence[Item]
    version: str
    image: str
    note: str = ""
    origin: int = 0
    override: str = ""


@dataclass(frozen=True)
class ReleaseResult:
    """What came of an order: the release that serves. unchanged: it did already, whole, so that no other was made."""

    release: Release
    unchanged: bool = False


def release(target: Target, order: ReleaseRequest, say: Say) -> ReleaseResult:
    """Release objects, unless the last release is of these very ones and all of it serves.

    Raises NameTaken, Blocked, Busy, UnreadableHistory, ClusterError where nothing was changed; Undone where it was
    undone; LeaseLost, Unreachable and BadCredentials where the next run goes on.
    """
    return _release(target, lambda _: order, say)


def roll_back(target: Target, say: Say, ask: Callable[[str], None], to: str = "") -> ReleaseResult:
    """Return to the good release before the one that serves, or to a version. Raises as `release` does, and NoRelease.

    ask: about the older release's image, before anything is changed; it raises where there is none to return to.
    """

    def order(found: History) -> ReleaseRequest:
        older = found.earlier(to)
        if older is None:
            raise NoRelease(f"{target.namespace}/{target.service} has {no_release_message(found, to)}")
        ask(older.image)
        say(f"returning to {older.beside(found.good)}, deployed at {older.at}")
        return ReleaseRequest(found.objects[older.number], older.version, older.image, rollback_note(found, older), older.line)

    return _release(target, order, say)


def stop(target: Target, say: Say) -> None:
    """Take a track away: what releases left, and their history last. Returns when all of it is gone.

    Raises NoRelease, NameTaken, Busy, Blocked, ClusterError.
    """
    with lease.hold(target.cluster, target.namespace, histories.name(target.service), target.by, target.wait, say) as mine:
        found = preflight.load_history(target, utc_now())
        if found.last is None:
            raise NoRelease(f"{target.namespace}/{target.service} is not there: there is no release of it")
        _ask_holder(target, found)
        # From here on nothing is good: a deploy that fails later must not bring back what was half taken away.
        end = Release(found.last.number + 1, "", "", utc_now(), target.by, BEGUN, "stop", 0, found.inventory)
        kept = _save(target, replace(found, releases=(end,), objects={}), mine)
        if staying := remove(target, tuple(reversed(kept.inventory)), mine, say):
            raise Blocked(stuck_message(staying))
        mine.steadily(target.cluster.delete, target.history)


def _release(target: Target, choose: Callable[[History], ReleaseRequest], say: Say) -> ReleaseResult:
    with lease.hold(target.cluster, target.namespace, histories.name(target.service), target.by, target.wait, say) as mine:
        found = preflight.load_history(target, utc_now())
        _ask_holder(target, found)
        before = preflight.settle_interrupted(target, found)
        order = choose(before)
        if not _changes_hands(target, before) and preflight.serves_already(target, before, order.items):
            if before is not found:  # it was broken off, and is settled by that
                _save(target, before, mine)
            assert before.last is not None
            return ReleaseResult(before.last, unchanged=True)
        if before.last and before.last.state == BEGUN:
            say(f"the change to {before.last.version or 'nothing'} was broken off; going on from what it left")
        preflight.check_applicable(target, order.items, before, say)
        live = mine.steadily(target.cluster.get, target.deployment)
        count = live["spec"].get("replicas", 1) if live else None
        kept = _save(target, _begun(target, before, order), mine)
        try:
            applied = _apply(target, capacity.at_least(order.items, count or 0), mine)
            wait_ready(target.cluster, target.deployment, target.pod_timeout, say)
            _wait_way_in(target, order, say)
            _lower(target, kept, order.items, mine, say)
        except CANNOT_UNDO:
            raise
        except (NotReady, ClusterError) as cause:
            raise _undo(target, kept, count, cause, mine, say) from cause
        return ReleaseResult(_ended(target, kept, applied, mine, say))


def _ended(target: Target, kept: History, applied: Sequence[Ref], mine: Lease, say: Say) -> Release:
    """Take away what a release that serves no longer holds, and note that it is good. Raises Blocked where something stays."""
    staying = remove(target, dropped(kept.inventory, applied), mine, say)
    good = _save(target, kept.ended(GOOD, (*applied, *(each.ref for each in staying))), mine).last
    assert good is not None
    if staying:  # the next release has them in its inventory, and waits for them again
        raise Blocked(f"{good.version} serves, but {stuck_message(staying)}")
    return good


def _changes_hands(target: Target, found: History) -> bool:
    """Whether a release would write another holder into the history."""
    return target.holder is not None and not (found.holder and found.holder.same(target.holder))


def _ask_holder(target: Target, found: History) -> None:
    if target.holder and found.holder and not target.take_over and not found.holder.same(target.holder):
        raise NameTaken(
            f"{target.namespace}/{target.service} belongs to {found.holder} since {found.holder.since}; this is "
            f"{target.holder}: take another service_name, have it stopped there first (monopod stop), or take it over "
            "with --take-over"
        )


def _begun(target: Target, before: History, order: ReleaseRequest) -> History:
    """Return the history with a new release."""
    number = before.last.number + 1 if before.last else 1
    fresh = Release(
        number,
        order.version,
        order.image,
        utc_now(),
        target.by,
        note=order.note,
        origin=order.origin,
        inventory=tuple(map(ref, order.items)),
        override=order.override,
    )
    ours = before.holder and target.holder and before.holder.same(target.holder)
    holder = before.holder if ours else target.holder or before.holder
    return replace(before.begin(fresh, list(order.items)), holder=holder)


def _save(target: Target, history: History, mine: Lease) -> History:
    """Write the history, again where somebody has deleted it. Raises LeaseLost where another deploy wrote it meanwhile."""
    item = histories.write(history, target.service, target.namespace)
    write = target.cluster.replace if history.resource_version else target.cluster.create
    try:
        kept = mine.steadily(write, item)
    except ClusterError as error:
        if error.status == GONE and history.resource_version:
            return _save(target, replace(history, resource_version=""), mine)
        found = target.cluster.get(target.history) if error.status == CONFLICT else None
        if found is None:
            raise
        if found.get("data") != item["data"]:
            raise LeaseLost("another deploy has written the history; `monopod status` shows what runs, run it again") from error
        kept = found  # by this very run: only the answer was lost
    return replace(history, resource_version=kept["metadata"]["resourceVersion"])


def _apply(target: Target, items: Sequence[Item], mine: Lease) -> tuple[Ref, ...]:
    """Apply all objects, in their order, and return which they are."""
    applied = []
    for item in items:
        if item["kind"] == "Deployment":
            live = mine.steadily(target.cluster.get, ref(item))
            step = capacity.step(item, live, items)
            if step.first:
                mine.steadily(target.cluster.apply, step.first, manager=capacity.REPLICAS_MANAGER)
            item = step.item
        applied.append(ref(mine.steadily(target.cluster.apply, item)))
    return tuple(applied)


def _lower(target: Target, kept: History, items: Sequence[Item], mine: Lease, say: Say) -> None:
    """Come from the pods that were there to as many as the release says."""
    item = next(each for each in items if each["kind"] == "Deployment")
    step = capacity.lowered(item, mine.steadily(target.cluster.get, target.deployment), kept.inventory)
    if step:
        say(step.words)
        mine.steadily(target.cluster.apply, step.item)
        wait_ready(target.cluster, target.deployment, target.pod_timeout, lambda _: None)


def _wait_way_in(target: Target, order: ReleaseRequest, say: Say) -> None:
    if target.gateway:
        wait_for_gateway(target.gateway.url, target.gateway.host, (order.version, digest_of(order.image)), say)
    else:
        say("ready, as Kubernetes says; this region's way in is not asked (no way_in in regions.yaml)")


def _undo(target: Target, kept: History, count: int | None, cause: NotReady | ClusterError, mine: Lease, say: Say) -> Undone:
    """Take back the last release, which failed, and return what is to be told. count: of the pods before it; None for none."""
    if isinstance(cause, ClusterError):
        say(str(cause))
    try:
        good = kept.good
        if good is None:
            say("it is the first release: taking it away")
            staying = remove(target, tuple(reversed(kept.inventory)), mine, say, drain=False)
            _save(target, kept.ended(UNDONE, tuple(each.ref for each in staying)), mine)
            return Undone(f"it was the first release and was taken away; nothing serves{stuck_clause(staying)}", cause)
        name = good.beside(kept.last)
        say(f"returning to {name}")
        items = kept.objects[good.number]
        back = _apply(target, items if count is None else capacity.exactly(items, count), mine)
        staying = remove(target, dropped(kept.inventory, back), mine, say)
        words = f"{name} serves, as before"
        try:
            wait_ready(target.cluster, target.deployment, max(target.pod_timeout, UNDO_SECONDS), say)
        except NotReady as again:
            words = f"{name} was applied again and is not ready either: {again}"
        _save(target, kept.ended(UNDONE, (*back, *(each.ref for each in staying))), mine)
        return Undone(words + stuck_clause(staying), cause)
    except (ClusterError, LeaseLost) as error:
        return Undone(
            f"it could not be undone ({error}); run deploy or rollback again, it goes on from what is there", cause, False
        )
