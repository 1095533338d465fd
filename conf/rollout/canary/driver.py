"""A canary is begun once Prometheus knows its pods, and driven: one action of its state after another, until its end or a hold.

    pods of both arms ready -> shares -> judged -> ... -> the canary carries all -> the ordinary release -> arms removed -> good

The order holds wherever a command breaks off: the inventory is written before the first object, capacity comes before a share,
and the phase is written before its actions. Each action may be repeated, so a driver that was killed is followed by one that
begins the present phase again.

Concurrency: the lease keeps this driver the only one. One thread decides and writes, and looks at the arms' pods every
LOOK_SECONDS, also while it waits for a Deployment. conf.rollout.canary.judge has the second thread.
"""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Item, Ref, deployments, dropped, ref
from conf.base.quantities import counted, significant
from conf.observe.prometheus import NoFigures
from conf.remote.cluster import ClusterError
from conf.render.arms import (
    BASELINE,
    CANARY,
    ROUTE_KINDS,
    WATCH_SECONDS,
    arm_items,
    arm_names,
    arm_shares,
    canary_watch,
    is_arm,
    kept_from_scaling_in,
    weighted,
)
from conf.rollout import diagnosis, preflight, replicas
from conf.rollout.canary.arms import LOOK_SECONDS, Arms, Shares
from conf.rollout.canary.judge import CountsReader, Finding, Judge, NotScraped, Outlook
from conf.rollout.canary.state import (
    HELD,
    JUDGING,
    NEXT_STEP,
    RAISE,
    STOP_HERE,
    TAKE_BACK,
    TAKE_OVER,
    TAKING_OVER,
    WAIT,
    Action,
    Canary,
    Journal,
    Look,
    Rules,
    Seen,
    StepVerdict,
    canary_of,
    next_action,
    shares,
    write,
)
from conf.rollout.history import BEGUN, History, Release, utc_now
from conf.rollout.lease import Lease, LeaseLost
from conf.rollout.readiness import NotReady, dead_container_lines, logged_errors, running_pods
from conf.rollout.release import (
    CANNOT_UNDO,
    Held,
    NoRelease,
    Rejected,
    ReleaseRequest,
    ReleaseResult,
    apply,
    begun,
    check_gateway,
    check_holder,
    end_good,
    hold_lease,
    live_counts,
    make,
    release,
    save,
    scale_all_down,
    undo,
    wait_all_ready,
)
from conf.rollout.removal import END_PAUSE
from conf.rollout.targets import Blocked, Say, Target

SAVE_SECONDS = 60.0  # between two notes in the history that a command drives it, and between two lines that tell the verdict
SHORT = (diagnosis.UNSCHEDULABLE, diagnosis.QUOTA)  # the baseline is left out where it has no room
SCRAPED_WITHIN = 90.0  # seconds in which Prometheus must have the series of pods that are ready
SCRAPE_PAUSE = 1.0  # seconds between two looks at whether it has


@dataclass(frozen=True)
class Order:
    """A canary to drive. shares: of the requests, in percent, a step each; () where it goes on."""

    shares: tuple[int, ...]
    rules: Rules
    judge: Judge
    journal: Journal


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
        order.journal.keeping(say)(f"going on with the canary of {last.version} at {canary.share} %, which was driven {driven}")
        kept = save(target, with_canary(found, replace(canary, driven_at=time.time())), lease)
        return ReleaseResult(Driver(target, kept, canary, order, lease, say).drive())


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
    tell = order.journal.keeping(say)
    canary, outlook = _planned(order, pods, lease, tell)
    for line in _plan_lines(request, before, canary, order, outlook):
        tell(line)
    items = [*arm_items(request.items, target.service, CANARY, 2), *arm_items(old, target.service, BASELINE, 2)]
    items.append(canary_watch(request.items, target.service, time.time(), "begun"))
    _check_names(target, items)
    preflight.check_applicable(target, items, before, say)
    kept = save(target, _with_arms(begun(target, before, request), items, canary), lease)
    return Driver(target, kept, canary, order, lease, say).drive()


def _planned(order: Order, pods: int, lease: Lease, say: Say) -> tuple[Canary, Outlook]:
    """Return the canary to begin, and how long its steps take. Pods that are new to Prometheus are waited for.

    Raises Blocked where Prometheus is away, or does not get to know the pods; LeaseLost.
    """
    end, told = time.monotonic() + SCRAPED_WITHIN, False
    while True:
        lease.check()
        try:
            canary = Canary(order.shares, pods, edges=order.judge.edges(), driven_at=time.time())
            return canary, order.judge.outlook(canary)
        except NoFigures as error:
            if not isinstance(error, NotScraped) or time.monotonic() > end:
                raise Blocked(f"nothing could be judged, so no canary is begun: {error}") from error
            if not told:
                say(f"waiting: {error}")
                told = True
            time.sleep(SCRAPE_PAUSE)


def _with_arms(history: History, items: Sequence[Item], canary: Canary) -> History:
    """Return the history in which the last release, which is begun, has its arms' objects and its canary's state.

    The arms stand in the reverse order of their apply, so that pods end before what leads to them.
    """
    assert history.last is not None
    arms = dropped(tuple(map(ref, reversed(items))), history.last.inventory)
    last = replace(history.last, inventory=(*history.last.inventory, *arms))
    return with_canary(replace(history, releases=(*history.releases[:-1], last)), canary)


def _check_names(target: Target, items: Sequence[Item]) -> None:
    for each in map(ref, items):
        live = target.cluster.get(each)
        if live is not None and not is_arm(live, target.service):
            raise Blocked(
                f"{each} is there already and is of another service, so there can be no canary: the names "
                f"{' and '.join(arm_names(target.service))} must be free"
            )


def _plan_lines(request: ReleaseRequest, before: History, canary: Canary, order: Order, outlook: Outlook) -> list[str]:
    assert before.good is not None
    rules = order.rules
    steps = ", ".join(f"{share} %" for share in canary.shares)
    lines = [
        f"canary of {request.version} beside {before.good.version}, which has "
        f"{counted(canary.pods, 'ready pod')}: {steps}, each for {rules.step_seconds:.0f} s at most; "
        f"counts are from {order.judge.source}"
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
        lines.append("latency is not judged: the old pods have answered no request yet, so that no bounds can be chosen")
    return lines


def _times(canary: Canary, seconds: Sequence[float]) -> str:
    return ", ".join(f"{share} %: {_words(each)}" for share, each in zip(canary.shares, seconds, strict=True))


def _too_long(canary: Canary, seconds: Sequence[float], rules: Rules) -> str:
    return ", ".join(f"{share} %" for share, each in zip(canary.shares, seconds, strict=True) if each > rules.step_seconds)


def _words(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "never"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


class Driver:
    """Drives the canary of a begun release, which is the last one of the saved history."""

    def __init__(self, target: Target, history: History, canary: Canary, order: Order, lease: Lease, say: Say):
        assert history.last is not None
        assert history.good is not None
        self._target, self._rules, self._journal, self._lease = target, order.rules, order.journal, lease
        self._say = order.journal.keeping(say)
        self._history, self._canary = history, canary
        self._new, self._old = history.objects[history.last.number], history.objects[history.good.number]
        self._shares = Shares(target, self._old, lease, self._say)
        self._arms = Arms(target, self._new, self._old, lease, self._say)
        self._finding, self._reading = Finding(), CountsReader(order.judge, order.rules.read_seconds)
        order.journal.verdicts = canary.verdicts
        self._saved_at = self._watched_at = float("-inf")

    def drive(self) -> Release:
        """Drive the canary to its end, and return the good release.

        Raises Held; Undone where the canary was taken back; Blocked, LeaseLost, Unreachable and BadCredentials, after which the
        next command goes on.
        """
        counts = live_counts(self._target, self._old, self._lease)
        try:
            if self._canary.phase == JUDGING:
                self._shares.set(shares(self._canary, self._target.service))
            while True:
                action = next_action(self._canary, self._look(), self._rules)
                if action.words:
                    self._say(f"{self._canary.step_words}: {action.words}")
                if action.kind == TAKE_OVER:
                    applied = self._take_over()
                    break
                self._do(action)
        except CANNOT_UNDO:
            raise
        except (NotReady, ClusterError, Rejected) as cause:
            raise undo(self._target, self._history, counts, cause, self._lease, self._say) from cause
        except KeyboardInterrupt:
            with contextlib.suppress(ClusterError, LeaseLost):
                self._save(self._canary)
                self._watch("stopped by hand")
            raise
        finally:
            self._reading.end()
        return end_good(self._target, self._history, applied, self._lease, self._say)

    def _do(self, action: Action) -> None:
        if action.kind == WAIT:
            time.sleep(min(LOOK_SECONDS, self._rules.read_seconds))
        elif action.kind == RAISE:
            self._raise()
        elif action.kind == NEXT_STEP:
            self._save(self._canary.next_step())
        elif action.kind == TAKE_BACK:
            target, arm = self._target, arm_names(self._target.service)[0]
            log = dead_container_lines(target.cluster, target.namespace, arm)
            log = log or logged_errors(target.cluster, target.namespace, arm, target.service)
            raise Rejected(f"the canary is taken back at {self._canary.share} %: {action.words}", log)
        else:
            assert action.kind == STOP_HERE, action.kind
            self._hold(action.words)

    def _hold(self, words: str) -> None:
        self._save(replace(self._canary, phase=HELD))
        self._watch("held")
        goes_on = "`monopod deploy --continue` goes on, and `monopod rollback` takes it back"
        raise Held(f"it keeps its {self._canary.share} %, and no command drives it: {words}; {goes_on}")

    def _look(self) -> Seen:
        """Look at pods and counts, as far as the phase has them, and note from time to time that somebody looks."""
        now = time.time()
        if self._canary.phase != JUDGING:
            return Seen(now)
        self._shares.keep()
        if found := self._reading.newest(self._canary, self._shares.restarts):
            self._note(found, now)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save(self._canary)
            if self._finding.summary:
                self._say(f"{self._canary.step_words}: {self._finding.summary}")
        if time.monotonic() - self._watched_at >= WATCH_SECONDS:
            self._watch("judged")
        newest = self._finding
        return Seen(now, newest.state, newest.summary, newest.trouble, self._shares.shareless)

    def _note(self, found: Finding, now: float) -> None:
        """Keep the newest finding, for the next note in the history and for the journal.

        Where pods' counts begin is noted in the history at once: a driver that follows could not find it out.
        """
        self._finding, canary = found, self._canary
        self._canary = canary.with_verdict(StepVerdict(canary.share, found.state, found.words, now))
        self._journal.verdicts = self._canary.verdicts
        if found.begin.keys() - canary.begin.keys():
            self._save(replace(self._canary, begin=found.begin))
        if found.verdict:
            self._journal.looks.append(Look(now, canary.step, canary.share, found.verdict))

    def _raise(self) -> None:
        canary = self._canary
        if canary.step and not self._shares.is_known:
            self._shares.set(shares(replace(canary, step=canary.step - 1), self._target.service))
        self._watch("its pods are made ready")
        self._arms.apply(canary)
        self._wait_arms()
        canary = self._canary
        wanted = shares(canary, self._target.service)
        self._shares.set(wanted)
        told = ", ".join(f"{name} {share} %" for name, share in wanted.items())
        self._say(f"{self._canary.step_words}: shares are set: {told}")
        self._finding = Finding()
        try:
            begin = self._reading.begin(canary, self._keep)
        except NoFigures as error:  # its requests count nevertheless, once Prometheus is back
            self._finding, begin = Finding(words=(f"counts cannot be read: {error}",)), {}
            self._say(f"{canary.step_words}: {self._finding.summary}")
        self._save(replace(canary, phase=JUDGING, since=time.time(), begin=begin))

    def _wait_arms(self) -> None:
        """Wait for the pods of both arms. Where there is room for one of them alone, it is the canary's."""
        try:
            self._arms.wait(CANARY, self._keep)
        except NotReady as error:
            if not self._canary.baseline or not (error.diagnosis and error.diagnosis.kind in SHORT):
                raise
            self._leave_baseline(str(error))
            self._arms.wait(CANARY, self._keep)
        if self._canary.baseline:
            try:
                self._arms.wait(BASELINE, self._keep)
            except NotReady as error:
                self._leave_baseline(str(error))

    def _keep(self) -> None:
        self._lease.check()
        self._shares.keep()
        if time.monotonic() - self._watched_at >= WATCH_SECONDS:
            self._watch("its pods are made ready")

    def _leave_baseline(self, why: str) -> None:
        self._say(f"the baseline is left out, so the old pods are compared: {why}")
        if self._shares.is_known:
            self._shares.set(
                arm_shares(self._target.service, self._shares.of(arm_names(self._target.service)[0]), has_baseline=False)
            )
        self._save(replace(self._canary, baseline=False, why_no_baseline=why))
        self._arms.remove_baseline(self._keep)

    def _take_over(self) -> Sequence[Ref]:
        """Let the canary carry everything, replace the service's own pods, and give them their requests back.

        Return the objects of the release. The baseline goes first, since the canary's pods need its room.
        """
        target, canary = self._target, self._canary
        if canary.phase != TAKING_OVER:
            carry = f"{counted(canary.pods, 'pod')} of the canary {'carries' if canary.pods == 1 else 'carry'}"
            self._say(f"taking over: {carry} all requests while the old ones are replaced")
            self._save(replace(canary, phase=TAKING_OVER))
        self._watch("taking over")
        self._shares.set(arm_shares(target.service, canary.share, has_baseline=False))
        time.sleep(END_PAUSE)
        self._arms.remove_baseline(self._keep)
        self._arms.apply(self._canary)
        self._arms.wait(CANARY, self._keep)
        self._shares.set(shares(self._canary, target.service))
        return self._replace()

    def _replace(self) -> Sequence[Ref]:
        target = self._target
        counts = live_counts(target, self._new, self._lease)
        items = replicas.with_at_least(self._new, counts)
        routes = [each for each in items if each["kind"] in ROUTE_KINDS]
        held = {ref(each): each for each in weighted(routes, self._shares.given)}
        held |= {ref(each): each for each in kept_from_scaling_in(items, target.service, self._canary.pods)}
        apply(target, [held.get(ref(each), each) for each in items], self._lease, self._say)
        self._shares.follow(self._new)
        wait_all_ready(target, self._new, target.pod_timeout, self._say, self._keep)
        applied = apply(target, items, self._lease, self._say)
        assert self._history.last is not None
        last = self._history.last
        check_gateway(target, ReleaseRequest(self._new, last.version, last.image), self._say)
        scale_all_down(target, self._history.inventory, self._new, self._lease, self._say)
        # The rest is the end of any release: a command that finds it so has no canary to take back.
        self._history = save(target, with_canary(self._history, None), self._lease)
        return applied

    def _save(self, canary: Canary) -> None:
        self._canary = replace(canary, driven_at=time.time())
        self._history = save(self._target, with_canary(self._history, self._canary), self._lease)
        self._saved_at = time.monotonic()

    def _watch(self, words: str) -> None:
        self._arms.watch(f"{self._canary.step_words}, {words}")
        self._watched_at = time.monotonic()


def with_canary(history: History, canary: Canary | None) -> History:
    """Return the history in which the last release has another state of its canary."""
    assert history.last is not None
    last = replace(history.last, canary=write(canary) if canary else None)
    return replace(history, releases=(*history.releases[:-1], last))
