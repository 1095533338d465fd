"""Removes objects: deletes them, waits until they are gone, and tells which finalizers hold those that stay.

An autoscaler changes hands without a gap: KEDA takes over the HorizontalPodAutoscaler of a ScaledObject's name, by the
annotation transfer-hpa-ownership. When the ScaledObject goes and the HorizontalPodAutoscaler comes back, it is freed first,
since Kubernetes deletes what a deleted object owns. Both times it is the same object all the while. So the Deployment always
has one autoscaler, which knows what the last minutes needed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Item, Ref, dropped
from conf.rollout.field_owners import is_ours
from conf.rollout.lease import Lease
from conf.rollout.readiness import POLL_SECONDS
from conf.rollout.targets import Blocked, Say, Target

END_PAUSE = 1.0  # seconds for proxies to learn that requests go elsewhere, before what they went to is deleted
DELETION_MARGIN = 30  # seconds from the end of a Deployment's pods to the end of the Deployment
# Finalizer -> who takes it off. Sources: KEDA's and Kubernetes' documentation.
TAKEN_OFF_BY = {
    "finalizer.keda.sh": "KEDA's operator",
    "foregroundDeletion": "Kubernetes once its pods are gone, which may have finalizers of their own",
    "service.kubernetes.io/load-balancer-cleanup": "the controller of load balancers",
}
AUTOSCALER, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
FINALIZER_CURE = "check that the controller is running, then run this command again"


@dataclass(frozen=True)
class StuckObject:
    """An object that was deleted and is still there. words: how long it was waited for, and its finalizers."""

    ref: Ref
    words: str


def remove(
    target: Target,
    refs: Sequence[Ref],
    lease: Lease,
    say: Say,
    meanwhile: Callable[[], None] = lambda: None,
    *,
    drain: bool = True,
    alone: bool = False,
) -> tuple[StuckObject, ...]:
    """Delete objects of older releases, and return those that stay. Only objects that are ours, and not replaced, are deleted.

    All are deleted first, in their order, and then waited for. drain: whether the pods of a Deployment are waited for, too.
    alone: whether the objects that they own stay. meanwhile: called between two looks. Raises LeaseLost, ClusterError.
    """
    deleted = [found for each in refs if (found := _delete(target, each, alone, lease, say))]
    begin, waited_for = time.monotonic(), [each for each in deleted if drain or each.kind != "Deployment"]
    return tuple(stuck for each in waited_for if (stuck := _wait_until_gone(target, each, begin, lease, say, meanwhile)))


def remove_dropped(
    target: Target, inventory: Sequence[Ref], applied: Sequence[Ref], lease: Lease, say: Say
) -> tuple[StuckObject, ...]:
    """Remove the objects of older releases that are not among the applied ones, and return those that stay, as `remove` does.

    An autoscaler of an applied ScaledObject's name is not deleted, because KEDA takes it over: that is waited for. A proxy that
    is told of a new route and of the end of the old one's Service at once answers 503 in between, so a Service goes later.
    """
    gone = dropped(inventory, applied)
    heirs = {each.name for each in applied if each.kind == SCALED_OBJECT}
    handed = [each for each in gone if each.kind == AUTOSCALER and each.name in heirs]
    kept = {each.name for each in applied if each.kind == AUTOSCALER}
    freed = [each for each in gone if each.kind == SCALED_OBJECT and each.name in kept]
    others = [each for each in gone if each not in handed and each not in freed]
    if any(each.kind == "Service" for each in others):
        time.sleep(END_PAUSE)
    stuck = tuple(found for each in handed if (found := _wait_until_taken_over(target, each, lease, say)))
    return (*stuck, *remove(target, freed, lease, say, alone=True), *remove(target, others, lease, say))


def free_autoscaler(target: Target, each: Ref, lease: Lease, say: Say) -> None:
    """Free an autoscaler from the ScaledObject that owns it, which is removed, so that it can be applied.

    Raises Blocked where KEDA does not let the ScaledObject go; LeaseLost, ClusterError.
    """
    owner = _owner(lease.retry(target.cluster.get, each))
    if owner and (stuck := remove(target, [replace(each, kind=SCALED_OBJECT, name=owner)], lease, say, alone=True)):
        raise Blocked(stuck_message(stuck))


def stuck_message(stuck: Sequence[StuckObject]) -> str:
    return f"{'; '.join(each.words for each in stuck)}; {FINALIZER_CURE}"


def stuck_clause(stuck: Sequence[StuckObject]) -> str:
    """Return stuck_message as the end of a sentence; "" where no object stays."""
    return f", but {stuck_message(stuck)}" if stuck else ""


def drain_seconds(target: Target, item: Item) -> float:
    """Return how many seconds to wait for an object that is being deleted: at least until its pods must have ended."""
    pod = item.get("spec", {}).get("template", {}).get("spec", {})
    return max(target.pod_timeout, float(pod.get("terminationGracePeriodSeconds", 0)) + DELETION_MARGIN)


def held_by(item: Item) -> str:
    """Return the finalizers that hold an object after its deletion, each with who takes it off, as the end of a sentence."""
    finalizers = item["metadata"].get("finalizers", [])
    owners = [TAKEN_OFF_BY.get(each) or f"the controller of {each.partition('/')[0]}" for each in finalizers]
    found = [f"{each} (taken off by {owner})" for each, owner in zip(finalizers, owners, strict=True)]
    return f"held by its finalizer{'s' if len(found) > 1 else ''} {' and '.join(found)}" if found else "held by no finalizer"


def _delete(target: Target, each: Ref, alone: bool, lease: Lease, say: Say) -> Ref | None:
    """Delete an object. Return it with its uid where it may still be there; None where it is gone, or is not ours."""
    live = lease.retry(target.cluster.get, each)
    if live is None:
        return None
    found = replace(each, uid=live["metadata"]["uid"])
    is_deleted = "deletionTimestamp" in live["metadata"]
    if not is_ours(live) or each.uid not in ("", found.uid):
        if not is_deleted:
            say(f"not deleted, because it belongs to somebody else now: {each}")
        return None
    answer = live if is_deleted else lease.retry(target.cluster.delete, found, alone=alone)
    if answer and "deletionTimestamp" in answer.get("metadata", {}):
        return found
    if answer:
        say(f"removed {each}")
    return None


def _wait_until_gone(
    target: Target, each: Ref, begin: float, lease: Lease, say: Say, meanwhile: Callable[[], None]
) -> StuckObject | None:
    """Wait until a deleted object is gone; return it where it stays too long. begin: the time.monotonic of its deletion."""
    told = False
    while (live := lease.retry(target.cluster.get, each)) and live["metadata"]["uid"] == each.uid:
        seconds = drain_seconds(target, live) if each.kind == "Deployment" else target.removal_timeout
        if time.monotonic() > begin + seconds:
            return StuckObject(each, f"{each} is deleted and still there after {seconds:.0f} s, {held_by(live)}")
        if not told:
            say(f"waiting until {each} is gone")
            told = True
        time.sleep(POLL_SECONDS)
        meanwhile()
    say(f"removed {each}")
    return None


def _owner(live: Item | None) -> str:
    owners = live["metadata"].get("ownerReferences", []) if live else []
    return next((str(each["name"]) for each in owners if each["kind"] == SCALED_OBJECT), "")


def _wait_until_taken_over(target: Target, each: Ref, lease: Lease, say: Say) -> StuckObject | None:
    """Wait until KEDA owns an autoscaler; return it where KEDA does not come. Meanwhile it scales as before."""
    begin = time.monotonic()
    while (live := lease.retry(target.cluster.get, each)) and not _owner(live):
        if time.monotonic() > begin + target.removal_timeout:
            seconds = f"{target.removal_timeout:.0f} s"
            return StuckObject(each, f"{each} scales as before, because KEDA's operator has not taken it over within {seconds}")
        time.sleep(POLL_SECONDS)
    say(f"{each} is KEDA's from now on")
    return None
