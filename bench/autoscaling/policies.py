"""The ways to choose the number of pods, from a fixed one to the one that knows the whole week."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bench.autoscaling.autoscaler import SYNC, Autoscaler, by_average, by_use
from bench.autoscaling.fleet import Policy, Seen, Service
from conf.plan.scaling import BUSY, CPU_PERCENT

Metric = Callable[[Seen], int]
CPU_TARGET = CPU_PERCENT / 100
HOUR = 3600


def fixed(pods: int) -> Policy:
    return lambda seen: pods


def scaled(autoscaler: Autoscaler, *metrics: Metric) -> Policy:
    """Return the policy of an autoscaler, which decides every SYNC seconds by the largest of its metrics."""

    def decide(seen: Seen) -> int:
        if seen.second % SYNC:
            return seen.pods
        return autoscaler.decide(seen.second, seen.pods, [metric(seen) for metric in metrics])

    return decide


def cores(instances: int, part: float = 1.0) -> Metric:
    """Return the metric of used cores. part: of an instance's work that its cores do, and not a card."""
    return lambda seen: by_use(part * seen.use / instances, CPU_TARGET, seen.ready, seen.pods)


def queue(rows: float) -> Metric:
    """Return the metric of waiting rows. rows: for each pod."""
    return lambda seen: by_average(seen.waiting, rows, seen.pods)


def busy(instances: int) -> Metric:
    """Return the metric of busy time."""
    return lambda seen: by_average(seen.busy, BUSY * instances, seen.pods)


@dataclass(frozen=True)
class Hours:
    """Pods from one hour to another, on days of the week. days: 0 is Monday."""

    days: tuple[int, ...]
    begin: int
    end: int
    pods: int

    def holds(self, second: int) -> bool:
        return second // HOUR // 24 % 7 in self.days and self.begin <= second // HOUR % 24 < self.end


def by_hours(hours: Sequence[Hours]) -> Metric:
    """Return the metric of KEDA's cron triggers: the pods of the hours that hold, and else 0."""
    return lambda seen: max(by_average(each.pods if each.holds(seen.second) else 0, 1, seen.pods) for each in hours)


def known(service: Service, arrivals: Sequence[int]) -> tuple[int, Policy]:
    """Return the pods at first, and the policy that starts each further pod just early enough.

    A second needs the fewest pods that refuse nothing. A pod stays where it would be needed again before a new one could start,
    for the start costs as much as the wait.
    """
    needed = _needed(service, arrivals)
    spans = [span for level in range(1, max(needed) + 1) for span in _spans(needed, level, service.start)]
    steps = sorted([(max(0, begin - service.start - 1), 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    times, counts = [second for second, _ in steps], list(accumulate(change for _, change in steps))

    def at(second: int) -> int:
        return max(1, counts[bisect_right(times, second) - 1])

    return at(0), lambda seen: at(seen.second)


def _needed(service: Service, arrivals: Sequence[int]) -> list[int]:
    capacity, found, waiting = service.costs.capacity, [], 0.0
    for rows in arrivals:
        pods = max(1, math.ceil((waiting + rows) / (capacity + service.queue)))
        waiting = max(0.0, waiting + rows - pods * capacity)
        found.append(pods)
    return found


def _spans(needed: Sequence[int], level: int, gap: int) -> list[tuple[int, int]]:
    """Return the seconds from which and before which a level of pods is needed. A gap of at most `gap` seconds is none."""
    spans: list[tuple[int, int]] = []
    begin = -1
    for second, pods in enumerate([*needed, 0]):
        if pods >= level and begin < 0:
            begin = second
        if pods < level and begin >= 0:
            if spans and begin - spans[-1][1] <= gap:
                spans[-1] = (spans[-1][0], second)
            else:
                spans.append((begin, second))
            begin = -1
    return spans
