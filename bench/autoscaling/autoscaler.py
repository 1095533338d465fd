"""The number of pods that Kubernetes' HorizontalPodAutoscaler asks for, as KEDA sets it up.

The rules: a tolerance of 10 %, the largest of all metrics, the stabilization window, and at most four more or twice as many
pods in 15 s. The controller asks every 15 s, and each question reaches Prometheus. KEDA's own interval of 30 s is for the step
from 0 pods. Sources: Kubernetes' documentation of the algorithm, and the controller's code for metrics of type AverageValue.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

SYNC = 15  # seconds between two decisions
TOLERANCE = 0.1


def by_average(total: float, target: float, current: int) -> int:
    """Return the pods for a metric of type AverageValue. total: of all pods. target: for one pod."""
    if abs(1 - total / (target * current)) <= TOLERANCE:
        return current
    return math.ceil(round(total / target, 9))


def by_use(use: float, target: float, ready: int, current: int) -> int:
    """Return the pods for a share of requested cores. use: mean of the ready pods. Pods that start count as unused upwards."""
    ratio = use / target
    if abs(1 - ratio) <= TOLERANCE:
        return current
    if ratio > 1 and current > ready:
        ratio = use * ready / current / target
        if ratio <= 1 + TOLERANCE:
            return current
        return math.ceil(round(ratio * current, 9))
    return math.ceil(round(ratio * ready, 9))


@dataclass
class Autoscaler:
    """One HorizontalPodAutoscaler. window: seconds for which fewer pods must suffice before pods go."""

    least: int
    most: int
    window: int
    _asked: deque[tuple[int, int]] = field(default_factory=deque)

    def decide(self, second: int, current: int, proposals: Iterable[int]) -> int:
        """Return the number of pods from now on. proposals: of each metric. Called once every SYNC seconds."""
        wanted = min(max(max(proposals), self.least), self.most)
        while self._asked and self._asked[0][0] <= second - self.window:
            self._asked.popleft()
        self._asked.append((second, wanted))
        if wanted > current:
            return min(wanted, max(2 * current, current + 4))
        return min(current, max(asked for _, asked in self._asked))
