"""The state of a canary: as the begun release in the history keeps it, the action that follows, and its words for people.

A pure module: asks no cluster and no clock.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conf.canary.verdict import GOOD, UNKNOWN, WORSE, Verdict
from conf.render.arms import arm_shares
from conf.rollout.history import BEGUN, Release
from conf.rollout.targets import Say

# The phases: the pods of a step are made ready, the step is judged, no command drives it, or the new version takes over.
RAISING, JUDGING, HELD, TAKING_OVER = "raising", "judging", "held", "taking over"
WAITS_FOR = {
    RAISING: "its pods",
    JUDGING: "a verdict",
    HELD: "a person: `monopod deploy --continue` goes on, `monopod rollback` takes it back",
    TAKING_OVER: "the service's own pods to be replaced",
}
# The ends of a step without a verdict, as value.py's canary_undecided names them.
HOLD, UNDO, GO = "hold", "undo", "go"
# The kinds of actions.
WAIT, RAISE, NEXT_STEP, TAKE_OVER, TAKE_BACK, STOP_HERE = "wait", "raise", "next step", "take over", "take back", "hold"


@dataclass(frozen=True)
class StepVerdict:
    """The verdict on a step.

    share: in percent. state: good, worse or unknown. words: a line for each metric. at: seconds since 1970.
    """

    share: int
    state: str
    words: tuple[str, ...]
    at: float


@dataclass(frozen=True)
class Canary:
    """The state of a canary. Times are seconds since 1970.

    shares: of the requests, in percent, a step each. pods: the ready pods of the service when it began.
    step: the number of the step, from 0. since: when the step's shares were set, or when it went on after a hold.
    baseline: whether pods of the old version were started for the comparison. why_no_baseline: the reason where not.
    edges: the bounds that a slow answer is slower than, in seconds, by the quantile of the old version that they are near.
    begin: what each pod had counted when the step's shares were set, {} where Prometheus did not tell.
    verdicts: of the steps so far, that of the present step last. driven_at: when a command last looked at it.
    """

    shares: tuple[int, ...]
    pods: int
    phase: str = RAISING
    step: int = 0
    since: float = 0.0
    baseline: bool = True
    why_no_baseline: str = ""
    edges: tuple[tuple[float, float], ...] = ()
    begin: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    verdicts: tuple[StepVerdict, ...] = ()
    driven_at: float = 0.0

    @property
    def share(self) -> int:
        return self.shares[self.step]

    @property
    def is_last_step(self) -> bool:
        return self.step + 1 >= len(self.shares)

    @property
    def step_words(self) -> str:
        return f"step {self.step + 1} of {len(self.shares)}, {self.share} %"

    def with_verdict(self, verdict: StepVerdict) -> "Canary":
        return dataclasses.replace(self, verdicts=(*self.verdicts[: self.step], verdict))

    def next_step(self) -> "Canary":
        return dataclasses.replace(self, phase=RAISING, step=self.step + 1, since=0.0, begin={})


def canary_part(canary: Canary) -> float:
    """Return the canary's part of the requests that it shares with what it is compared with: 0.5 with a baseline."""
    return 0.5 if canary.baseline else canary.share / 100


def shares(canary: Canary, service: str) -> dict[str, int]:
    """Return the share of each Service, in percent, in the present phase."""
    if canary.phase == TAKING_OVER:
        return arm_shares(service, 100, has_baseline=False)
    return arm_shares(service, canary.share, has_baseline=canary.baseline)


def given_shares(wanted: Mapping[str, int], ready: Mapping[str, int], service: str) -> dict[str, int]:
    """Return the shares to set while some arms may have no ready pod.

    ready: the ready pods of each arm. Where an arm with a share has none, all requests go to the service, whose pods stay:
    Envoy answers the share of a backend without pods with 503. Both arms lose their share, so that they stay comparable.
    """
    if all(ready.get(name, 0) for name in wanted if name != service):
        return dict(wanted)
    return {service: 100}


def canary_of(release: Release | None) -> Canary | None:
    """Return the state of a release's canary; None where it is not a canary, or has ended."""
    if release is None or release.state != BEGUN or release.canary is None:
        return None
    return read(release.canary)


def read(plain: Mapping[str, Any]) -> Canary:
    """Read a state. Fields that a newer platform added are ignored. Raises TypeError, ValueError, KeyError."""
    known = {each.name for each in dataclasses.fields(Canary)}
    fields = {name: value for name, value in plain.items() if name in known}
    verdicts = tuple(StepVerdict(**{**each, "words": tuple(each["words"])}) for each in fields.pop("verdicts", ()))
    edges = tuple((quantile, edge) for quantile, edge in fields.pop("edges", ()))
    return Canary(**{**fields, "shares": tuple(fields["shares"])}, edges=edges, verdicts=verdicts)


def write(canary: Canary) -> dict[str, Any]:
    return dataclasses.asdict(canary)


def describe(canary: Canary, version: str, changer: str, now: float) -> list[str]:
    """Return the lines of `status` about a canary: step and share, what it waits for, and each verdict.

    changer: who drives it now, "" for nobody. now: seconds since 1970.
    """
    share = 100 if canary.phase == TAKING_OVER else canary.share
    step = f"step {canary.step + 1} of {len(canary.shares)}, {share} %"
    driver = f"driven by {changer}" if changer else f"driven by nobody for {max(0.0, now - canary.driven_at):.0f} s"
    waits = WAITS_FOR[canary.phase]
    if not changer and canary.phase != HELD:
        waits = f"a command: `monopod deploy --continue` goes on with {waits}, `monopod rollback` takes it back"
    lines = [f"canary of {version}: {step}, {canary.phase}, {driver}; waits for {waits}"]
    if not canary.baseline:
        lines.append(f"it is compared with the old pods: {canary.why_no_baseline}")
    for number, verdict in enumerate(canary.verdicts, 1):
        lines += [f"step {number}, {verdict.share} %: {words}" for words in verdict.words or (verdict.state,)]
    return lines


@dataclass(frozen=True)
class Rules:
    """The rules of a canary. step_seconds: the most that a step is judged. pod_seconds: for a lost pod to come back.

    read_seconds: between two readings of the counts.
    """

    step_seconds: float
    undecided: str = HOLD
    pod_seconds: float = 60.0
    read_seconds: float = 5.0


@dataclass(frozen=True)
class Seen:
    """A look at a canary. Times are seconds, `now` since 1970.

    verdict: on the step so far. words: of the verdict, for people.
    trouble: a fixed limit that was passed, or that routing does not give the shares; "" for none.
    shareless: for how long the arms have had no share, since one of them has no ready pod.
    """

    now: float
    verdict: str = UNKNOWN
    words: str = ""
    trouble: str = ""
    shareless: float = 0.0


@dataclass(frozen=True)
class Action:
    """The next action. words: its reason, for people; "" where nobody needs to know."""

    kind: str
    words: str = ""


def next_action(canary: Canary, seen: Seen, rules: Rules) -> Action:
    """Return what to do next. The same state and the same look always give the same action."""
    if canary.phase == TAKING_OVER:
        return Action(TAKE_OVER)
    if canary.phase == RAISING:
        return Action(RAISE)
    if canary.phase == HELD:
        return Action(STOP_HERE, "it is held")
    assert canary.phase == JUDGING, canary.phase
    if seen.trouble:
        return Action(TAKE_BACK, seen.trouble)
    if seen.shareless > rules.pod_seconds:
        return Action(TAKE_BACK, f"one of its arms has had no ready pod for {seen.shareless:.0f} s")
    if seen.verdict == WORSE:
        return Action(TAKE_BACK, f"it is worse than the old version: {seen.words}")
    if seen.verdict == GOOD:
        return _forward(canary, f"good: {seen.words}")
    if seen.now - canary.since < rules.step_seconds:
        return Action(WAIT)
    return _undecided(canary, seen, rules)


def _forward(canary: Canary, words: str) -> Action:
    return Action(TAKE_OVER if canary.is_last_step else NEXT_STEP, words)


def _undecided(canary: Canary, seen: Seen, rules: Rules) -> Action:
    words = f"not known after {rules.step_seconds:.0f} s: {seen.words or 'no counts yet'}"
    if rules.undecided == GO:
        return _forward(canary, f"{words}; it goes on, as canary_undecided says")
    if rules.undecided == UNDO:
        return Action(TAKE_BACK, f"{words}; it is taken back, as canary_undecided says")
    return Action(STOP_HERE, words)


@dataclass(frozen=True)
class Look:
    """A look at the counts. at is in seconds since 1970, step counts from 0, and share is in percent."""

    at: float
    step: int
    share: int
    verdict: Verdict


@dataclass
class Journal:
    """What a command saw of a canary in a region, for a page with its curves. lines: (seconds since 1970, words).

    verdicts: of all steps so far, those of earlier commands included.
    """

    region: str
    version: str = ""
    old_version: str = ""
    lines: list[tuple[float, str]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    verdicts: Sequence[StepVerdict] = ()
    clock: Callable[[], float] = time.time

    def keeping(self, say: Say) -> Say:
        """Return a function that says a line, and keeps it."""

        def tell(words: str) -> None:
            self.lines.append((self.clock(), words))
            say(words)

        return tell
