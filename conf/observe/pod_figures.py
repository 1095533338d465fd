"""The figures of pods and tracks, whichever way they were asked for.

Knows what each figure means and its unit. Does not know where it comes from, nor whether it is good.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from conf.observe.pod_states import PodStates

PROMETHEUS, PAGES = "Prometheus", "the pods' own pages"


@dataclass(frozen=True)
class PodFigures:
    """One pod. A figure is None where it is not known, or is a quantile of no requests.

    Rates are answers a second, times seconds, memory bytes. Valid ones are those that the objective of success counts, and
    errors are those among them that are 5xx. Refused ones are answers 429. cores_asked is what the pod asks for, which limits
    nothing. Restarts are of the last hour.

    Of an offline pod, records take the place of requests: rate and valid are finished records a second, errors the dead letters
    among them, queue_rows the records that wait. It alone has held, which is 1 while reading is stopped, and away, the seconds
    for which a sink or the brokers have not been reachable.
    """

    pod: str
    version: str = ""
    ready: float | None = None
    rate: float | None = None
    valid: float | None = None
    errors: float | None = None
    refused: float | None = None
    p50: float | None = None
    p95: float | None = None
    queue_rows: float | None = None
    queue_age: float | None = None
    memory: float | None = None
    memory_limit: float | None = None
    cores: float | None = None
    cores_asked: float | None = None
    restarts: float | None = None
    held: float | None = None
    away: float | None = None

    @property
    def memory_share(self) -> float | None:
        return share(self.memory, self.memory_limit)

    @property
    def cores_share(self) -> float | None:
        return share(self.cores, self.cores_asked)

    @property
    def error_share(self) -> float | None:
        return share(self.errors, self.valid)


@dataclass(frozen=True)
class TrackFigures:
    """One track of a service in one region. p50 and p95 are seconds, of the requests of all pods together.

    offline: whether these are its offline pods. arm: "canary" or "baseline" where they are an arm's, else "".
    wanted: pods that value.py asks for.
    source: PROMETHEUS or PAGES.
    note: why it is the pages, "" for Prometheus.
    seconds: the time that rates and quantiles are about.
    trouble: why there are no figures, "" where there are.
    states: the pods as Kubernetes knows them. unseen: why these are not known, "" where they are.
    """

    region: str
    track: str
    namespace: str
    service: str
    wanted: int = 0
    source: str = PROMETHEUS
    note: str = ""
    seconds: float = 0.0
    p50: float | None = None
    p95: float | None = None
    trouble: str = ""
    pods: tuple[PodFigures, ...] = ()
    offline: bool = False
    arm: str = ""
    states: PodStates = PodStates()
    unseen: str = ""

    @property
    def half(self) -> str:
        """The track's name for a person, which tells its offline pods and its canary's from the online ones."""
        kind = "offline" if self.offline else self.arm
        return f"{self.track} {kind}" if kind else self.track

    @property
    def ready(self) -> int:
        return sum(1 for pod in self.pods if pod.ready)

    def sum(self, of: Callable[[PodFigures], float | None]) -> float | None:
        """Return the sum of a figure over the pods that have it, None where no pod has it."""
        found = known(map(of, self.pods))
        return sum(found) if found else None

    def most(self, of: Callable[[PodFigures], float | None]) -> float | None:
        """Return the largest of a figure, None where no pod has it."""
        return max(known(map(of, self.pods)), default=None)


def share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def quantile(share_below: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Return a quantile of a histogram, as histogram_quantile of Prometheus does; None for an empty one.

    buckets: (upper bound, cumulative count), in the order of the bounds, the last with the bound infinity. The result has the
    unit of the bounds. In the last bucket, it is the highest finite bound.
    """
    if not buckets or not buckets[-1][1] > 0:
        return None
    wanted = share_below * buckets[-1][1]
    number = next(i for i, (_, count) in enumerate(buckets) if count >= wanted)
    if number == len(buckets) - 1:
        return buckets[-2][0] if len(buckets) > 1 else None
    low, below = buckets[number - 1] if number else (0.0, 0.0)
    high, count = buckets[number]
    return high if count == below else low + (high - low) * (wanted - below) / (count - below)
