"""A canary is begun, or goes on: what must hold before, and the record of it in the history.

Knows when a release has nothing to be compared with. Does not know what a canary's steps do.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Item, deployments, dropped, ref
from conf.base.quantities import counted, significant
from conf.observe.prometheus import NoFigures
from conf.render.arms import BASELINE, CANARY, arm_items, arm_names, canary_watch, is_arm
from conf.rollout import preflight
from conf.rollout.canary.decision import Rules
from conf.rollout.canary.driver import Driver, Tools, with_canary
from conf.rollout.canary.journal import Journal
from conf.rollout.canary.judge import Judge, Outlook
from conf.rollout.canary.state import HELD, JUDGING, Canary, canary_of
from conf.rollout.changes import save
from conf.rollout.history import BEGUN, History, Release, utc_now
from conf.rollout.lease import Lease
from conf.rollout.readiness import running_pods
from conf.rollout.release import (
    NoRelease,
    ReleaseRequest,
    ReleaseResult,
    begun,
    check_holder,
    hold_lease,
    make,
    release,
)
from conf.rollout.targets import Blocked, Say, Target


@dataclass(frozen=True)
class Order:
    """A canary to drive. shares: of the requests, in percent, a step each; () where it goes on."""

    shares: tuple[int, ...]
    rules: Rules
    judge: Judge
    journal: Journal

    @property
    def tools(self) -> Tools:
        return Tools(self.rules, self.judge, self.journal)


def release_by_canary(target: Target, request: ReleaseRequest, order: Order, say: Say) -> ReleaseResult:
    """Make a release in steps, unless the last one has the very same objects. Raises as `release` does, and Held."""

    def how(there: Target, before: History, asked: ReleaseRequest, lease: Lease, tell: Say) -> Release:
        return _make(there, before, asked, order, lease, tell)

    return release(target, request, say, how)


def go_on(target: Target, order: Order, say: Say) -> ReleaseResult:
    """Resume a canary that was held or broken off, or the end of its release.

    The time of the step begins again; its counts go on from where they began. Raises NoRelease where there is none, and as
    `release_by_canary` does.
    """
    with hold_lease(target, say) as lease:
        found = preflight.load_history(target, utc_now())
        check_holder(target, found)
        last, canary = found.last, canary_of(found.last)
        if last is None or last.state != BEGUN:
            raise NoRelease(f"{target.namespace}/{target.service} has no canary to go on with")
        if canary is None or found.good is None:
            say(f"the change to {last.version} was broken off; going on from what it left")
            request = ReleaseRequest(found.objects[last.number], last.version, last.image, last.note, last.origin)
            return ReleaseResult(make(target, found, request, lease, say))
        order.journal.version, order.journal.old_version = last.version, found.good.version
        if canary.phase in (HELD, JUDGING):
            canary = replace(canary, phase=JUDGING, since=time.time())
        driven = f"{time.time() - canary.driven_at:.0f} s ago" if canary.driven_at else "never"
        order.journal.telling(say)(f"going on with the canary of {last.version} at {canary.share} %, which was driven {driven}")
        kept = save(target, with_canary(found, replace(canary, driven_at=time.time())), lease)
        return ReleaseResult(Driver(target, kept, canary, order.tools, lease, say).drive())


def _make(target: Target, before: History, request: ReleaseRequest, order: Order, lease: Lease, say: Say) -> Release:
    """Begin a canary and drive it; make an ordinary release where nothing serves that it can be compared with."""
    pods = sum(running_pods(target.cluster, target.namespace, [target.service]).versions.values())
    if before.good is None or not pods or target.deployment not in deployments(request.items):
        say("no canary: there are no ready pods of an older release to compare with")
        return make(target, before, request, lease, say)
    old = before.objects[before.good.number]
    if target.deployment not in deployments(old):
        say("no canary: the release before has no online pods to compare with")
        return make(target, before, request, lease, say)
    order.journal.version, order.journal.old_version = request.version, before.good.version
    tell = order.journal.telling(say)
    try:
        edges, source = order.judge.edges()
        canary = Canary(order.shares, pods, edges=edges, driven_at=time.time())
        outlook = order.judge.outlook(canary)
    except NoFigures as error:
        raise Blocked(f"nothing could be judged, so no canary is begun: {error}") from error
    for line in _plan_lines(request, before, canary, source, order.rules, outlook):
        tell(line)
    items = [*arm_items(request.items, target.service, CANARY, 2), *arm_items(old, target.service, BASELINE, 2)]
    items.append(canary_watch(request.items, target.service, time.time(), "begun"))
    _check_names(target, items)
    preflight.check_applicable(target, items, before, say)
    kept = save(target, _with_arms(begun(target, before, request), items, canary), lease)
    return Driver(target, kept, canary, order.tools, lease, say).drive()


def _with_arms(history: History, items: Sequence[Item], canary: Canary) -> History:
    """Return the history in which the last release, which is begun, has its arms' objects and its canary's state.

    The arms stand in the reverse order of their apply, so that pods end before what leads to them.
    """
    assert history.last is not None
    arms = dropped(tuple(map(ref, reversed(items))), history.last.inventory)
    last = replace(history.last, inventory=(*history.last.inventory, *arms))
    return with_canary(replace(history, releases=(*history.releases[:-1], last)), canary)


def _check_names(target: Target, items: Sequence[Item]) -> None:
    """Raise Blocked where another service has an arm's name."""
    for each in map(ref, items):
        live = target.cluster.get(each)
        if live is not None and not is_arm(live, target.service):
            raise Blocked(
                f"{each} is there already and is of another service, so there can be no canary: the names "
                f"{' and '.join(arm_names(target.service))} must be free"
            )


def _plan_lines(
    request: ReleaseRequest, before: History, canary: Canary, source: str, rules: Rules, outlook: Outlook
) -> list[str]:
    """Return what is going to happen, in words."""
    assert before.good is not None
    steps = ", ".join(f"{share} %" for share in canary.shares)
    lines = [
        f"canary of {request.version} beside {before.good.version}, which has "
        f"{counted(canary.pods, 'ready pod')}: {steps}, each for {rules.step_seconds:.0f} s at most; "
        f"counts are from {source}"
    ]
    lines.append(
        f"at the present {significant(outlook.rate)} requests a second, 1 % more errors would be found after about: "
        f"{_times(canary, outlook.found)}; a version without a change would be good after about: {_times(canary, outlook.good)}"
    )
    if short := _too_long(canary, outlook.found, rules):
        lines.append(f"a step of {rules.step_seconds:.0f} s is too short to find 1 % more errors at {short}")
    if short := _too_long(canary, outlook.good, rules):
        undecided = f"such a step ends undecided, and canary_undecided is {rules.undecided!r}"
        lines.append(f"a step of {rules.step_seconds:.0f} s is too short for the verdict good at {short}: {undecided}")
    if not canary.edges:
        lines.append("latency is not judged: the old pods have answered nothing yet by which to choose bounds")
    return lines


def _times(canary: Canary, seconds: Sequence[float]) -> str:
    return ", ".join(f"{share} %: {_words(each)}" for share, each in zip(canary.shares, seconds, strict=True))


def _too_long(canary: Canary, seconds: Sequence[float], rules: Rules) -> str:
    """Return the steps that are shorter than that, in words."""
    return ", ".join(f"{share} %" for share, each in zip(canary.shares, seconds, strict=True) if each > rules.step_seconds)


def _words(seconds: float) -> str:
    """Return a time for people."""
    if not math.isfinite(seconds):
        return "never"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
