"""The pods of a service under a week of load, second by second.

Rows are counted, not followed: a pod does as much in a second as its full batches allow, and what it cannot do waits. A row
that finds the queues full is refused, as the server does with 429. A row is late where the rows before it need longer than the
objective. Rows share one queue, as if the gateway always found the shortest one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.autoscaling.batching import PodCurve
from bench.autoscaling.costs import Costs

SCRAPE = 15  # seconds between two looks of Prometheus, as templates/servicemonitor.yaml says
SCRAPE_AT = 7  # second of each SCRAPE
RATE = 60  # seconds over which a rate is taken
END = 10  # seconds that a pod that is told to end still costs
KEPT = RATE // SCRAPE + 1


@dataclass(frozen=True)
class Service:
    """The service under load. queue: rows that may wait in a pod. objective, start: seconds."""

    costs: Costs
    curve: PodCurve
    queue: int
    objective: float
    start: int


@dataclass
class Seen:
    """The figures that an autoscaler can know. waiting: rows at the last look. busy: instances, mean of RATE seconds."""

    second: int = 0
    pods: int = 0
    ready: int = 0
    waiting: float = 0.0
    busy: float = 0.0
    use: float = 0.0  # instances at work of each ready pod, over the last two looks


Policy = Callable[[Seen], int]


@dataclass
class Week:
    """The week of one policy. pods: how many there were at the end of each minute. changes: up and down."""

    rows: int = 0
    refused: int = 0
    late: int = 0
    pod_seconds: int = 0
    most: int = 0
    changes: int = 0
    pods: list[int] = field(default_factory=list)

    @property
    def missed(self) -> float:
        """Share of the rows that were refused or late."""
        return (self.refused + self.late) / self.rows


def run(service: Service, arrivals: Sequence[int], policy: Policy, first: int) -> Week:
    """Return the week of a policy, which is asked once a second how many pods there should be. first: pods at first."""
    fleet, week, seen = _Fleet(service, first), Week(), Seen(pods=first)
    for second, rows in enumerate(arrivals):
        fleet.step(second, rows, week)
        if second % SCRAPE == SCRAPE_AT:
            fleet.look(seen)
        seen.second, seen.pods, seen.ready = second, fleet.ready + len(fleet.starting), fleet.ready
        wanted = policy(seen)
        if wanted != seen.pods:
            week.changes += 1
            week.pod_seconds += END * max(0, seen.pods - wanted)
            fleet.scale(second, wanted)
        if second % 60 == 59:
            week.pods.append(wanted)
        week.most = max(week.most, wanted)
    return week


class _Fleet:
    """The pods of one service. starting: when each of the pods that are not ready will be."""

    def __init__(self, service: Service, first: int):
        costs = service.costs
        self._service, self._capacity, self._curve = service, costs.capacity, service.curve
        self.ready, self.starting = first, list[int]()
        self._waiting, self._instant = 0.0, 0.0
        self._worked, self._each = 0.0, 0.0  # seconds of instances, of all pods and of one
        self._looks: list[tuple[float, float]] = []

    def step(self, second: int, rows: int, week: Week) -> None:
        """Let a second pass in which rows arrive."""
        while self.starting and self.starting[0] <= second:
            self.starting.pop(0)
            self.ready += 1
        ready, service = self.ready, self._service
        able = ready * self._capacity
        left = self._waiting + rows - able
        load = 100 if left >= 0 else int(100 * (1 + left / able)) if able else 0
        self._waiting = max(0.0, left)
        refused = round(max(0.0, self._waiting - ready * service.queue))
        self._waiting -= refused
        week.rows += rows
        week.refused += refused
        if self._waiting > service.objective * able:
            week.late += rows - refused
        week.pod_seconds += ready + len(self.starting)
        self._worked += ready * self._curve.busy[load]
        self._each += self._curve.busy[load]
        self._instant = max(self._waiting, ready * self._curve.waiting[load])

    def look(self, seen: Seen) -> None:
        """Write down what Prometheus sees."""
        self._looks = [*self._looks[1 - KEPT :], (self._worked, self._each)]
        seconds = SCRAPE * (len(self._looks) - 1)
        seen.waiting = self._instant
        if seconds:
            seen.busy = (self._worked - self._looks[0][0]) / seconds
            seen.use = (self._each - self._looks[-2][1]) / SCRAPE

    def scale(self, second: int, wanted: int) -> None:
        """Start pods, or end some: those that are not ready go first."""
        there = self.ready + len(self.starting)
        self.starting += [second + self._service.start] * (wanted - there)
        for _ in range(there - wanted):
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1
