"""The state of a canary, as the begun release in the history keeps it, and what it means for the routes.

Knows shares, pods and phases. A pure module: asks no cluster and no clock.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conf.render.arms import arm_names, arm_shares
from conf.rollout.history import BEGUN, Release

# The pods of a step are made ready, the step is judged, it is held without a command, or the new version takes over.
RAISING, JUDGING, HELD, TAKING_OVER = "raising", "judging", "held", "taking over"


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
    begin: what each pod had counted when the step's shares were set.
    verdicts: of the steps so far, that of the step that goes on last. driven_at: when a command last looked at it.
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
        """The share of the present step, in percent."""
        return self.shares[self.step]

    @property
    def is_last_step(self) -> bool:
        return self.step + 1 >= len(self.shares)

    def judged(self, verdict: StepVerdict) -> "Canary":
        """Return the state with the newest verdict on the present step."""
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


def arms(canary: Canary, service: str) -> tuple[str, ...]:
    """Return the names of the arms that a canary has: its own, and the baseline's where it has one."""
    names = arm_names(service)
    return names if canary.baseline and canary.phase != TAKING_OVER else names[:1]


def given_shares(wanted: Mapping[str, int], ready: Mapping[str, int], service: str) -> dict[str, int]:
    """Return the shares to set while some arms may have no ready pod.

    ready: the ready pods of each arm. Where an arm with a share has none, all requests go to the service, whose pods stay:
    Envoy answers the share of a backend without pods with 503. Both arms lose their share, so that they stay comparable.
    """
    if all(ready.get(name, 0) for name in wanted if name != service):
        return dict(wanted)
    return {service: 100}


def canary_of(release: Release | None) -> Canary | None:
    """Return the state of a release's canary; None where it is no canary, or has ended."""
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
    """Return a state as JSON takes it."""
    return dataclasses.asdict(canary)
