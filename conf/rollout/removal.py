"""Objects are removed: deleted, waited for until they are gone, and reported with their finalizers where they stay.

Knows which objects may be deleted, how long to wait, and who takes off which finalizer. Does not know releases.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Item, Ref
from conf.rollout.field_owners import is_ours
from conf.rollout.lease import Lease
from conf.rollout.readiness import POLL_SECONDS
from conf.rollout.targets import Say, Target

DELETION_MARGIN = 30  # seconds from the end of a Deployment's pods to the end of the Deployment
# Finalizer -> who takes it off. Sources: KEDA's and Kubernetes' documentation.
TAKEN_OFF_BY = {
    "finalizer.keda.sh": "KEDA's operator",
    "foregroundDeletion": "Kubernetes once its pods are gone, which may have finalizers of their own",
    "service.kubernetes.io/load-balancer-cleanup": "the controller of load balancers",
}
FINALIZER_CURE = "check that the controller that takes it off is running, then run this command again"


@dataclass(frozen=True)
class StuckObject:
    """An object that was deleted and is still there. words: how long it was waited for, and its finalizers."""

    ref: Ref
    words: str


def remove(target: Target, refs: Sequence[Ref], lease: Lease, say: Say, *, drain: bool = True) -> tuple[StuckObject, ...]:
    """Delete objects of older releases, and return those that stay. Only objects that are ours, and not replaced, are deleted.

    All are deleted first, in their order, and then waited for. drain: whether the pods of a Deployment are waited for, too.
    Raises LeaseLost, ClusterError.
    """
    deleted = [found for each in refs if (found := _delete(target, each, lease, say))]
    begin, waited_for = time.monotonic(), [each for each in deleted if drain or each.kind != "Deployment"]
    return tuple(stuck for each in waited_for if (stuck := _wait_until_gone(target, each, begin, lease, say)))


def stuck_message(stuck: Sequence[StuckObject]) -> str:
    """Return which finalizers hold objects, and what to do."""
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
    found = [f"{each} (taken off by {_taken_off_by(each)})" for each in item["metadata"].get("finalizers", [])]
    return f"held by its finalizer{'s' if len(found) > 1 else ''} {' and '.join(found)}" if found else "held by no finalizer"


def _taken_off_by(finalizer: str) -> str:
    return TAKEN_OFF_BY.get(finalizer) or f"the controller of {finalizer.partition('/')[0]}"


def _delete(target: Target, each: Ref, lease: Lease, say: Say) -> Ref | None:
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
    answer = live if is_deleted else lease.retry(target.cluster.delete, found)
    if answer and "deletionTimestamp" in answer.get("metadata", {}):
        return found
    if answer:
        say(f"removed {each}")
    return None


def _wait_until_gone(target: Target, each: Ref, begin: float, lease: Lease, say: Say) -> StuckObject | None:
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
    say(f"removed {each}")
    return None
