"""Objects taken away: deleted, waited for until they are really gone, and what holds those that stay.

Knows what may be deleted, and how long it is waited for. Does not know releases.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Ref
from conf.rollout.finalizers import SEE_TO_IT, held_by
from conf.rollout.lease import Lease
from conf.rollout.preflight import drain_seconds, is_ours
from conf.rollout.readiness import PERIOD
from conf.rollout.targets import Target

Say = Callable[[str], None]


@dataclass(frozen=True)
class StuckObject:
    """An object that was deleted and is still there. words: for how long it was waited, and what holds it."""

    ref: Ref
    words: str


def remove(target: Target, refs: Sequence[Ref], mine: Lease, say: Say, *, drain: bool = True) -> tuple[StuckObject, ...]:
    """Delete objects of older releases: only the very ones that are ours, and that nothing else owns. Return those that stay.

    All are deleted first, in their order, and then waited for. drain: whether the pods of a Deployment are waited for, too.
    Raises LeaseLost, ClusterError.
    """
    marked = [found for each in refs if (found := _marked(target, each, mine, say))]
    begin, waited_for = time.monotonic(), [each for each in marked if drain or each.kind != "Deployment"]
    return tuple(stays for each in waited_for if (stays := _staying(target, each, begin, mine, say)))


def stuck_message(staying: Sequence[StuckObject]) -> str:
    """Return what holds objects, and what to do."""
    return f"{'; '.join(each.words for each in staying)}; {SEE_TO_IT}"


def stuck_clause(staying: Sequence[StuckObject]) -> str:
    """Return the same as the end of a sentence; "" where none stays."""
    return f", but {stuck_message(staying)}" if staying else ""


def _marked(target: Target, each: Ref, mine: Lease, say: Say) -> Ref | None:
    """Delete an object; return it with its uid where it may still be there, None where it is gone or is to stay."""
    live = mine.steadily(target.cluster.get, each)
    if live is None:
        return None
    very = replace(each, uid=live["metadata"]["uid"])
    marked = "deletionTimestamp" in live["metadata"]
    if not is_ours(live) or each.uid not in ("", very.uid):
        if not marked:
            say(f"left alone, since it is another's by now: {each}")
        return None
    answer = live if marked else mine.steadily(target.cluster.delete, very)
    if answer and "deletionTimestamp" in answer.get("metadata", {}):
        return very
    if answer:
        say(f"removed {each}")
    return None


def _staying(target: Target, each: Ref, begin: float, mine: Lease, say: Say) -> StuckObject | None:
    """Wait until an object is gone, and return what holds it after its time; None where it went. begin: when it was deleted."""
    said = False
    while (live := mine.steadily(target.cluster.get, each)) and live["metadata"]["uid"] == each.uid:
        seconds = drain_seconds(target, live) if each.kind == "Deployment" else target.removal_timeout
        if time.monotonic() > begin + seconds:
            return StuckObject(each, f"{each} is deleted and still there after {seconds:.0f} s, {held_by(live)}")
        if not said:
            say(f"waiting until {each} is gone")
            said = True
        time.sleep(PERIOD)
    say(f"removed {each}")
    return None
