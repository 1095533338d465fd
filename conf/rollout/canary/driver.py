"""The driver of a canary: it does what the decision says, one action after another, until the canary's end or a hold.

    pods of both arms ready -> shares -> judged -> ... -> the canary carries all -> the ordinary release -> arms removed -> good

Knows the order, and what is written before what: the inventory before the first object, capacity before a share, and the phase
before the actions of the phase. Each action may be repeated, so a driver that was killed is followed by one that begins the
present phase again. Does not know how counts are judged.

Concurrency: the lease keeps this driver the only one. One thread decides and writes, and looks at the arms' pods every
LOOK_SECONDS, also while a Deployment is waited for. conf.rollout.canary.counts_reader has the second thread.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.base.object_references import Ref, ref
from conf.observe.prometheus import NoFigures
from conf.remote.cluster import ClusterError
from conf.render.arms import (
    BASELINE,
    CANARY,
    ROUTE_KINDS,
    WATCH_SECONDS,
    arm_names,
    arm_shares,
    kept_from_scaling_in,
    weighted,
)
from conf.rollout import diagnosis, replicas
from conf.rollout.canary.counts_reader import CountsReader
from conf.rollout.canary.decision import (
    NEXT_STEP,
    RAISE,
    STOP_HERE,
    TAKE_BACK,
    TAKE_OVER,
    WAIT,
    Action,
    Rules,
    Seen,
    next_action,
)
from conf.rollout.canary.journal import Journal, Look
from conf.rollout.canary.judge import Finding, Judge
from conf.rollout.canary.live_arms import Arms
from conf.rollout.canary.shares import LOOK_SECONDS, Shares
from conf.rollout.canary.state import HELD, JUDGING, TAKING_OVER, Canary, StepVerdict, shares, write
from conf.rollout.changes import apply, live_counts, save, scale_all_down, wait_all_ready
from conf.rollout.history import History, Release
from conf.rollout.lease import Lease, LeaseLost
from conf.rollout.readiness import NotReady, dead_container_lines
from conf.rollout.release import (
    CANNOT_UNDO,
    Held,
    Rejected,
    ReleaseRequest,
    check_gateway,
    end_good,
    undo,
)
from conf.rollout.targets import Say, Target

SAVE_SECONDS = 60.0  # between two notes in the history that a command drives it, and between two lines that tell the verdict
SHORT = (diagnosis.UNSCHEDULABLE, diagnosis.QUOTA)  # the baseline is left out where it has no room
WAIT_SECONDS = 0.2  # between two looks at whether counts have been read
END_PAUSE = 1.0  # seconds for proxies to learn that an arm gets no requests, before its pods are asked to end


@dataclass(frozen=True)
class Tools:
    """The tools of a driver. judge: of the region and service. journal: is told all that is said."""

    rules: Rules
    judge: Judge
    journal: Journal


class Driver:
    """Drives the canary that a begun release is. history: with it as its last release, as it was saved."""

    def __init__(self, target: Target, history: History, canary: Canary, tools: Tools, lease: Lease, say: Say):
        assert history.last is not None
        assert history.good is not None
        self._target, self._tools, self._lease = target, tools, lease
        self._say = tools.journal.telling(say)
        self._history, self._canary = history, canary
        self._new, self._old = history.objects[history.last.number], history.objects[history.good.number]
        self._shares = Shares(target, self._old, lease, self._say)
        self._arms = Arms(target, self._new, self._old, lease, self._say)
        self._finding, self._reading = Finding(), CountsReader(tools.judge, tools.rules.read_seconds)
        tools.journal.verdicts = canary.verdicts
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
                action = next_action(self._canary, self._look(), self._tools.rules)
                if action.words:
                    self._say(f"{self._step_words()}: {action.words}")
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
            time.sleep(min(LOOK_SECONDS, self._tools.rules.read_seconds))
        elif action.kind == RAISE:
            self._raise()
        elif action.kind == NEXT_STEP:
            self._save(self._canary.next_step())
        elif action.kind == TAKE_BACK:
            log = dead_container_lines(self._target.cluster, self._target.namespace, arm_names(self._target.service)[0])
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
            self._say(f"{self._step_words()}: {self._finding.summary}")
        if time.monotonic() - self._watched_at >= WATCH_SECONDS:
            self._watch("judged")
        newest = self._finding
        return Seen(now, newest.state, newest.summary, newest.trouble, self._shares.shareless)

    def _note(self, found: Finding, now: float) -> None:
        """Keep the newest finding, for the next note in the history and for the journal.

        Where pods' counts begin is noted in the history at once: a driver that follows could not find it out.
        """
        self._finding, canary = found, self._canary
        self._canary = canary.judged(StepVerdict(canary.share, found.state, found.words, now))
        self._tools.journal.verdicts = self._canary.verdicts
        if found.begin.keys() - canary.begin.keys():
            self._save(replace(self._canary, begin=found.begin))
        if found.verdict:
            self._tools.journal.looks.append(Look(now, canary.step, canary.share, found.verdict))

    def _raise(self) -> None:
        """Make the pods of a step ready, and give them their shares."""
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
        self._say(f"{self._step_words()}: shares are set: {told}")
        try:
            begin = self._reading.begin(canary, self._keep)
        except NoFigures as error:
            raise Rejected(f"counts cannot be read, so nothing can be judged: {error}") from error
        self._finding = Finding()
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
        """Compare the canary with the old pods from now on."""
        self._say(f"the baseline is left out, so the old pods are compared: {why}")
        if self._shares.is_known:
            self._shares.set(
                arm_shares(self._target.service, self._shares.of(arm_names(self._target.service)[0]), has_baseline=False)
            )
        self._save(replace(self._canary, baseline=False, why_no_baseline=why))
        self._arms.remove_baseline()

    def _take_over(self) -> Sequence[Ref]:
        """Let the canary carry everything, replace the service's own pods, and give them their requests back.

        Return the objects of the release. The baseline goes first, since the canary's pods need its room.
        """
        target, canary = self._target, self._canary
        if canary.phase != TAKING_OVER:
            self._say(f"taking over: {canary.pods} pods of the canary carry all requests while the old ones are replaced")
            self._save(replace(canary, phase=TAKING_OVER))
        self._watch("taking over")
        self._shares.set(arm_shares(target.service, canary.share, has_baseline=False))
        time.sleep(END_PAUSE)
        self._arms.remove_baseline()
        self._arms.apply(self._canary)
        self._arms.wait(CANARY, self._keep)
        self._shares.set(shares(self._canary, target.service))
        return self._replace()

    def _replace(self) -> Sequence[Ref]:
        """Make the ordinary release of the service, which has no requests meanwhile."""
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
        time.sleep(END_PAUSE)
        return applied

    def _save(self, canary: Canary) -> None:
        self._canary = replace(canary, driven_at=time.time())
        self._history = save(self._target, with_canary(self._history, self._canary), self._lease)
        self._saved_at = time.monotonic()

    def _watch(self, words: str) -> None:
        """Tell the alert about a canary that nobody drives that a command does."""
        self._arms.watch(f"{self._step_words()}, {words}")
        self._watched_at = time.monotonic()

    def _step_words(self) -> str:
        canary = self._canary
        return f"step {canary.step + 1} of {len(canary.shares)}, {canary.share} %"


def with_canary(history: History, canary: Canary | None) -> History:
    """Return the history in which the last release has another state of its canary."""
    assert history.last is not None
    last = replace(history.last, canary=write(canary) if canary else None)
    return replace(history, releases=(*history.releases[:-1], last))
