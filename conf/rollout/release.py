"""One track of a service in one region: released, undone, rolled back, restarted, stopped.

    lease -> history -> preflight -> inventory written -> apply -> wait -> gateway -> old objects removed -> good

A release may break off anywhere. So the inventory is written before the first object: it tells the next run what this run may
have left. Old objects are removed only after the new release is ready.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from conf.base.image_names import digest_of
from conf.base.object_references import DEPLOYMENT_LABEL, Item, Ref, deployments, is_ready, is_staying, ref
from conf.remote.cluster import CONFLICT, NOT_FOUND, BadCredentials, ClusterError, Unreachable
from conf.rollout import history as histories
from conf.rollout import preflight, replicas
from conf.rollout.history import BEGUN, GOOD, UNDONE, History, Release, no_release_message, rollback_note, utc_now
from conf.rollout.lease import Lease, LeaseLost, hold
from conf.rollout.readiness import NotReady, wait_for_gateway, wait_ready
from conf.rollout.removal import AUTOSCALER, free_autoscaler, remove, remove_dropped, stuck_clause, stuck_message
from conf.rollout.targets import Blocked, Say, Target

RESTARTED_AT = "monopod/restarted-at"  # an annotation of pods; a Deployment replaces them when it changes
UNDO_SECONDS = 60.0  # at least, until pods that never went away are counted again
CANNOT_UNDO = (Unreachable, BadCredentials)  # the next run finds what is there, and goes on


class NameTaken(Exception):
    """The name belongs to another project's branch. The text says to which, and since when."""


class NoRelease(Exception):
    """There is no release to return to, to restart, or to stop."""


class Rejected(Exception):
    """A canary is not to take over. The text says why. log: the last lines of a container of it that ended, "" for none."""

    def __init__(self, words: str, log: str = ""):
        super().__init__(words)
        self.log = log


class Held(Exception):
    """A canary is held: it keeps its share, and no command drives it. The text says why, and how it goes on."""


class Undone(Exception):
    """A release failed and was undone. The text says what serves now.

    cause: why the release failed. complete: whether it could be undone completely. If not, the next run goes on.
    """

    def __init__(self, words: str, cause: NotReady | ClusterError | Rejected, complete: bool = True):
        super().__init__(words)
        self.cause, self.complete = cause, complete


@dataclass(frozen=True)
class ReleaseRequest:
    """A release to make. items: its objects, in the order of their apply. note, origin, override: as in history's Release."""

    items: Sequence[Item]
    version: str
    image: str
    note: str = ""
    origin: int = 0
    override: str = ""


Make = Callable[[Target, History, ReleaseRequest, Lease, Say], Release]


@dataclass(frozen=True)
class ReleaseResult:
    """The release that serves after a request. unchanged: it served completely before, so that no other was made."""

    release: Release
    unchanged: bool = False


def release(target: Target, request: ReleaseRequest, say: Say, how: Make | None = None) -> ReleaseResult:
    """Make a release, unless the last release has the very same objects and all of it serves.

    how: makes it after its preflight; None for `make`. A canary that is not at its end is taken back first.
    Raises NameTaken, Blocked, Busy, UnreadableHistory, ClusterError where nothing was changed; Undone where the release was
    undone; LeaseLost, Unreachable and BadCredentials where the next run goes on.
    """
    return _release(target, lambda found: replace(request, items=with_restart(request.items, found)), say, how or make)


def with_restart(items: Sequence[Item], found: History) -> list[Item]:
    """Return a release's objects with the time of the last restart, so that they alone replace no pods."""
    kept = found.objects[found.good.number] if found.good else ()
    times = {ref(each): _annotations(each).get(RESTARTED_AT) for each in kept if each["kind"] == "Deployment"}
    return [_restarted(each, at) if (at := times.get(ref(each))) else each for each in items]


def restart(target: Target, say: Say) -> ReleaseResult:
    """Replace all pods of the release that serves, with all the steps of a release. Raises as `release` does, and NoRelease.

    A canary and a release that was broken off raise Blocked: they come to their end first.
    """

    def choose(found: History) -> ReleaseRequest:
        good, last = found.good, found.last
        if good is None or last is None:
            raise NoRelease(f"{target.namespace}/{target.service} has no good release to restart")
        if last.state == BEGUN:
            what, cure = ("canary of", "deploy --continue") if last.canary else ("change to", "deploy")
            words = f"the {what} {last.version or 'nothing'} has not come to its end"
            raise Blocked(f"{words}; run {cure} or rollback, and restart then")
        now = utc_now()
        items = [_restarted(each, now) if each["kind"] == "Deployment" else each for each in found.objects[good.number]]
        return ReleaseRequest(items, good.version, good.image, "restarted", good.position, good.override)

    return _release(target, choose, say, make)


def evict(target: Target, name: str) -> None:
    """Have one pod of a track ended, for which its Deployment begins another.

    Raises NoRelease where the track has no such pod, Blocked where no sibling is ready to answer meanwhile, ClusterError.
    """
    names = (*target.names, *target.arms)
    pods = target.cluster.find("Pod", target.namespace, f"{DEPLOYMENT_LABEL} in ({','.join(names)})")
    by_name = {each["metadata"]["name"]: each for each in pods if is_staying(each)}
    if (pod := by_name.get(name)) is None:
        raise NoRelease(f"{target.namespace}/{target.service} has no pod {name}; there are {', '.join(by_name) or 'none'}")
    own = pod["metadata"]["labels"][DEPLOYMENT_LABEL]
    others = (each for each in by_name.values() if each is not pod and each["metadata"]["labels"][DEPLOYMENT_LABEL] == own)
    if not any(map(is_ready, others)):
        raise Blocked(f"no other pod of {own} is ready, so nothing would answer; `monopod restart` begins a new pod first")
    target.cluster.evict(Ref("Pod", target.namespace, name))


def _restarted(deployment: Item, at: str) -> Item:
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "annotations": {**_annotations(deployment), RESTARTED_AT: at}}
    return {**deployment, "spec": {**deployment["spec"], "template": {**template, "metadata": metadata}}}


def _annotations(deployment: Item) -> dict[str, str]:
    return dict(deployment["spec"]["template"]["metadata"].get("annotations") or {})


def roll_back(target: Target, say: Say, check_image: Callable[[str], None], to: str = "") -> ReleaseResult:
    """Return to the good release before the one that serves, or to a version. Raises as `release` does, and NoRelease.

    check_image: called with the older release's image before anything is changed; it raises where the image is gone.
    """

    def choose(found: History) -> ReleaseRequest:
        older = found.rollback_release(to)
        if older is None:
            raise NoRelease(f"{target.namespace}/{target.service} has {no_release_message(found, to)}")
        check_image(older.image)
        say(f"returning to {older.version_beside(found.good)}, deployed at {older.at}")
        note = rollback_note(found, older)
        return ReleaseRequest(found.objects[older.number], older.version, older.image, note, older.position)

    return _release(target, choose, say, make)


def stop(target: Target, say: Say) -> None:
    """Remove a track: the objects of its releases, and its history last. Returns when all of it is gone.

    Raises NoRelease, NameTaken, Busy, Blocked, ClusterError.
    """
    with hold_lease(target, say) as lease:
        found = preflight.load_history(target, utc_now())
        if found.last is None:
            raise NoRelease(f"{target.namespace}/{target.service} is not there: there is no release of it")
        check_holder(target, found)
        # From here on no release is good: a deploy that fails later must not return to one whose objects are partly removed.
        end = Release(found.last.number + 1, "", "", utc_now(), target.by, BEGUN, "stop", 0, found.inventory)
        kept = save(target, replace(found, releases=(end,), objects={}), lease)
        if stuck := remove(target, tuple(reversed(kept.inventory)), lease, say):
            raise Blocked(stuck_message(stuck))
        lease.retry(target.cluster.delete, target.history)


def _release(target: Target, choose: Callable[[History], ReleaseRequest], say: Say, how: Make) -> ReleaseResult:
    with hold_lease(target, say) as lease:
        found = preflight.load_history(target, utc_now())
        check_holder(target, found)
        before = preflight.settle_interrupted(target, found)
        request = choose(before)
        if not _changes_holder(target, before) and preflight.serves_already(target, before, request.items):
            if before is not found:  # it was broken off, and counts as good from now on
                save(target, before, lease)
            assert before.last is not None
            return ReleaseResult(before.last, unchanged=True)
        before = _without_canary(target, before, lease, say)
        if before.last and before.last.state == BEGUN:
            say(f"the change to {before.last.version or 'nothing'} was broken off; going on from what it left")
        preflight.check_applicable(target, request.items, before, say)
        return ReleaseResult(how(target, before, request, lease, say))


def _without_canary(target: Target, found: History, lease: Lease, say: Say) -> History:
    if not (found.last and found.last.state == BEGUN and found.last.canary and found.good):
        return found
    say(f"a canary of {found.last.version} has not come to its end, and is taken back first")
    counts = live_counts(target, found.objects[found.good.number], lease)
    _return_to(target, found, found.good, counts, lease, say)
    return histories.read(lease.retry(target.cluster.get, target.history))


def make(target: Target, before: History, request: ReleaseRequest, lease: Lease, say: Say) -> Release:
    """Make a release that passed its preflight, or undo it. Raises Undone, Blocked, LeaseLost, Unreachable, BadCredentials."""
    counts = live_counts(target, request.items, lease)
    kept = save(target, begun(target, before, request), lease)
    try:
        applied = apply(target, replicas.with_at_least(request.items, counts), lease, say)
        wait_all_ready(target, request.items, target.pod_timeout, say)
        check_gateway(target, request, say)
        scale_all_down(target, kept.inventory, request.items, lease, say)
    except CANNOT_UNDO:
        raise
    except (NotReady, ClusterError) as cause:
        raise undo(target, kept, counts, cause, lease, say) from cause
    return end_good(target, kept, applied, lease, say)


def hold_lease(target: Target, say: Say) -> AbstractContextManager[Lease]:
    return hold(target.cluster, target.namespace, histories.object_name(target.service), target.by, target.wait, say)


def end_good(target: Target, kept: History, applied: Sequence[Ref], lease: Lease, say: Say) -> Release:
    """Remove the objects that a release no longer has, and note that it is good. Raises Blocked where an object stays."""
    stuck = remove_dropped(target, kept.inventory, applied, lease, say)
    good = save(target, kept.end(GOOD, (*applied, *(each.ref for each in stuck))), lease).last
    assert good is not None
    if stuck:  # the next release has them in its inventory, and waits for them again
        raise Blocked(f"{good.version} serves, but {stuck_message(stuck)}")
    return good


def _changes_holder(target: Target, found: History) -> bool:
    return target.holder is not None and not (found.holder and found.holder.is_same(target.holder))


def check_holder(target: Target, found: History) -> None:
    """Raise NameTaken where the name belongs to another holder, and is not taken over."""
    if target.holder and found.holder and not target.take_over and not found.holder.is_same(target.holder):
        raise NameTaken(
            f"{target.namespace}/{target.service} belongs to {found.holder} since {found.holder.since}; this is "
            f"{target.holder}: take another service_name, have it stopped there first (monopod stop), or take it over "
            "with --take-over"
        )


def begun(target: Target, before: History, request: ReleaseRequest) -> History:
    number = before.last.number + 1 if before.last else 1
    fresh = Release(
        number,
        request.version,
        request.image,
        utc_now(),
        target.by,
        note=request.note,
        origin=request.origin,
        inventory=tuple(map(ref, request.items)),
        override=request.override,
    )
    ours = before.holder and target.holder and before.holder.is_same(target.holder)
    holder = before.holder if ours else target.holder or before.holder
    return replace(before.begin(fresh, list(request.items)), holder=holder)


def check_gateway(target: Target, request: ReleaseRequest, say: Say) -> None:
    if target.deployment not in deployments(request.items):
        say("ready, as Kubernetes says; offline pods answer at no gateway")
    elif target.gateway:
        wait_for_gateway(target.gateway, (request.version, digest_of(request.image)), say)
    else:
        say("ready, as Kubernetes says; this region's gateway is not checked (no way_in in regions.yaml)")


def undo(
    target: Target, kept: History, counts: Mapping[str, int], cause: NotReady | ClusterError | Rejected, lease: Lease, say: Say
) -> Undone:
    """Undo the last release, which failed, and return the error to raise. counts: the pods before it, by Deployment."""
    if isinstance(cause, ClusterError):
        say(str(cause))
    try:
        good = kept.good
        words = _return_to(target, kept, good, counts, lease, say) if good else _remove_first(target, kept, lease, say)
        return Undone(words, cause)
    except (ClusterError, LeaseLost) as error:
        words = f"it could not be undone ({error}); run deploy or rollback again, which goes on from what is there"
        return Undone(words, cause, complete=False)


def _remove_first(target: Target, kept: History, lease: Lease, say: Say) -> str:
    say("it is the first release: taking it away")
    stuck = remove(target, tuple(reversed(kept.inventory)), lease, say, drain=False)
    save(target, kept.end(UNDONE, tuple(each.ref for each in stuck)), lease)
    return f"it was the first release and was taken away; nothing serves{stuck_clause(stuck)}"


def _return_to(target: Target, kept: History, good: Release, counts: Mapping[str, int], lease: Lease, say: Say) -> str:
    """Replace the last release, which failed, by the good one, and return what serves now, in words."""
    name = good.version_beside(kept.last)
    say(f"returning to {name}")
    items = kept.objects[good.number]
    back = apply(target, replicas.with_exactly(items, counts), lease, say)
    stuck = remove_dropped(target, kept.inventory, back, lease, say)
    words = f"{name} serves, as before"
    try:
        wait_all_ready(target, items, max(target.pod_timeout, UNDO_SECONDS), say)
    except NotReady as again:
        words = f"{name} was applied again and is not ready either: {again}"
    save(target, kept.end(UNDONE, (*back, *(each.ref for each in stuck))), lease)
    return words + stuck_clause(stuck)


def save(target: Target, history: History, lease: Lease) -> History:
    """Write the history, again where somebody deleted it, and return it. Raises LeaseLost where another deploy wrote it."""
    item = histories.write(history, target.service, target.namespace)
    write = target.cluster.replace if history.resource_version else target.cluster.create
    try:
        kept = lease.retry(write, item)
    except ClusterError as error:
        if error.status == NOT_FOUND and history.resource_version:
            return save(target, replace(history, resource_version=""), lease)
        found = target.cluster.get(target.history) if error.status == CONFLICT else None
        if found is None:
            raise
        if found.get("data") != item["data"]:
            words = "another deploy has written the history; `monopod status` shows what runs; then run it again"
            raise LeaseLost(words) from error
        kept = found  # this very run wrote it: only the answer was lost
    return replace(history, resource_version=kept["metadata"]["resourceVersion"])


def apply(target: Target, items: Sequence[Item], lease: Lease, say: Say) -> tuple[Ref, ...]:
    """Apply all objects in their order, and return their references."""
    applied = []
    for item in items:
        if item["kind"] == "Deployment":
            live = lease.retry(target.cluster.get, ref(item))
            step = replicas.apply_step(item, live, items)
            if step.first:
                lease.retry(target.cluster.apply, step.first, manager=replicas.REPLICAS_MANAGER)
            item = step.item
        if item["kind"] == AUTOSCALER:
            free_autoscaler(target, ref(item), lease, say)
        applied.append(ref(lease.retry(target.cluster.apply, item)))
    return tuple(applied)


def live_counts(target: Target, items: Sequence[Item], lease: Lease) -> dict[str, int]:
    """Return how many pods each Deployment of a release is to have now, by its name, without those that are not there."""
    live = {each.name: lease.retry(target.cluster.get, each) for each in deployments(items)}
    return {name: item["spec"].get("replicas", 1) for name, item in live.items() if item}


def wait_all_ready(
    target: Target, items: Sequence[Item], seconds: float, say: Say, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Wait for one Deployment after another. seconds: until one more pod is ready. Raises as `wait_ready` does."""
    for each in deployments(items):
        wait_ready(target.cluster, each, seconds, _named(target, each, say), meanwhile)


def _named(target: Target, deployment: Ref, say: Say) -> Say:
    return say if deployment.name == target.service else lambda words: say(f"{deployment.name}: {words}")


def scale_all_down(target: Target, inventory: Sequence[Ref], items: Sequence[Item], lease: Lease, say: Say) -> None:
    """Bring the pods that were there down to the number that the release says."""
    for item in (each for each in items if each["kind"] == "Deployment"):
        step = replicas.scale_down_step(item, lease.retry(target.cluster.get, ref(item)), inventory)
        if step:
            _named(target, ref(item), say)(step.words)
            lease.retry(target.cluster.apply, step.item)
            wait_ready(target.cluster, ref(item), target.pod_timeout, lambda _: None)
