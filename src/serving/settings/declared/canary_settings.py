"""The settings of a canary: its steps, and how the new version is judged beside the old one.

Knows kinds of values. Does not know pods, routes or clusters.
"""

from dataclasses import dataclass

from serving.settings import kinds
from serving.settings.declared import canary_kinds
from serving.settings.declared.setting import setting

UNDECIDED = ("hold", "undo", "go")


@dataclass(frozen=True, kw_only=True)
class CanarySettings:
    """The settings of prod's canary. With no step, a deploy replaces the pods one after another and judges nothing."""

    canary: tuple[int, ...] = setting(
        (),
        canary_kinds.steps(),
        "Shares of prod's requests that a new version gets in turn, before it takes over. Empty, there is no canary.",
        unit="% of requests",
        group="Canary",
    )
    canary_step_second: int = setting(
        600, kinds.whole(10, 86400), "The longest time of a step. A verdict ends it earlier.", unit="s"
    )
    canary_undecided: str = setting(
        "hold",
        kinds.choice(*UNDECIDED),
        "What a step without a verdict does: hold the canary for a person, undo it, or go on.",
    )
    canary_confidence: float = setting(
        0.99,
        kinds.number(0.5, 0.99999),
        "The probability that a version as good as the old one is not called worse, over all metrics and steps together.",
    )
    canary_tolerance: float = setting(
        1.25,
        kinds.number(1, 10),
        "How many times the old version's share of bad answers counts as equally good, since pods and their load differ.",
    )
    canary_margin: float = setting(
        0.005,
        canary_kinds.MARGIN,
        "By how much the share of errors, or of refusals, may at most be larger than the old version's for the verdict good.",
    )
    canary_latency_margins: tuple[float, float, float] = setting(
        (0.1, 0.03, 0.015),
        canary_kinds.margins(),
        "The same for answers slower than the old version's p50, p95 and p99.",
    )
    canary_metrics: dict[str, float] = setting(
        {},
        canary_kinds.counters(),
        "Counters of the service's own that count bad requests, and the margin of each.",
    )
