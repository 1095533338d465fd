"""Limits of a canary that need no test: memory, restarts and the cost of a batch.

Knows figures and limits. Does not know where figures come from.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.base.quantities import significant


@dataclass(frozen=True)
class Figures:
    """An arm's figures. memory: the largest part of its limit that a pod uses, or None where that is not known.

    restarts: of the arm's containers since the step began. batch_seconds: the measured cost of a batch, by model and rows.
    """

    memory: float | None = None
    restarts: int = 0
    batch_seconds: Mapping[tuple[str, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """memory: part of a pod's limit. restarts: that are allowed. batch_cost: times the baseline's, in the median over sizes."""

    memory: float = 0.95
    restarts: int = 0
    batch_cost: float = 1.5


def passed_limits(canary: Figures, baseline: Figures, limits: Limits) -> tuple[str, ...]:
    """Return in words each limit that the canary has passed. One of them is enough to take it back.

    Memory that the baseline uses as well is no fault of the new version, so it counts from there on.
    """
    found = []
    allowed = max(limits.memory, baseline.memory or 0.0)
    if canary.memory is not None and canary.memory > allowed:
        found.append(f"memory: a pod of the canary uses {100 * canary.memory:.0f} % of its limit, over {100 * allowed:.0f} %")
    if canary.restarts > limits.restarts + baseline.restarts:
        found.append(f"restarts: {canary.restarts} of the canary's containers, {baseline.restarts} of the baseline's")
    ratios = [
        seconds / baseline.batch_seconds[key]
        for key, seconds in canary.batch_seconds.items()
        if baseline.batch_seconds.get(key, 0.0) > 0
    ]
    if ratios and (ratio := statistics.median(ratios)) > limits.batch_cost:
        found.append(f"batch cost: {significant(ratio, 2)} times the baseline's, over {limits.batch_cost:g}")
    return tuple(found)
