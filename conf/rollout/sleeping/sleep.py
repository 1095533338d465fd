"""A track is put to sleep, and woken.

    sleep: lease -> history written -> the release's objects applied without pods and alerts
    wake:  lease -> the release's objects applied as they are -> wait -> history written

Knows the order, and what must hold when a command breaks off anywhere. The history says that a track sleeps from before its
pods go until they are back. Both commands may be run again. Does not know which track sleeps, nor regions.
"""

from dataclasses import dataclass, replace

from conf.rollout import preflight, replicas
from conf.rollout.changes import apply, save, wait_all_ready
from conf.rollout.history import BEGUN, History, Release, utc_now
from conf.rollout.lease import Lease
from conf.rollout.release import NoRelease, check_holder, hold_lease
from conf.rollout.sleeping.due import AT_ONCE, awake_words
from conf.rollout.targets import Blocked, Say, Target


@dataclass(frozen=True)
class Slept:
    """The release of a track after `sleep` or `wake`. words: why the command left it as it was, "" where it did not."""

    release: Release
    words: str = ""


def put_to_sleep(target: Target, say: Say, days: int = AT_ONCE) -> Slept:
    """Put a track to sleep. days: only after as many without a deploy or a wake, AT_ONCE for none.

    Raises NoRelease, Blocked, NameTaken, Busy, UnreadableHistory, LeaseLost, ClusterError.
    """
    with hold_lease(target, say) as lease:
        found, good = _good(target)
        if words := awake_words(good, days, utc_now()):
            return Slept(good, words)
        asleep = good if good.asleep else replace(good, asleep=utc_now())
        if not good.asleep:
            _note(target, found, asleep, lease)
        apply(target, replicas.sleeping(found.objects[good.number]), lease, say)
        return Slept(asleep, f"since {asleep.asleep}" if good.asleep else "")


def wake(target: Target, say: Say) -> Slept:
    """Wake a track, and return when all its pods are ready. Raises as `put_to_sleep` does, and NotReady."""
    with hold_lease(target, say) as lease:
        found, good = _good(target)
        if not good.asleep:
            return Slept(good, "it does not sleep")
        items = found.objects[good.number]
        apply(target, items, lease, say)
        wait_all_ready(target, items, target.pod_timeout, say)
        awake = replace(good, asleep="", woken=utc_now())
        _note(target, found, awake, lease)
        return Slept(awake)


def _good(target: Target) -> tuple[History, Release]:
    """Return the history and its good release. Raises NoRelease, Blocked, NameTaken."""
    found = preflight.load_history(target, utc_now())
    check_holder(target, found)
    if found.good is None:
        raise NoRelease(f"{target.namespace}/{target.service} has no good release: `monopod deploy --track grey` makes one")
    if found.last and found.last.state == BEGUN:
        raise Blocked(f"the change to {found.last.version or 'nothing'} was broken off: run deploy, rollback or stop first")
    return found, found.good


def _note(target: Target, found: History, release: Release, lease: Lease) -> None:
    releases = tuple(release if each.number == release.number else each for each in found.releases)
    save(target, replace(found, releases=releases), lease)
