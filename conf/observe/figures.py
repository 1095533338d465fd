"""The figures of a service's tracks and pods now: the PromQL that asks for them, and what a region answers.

A region's Prometheus has the figures, and its API server the states of pods. Where Prometheus is away or does not know a track,
`trouble` says so, and the pods that Kubernetes knows as ready are still listed.

Concurrency: `ask` asks all regions at once, and online beside offline pods, on the threads of conf.remote.parallel.
A client is used by one thread at a time, unless a thread was abandoned: then `ask` makes a new one in its place.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from conf.base.matchers import matchers, one_of
from conf.base.object_references import DEPLOYMENT_LABEL
from conf.clusters.regions import Region
from conf.observe.pod_states import PodStates, states_of
from conf.observe.prometheus import NoFigures, PrometheusClient, Sample
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.plan.own_pod import NOTHING, OwnPod
from conf.plan.plan import offline_name
from conf.remote.cluster import ClusterError, NoRights
from conf.remote.parallel import TooSlow, ask_all
from conf.render.arms import arm_name
from serving.settings import Settings, size_in_bytes

REGION_SECONDS = 60.0  # for a region: Prometheus' time, and the API server's
NOT_SCRAPED = (
    "Prometheus ({}) has no series of {}/{}: has its {} the labels that prometheus.labels names? "
    "After a first deploy, wait two minutes"
)
PROMETHEUS = "Prometheus"
ROLE = "the Role monopod-read of charts/cluster gives it (docs/observe.md)"
FIGURE = "figure"  # the label that tells which figure a series of the answer is
BY_POD, BY_TRACK = "namespace, pod", "namespace"


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
    source, note: PROMETHEUS and "", for the programs that read them as JSON.
    seconds: the time that rates and quantiles are about.
    trouble: why there are no figures, "" where there are. Pods that Kubernetes knows as ready are listed then too.
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
    def workload(self) -> str:
        """The track's name for a person, which tells its offline pods and its canary's from the online ones."""
        kind = "offline" if self.offline else self.arm
        return f"{self.track} {kind}" if kind else self.track

    @property
    def ready(self) -> int:
        return sum(1 for pod in self.pods if pod.ready)

    @property
    def is_there(self) -> bool:
        """Whether a track is worth a line: it has pods, should have pods, or is not known."""
        return bool(self.pods or self.wanted or self.trouble)

    def sum(self, name: str) -> float | None:
        """Return the sum of a figure over the pods that have it, None where no pod has it. name: an attribute of PodFigures."""
        found = known(getattr(pod, name) for pod in self.pods)
        return sum(found) if found else None

    def most(self, name: str) -> float | None:
        """Return the largest of a figure, None where no pod has it. name: an attribute of PodFigures."""
        return max(known(getattr(pod, name) for pod in self.pods), default=None)


def share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class ObservedTrack:
    """The pods of a track of a service in one region: the online or the offline ones, or an arm of its canary.

    wanted: pods that value.py asks for, 0 where it need not be there. arm: "canary", "baseline", or "" for the service's own.
    own_pod: of pod.yaml.
    """

    region: Region
    track: str
    namespace: str
    settings: Settings
    wanted: int
    offline: bool = False
    arm: str = ""
    own_pod: OwnPod = NOTHING

    @property
    def service(self) -> str:
        """The name of the Deployment, which is the label `service` of its pods' series; an arm's have their service's there."""
        if self.arm:
            return arm_name(self.settings.service_name, f"-{self.arm}")
        return offline_name(self.settings.service_name) if self.offline else self.settings.service_name


class Sources:
    """The Prometheus and the API server of each region, for the online and for the offline pods.

    window: seconds that rates and quantiles are about.
    """

    def __init__(self, regions: Sequence[Region], window: int):
        self._regions = {each.name: each for each in regions}
        self._window = window
        self._made: dict[tuple[str, str], PrometheusClient] = {}

    def ask(self, observed: Sequence[ObservedTrack]) -> list[TrackFigures]:
        """Return the figures of each track, in the order of `observed`. Where there are none, `trouble` says why."""
        by_region: dict[tuple[str, str], list[ObservedTrack]] = {}
        for each in observed:
            by_region.setdefault((each.region.name, each.service), []).append(each)
        for key in by_region:
            self._made.setdefault(key, PrometheusClient(self._regions[key[0]]))
        asks = {key: partial(_in_region, tracks, self._made[key], self._window) for key, tracks in by_region.items()}
        answers = ask_all(asks, REGION_SECONDS)
        found: dict[tuple[str, str, str], TrackFigures] = {}
        for key, tracks in by_region.items():
            if error := answers.failed.get(key):
                if not isinstance(error, TooSlow):
                    raise error
                del self._made[key]
                answers.found[key] = [replace(_empty(each), trouble=str(error), unseen=str(error)) for each in tracks]
            found |= {(*key, each.track): each for each in _told_once(answers.found[key])}
        return [found[each.region.name, each.service, each.track] for each in observed]


def _in_region(observed: Sequence[ObservedTrack], prometheus: PrometheusClient, window: int) -> list[TrackFigures]:
    samples: list[Sample] = []
    why = ""
    try:
        first, namespaces = observed[0], [each.namespace for each in observed]
        query = partial(figures_query, first.settings.service_name, arm=first.arm)
        query = partial(offline_query, first.service) if first.offline else query
        samples = prometheus.now(query(namespaces, f"{window}s"))
    except NoFigures as error:
        why = str(error)
    pods = pods_of(samples)
    return [
        _of_prometheus(_of_kubernetes(each, prometheus), each.settings, pods[each.namespace], samples, window)
        if each.namespace in pods
        else _without_figures(_of_kubernetes(each, prometheus), why, str(prometheus))
        for each in observed
    ]


def _of_kubernetes(each: ObservedTrack, prometheus: PrometheusClient) -> TrackFigures:
    try:
        pods = prometheus.cluster.find("Pod", each.namespace, f"{DEPLOYMENT_LABEL}={each.service}")
        return replace(_empty(each), states=states_of(prometheus.cluster, each.namespace, pods))
    except ClusterError as error:
        why = f"no right to list pods in {each.namespace}: {ROLE}" if isinstance(error, NoRights) else error
        return replace(_empty(each), unseen=f"pods that are new, wait or were lost are not known: {why}")


def _of_prometheus(
    track: TrackFigures, settings: Settings, pods: Sequence[PodFigures], samples: Sequence[Sample], window: int
) -> TrackFigures:
    p50, p95 = (track_quantile(samples, track.namespace, name) for name in ("track_p50", "track_p95"))
    if not track.unseen:  # Prometheus remembers a pod for 5 minutes once its monitor is deleted, as a canary's is
        pods = [pod for pod in pods if pod.pod in track.states.names] or _ready_pods(track)
    memory, cpu = float(size_in_bytes(settings.memory)), settings.cpu  # of pods whose runtime is too old to tell them
    known_pods = (replace(pod, memory_limit=pod.memory_limit or memory, cores_asked=pod.cores_asked or cpu) for pod in pods)
    return replace(track, seconds=window, p50=p50, p95=p95, pods=tuple(known_pods))


def _ready_pods(track: TrackFigures) -> list[PodFigures]:
    return [PodFigures(name, version, ready=1.0) for name, version, _ in sorted(track.states.ready)]


def _without_figures(track: TrackFigures, why: str, prometheus: str) -> TrackFigures:
    """Return a track without series in Prometheus. why: the trouble of Prometheus, "" where it answers.

    Nothing is unknown about a track that Kubernetes knows to have no pod, unless Prometheus is away and pods are wanted.
    """
    is_seen_without_pods = not (track.unseen or track.states.ready or track.states.waiting)
    if is_seen_without_pods and not (why and track.wanted):
        return track
    monitor = "PodMonitor" if track.offline else "ServiceMonitor"
    trouble = why or NOT_SCRAPED.format(prometheus, track.namespace, track.service, monitor)
    return replace(track, trouble=trouble, pods=tuple(_ready_pods(track)))


def _told_once(tracks: Sequence[TrackFigures]) -> list[TrackFigures]:
    """Return a region's tracks, the trouble of one that need not be there left out where another track tells enough."""
    needed = any(each.wanted or each.pods for each in tracks)
    quiet = [not each.wanted and not each.pods and (needed or bool(number or each.arm)) for number, each in enumerate(tracks)]
    return [replace(each, trouble="") if is_quiet else each for each, is_quiet in zip(tracks, quiet, strict=True)]


def _empty(each: ObservedTrack) -> TrackFigures:
    return TrackFigures(
        each.region.name, each.track, each.namespace, each.service, each.wanted, offline=each.offline, arm=each.arm
    )


def selector(service: str, namespaces: Sequence[str], *more: str, arm: str = "") -> str:
    """Return the matchers of a service's series in some namespaces, without braces. more: further ones. arm: "" for none."""
    return ",".join((one_of("namespace", namespaces), matchers(service=service, arm=arm), *more))


def figures_query(service: str, namespaces: Sequence[str], window: str, arm: str = "") -> str:
    """Return one query for all figures of a service's online pods, or of an arm's. window: of rates and quantiles, as 2m.

    One question a refresh costs a Prometheus less than one for each figure does.
    """
    all_ = selector(service, namespaces, arm=arm)
    return together({**_process(all_, window), **_requests(all_, window)})


def offline_query(service: str, namespaces: Sequence[str], window: str) -> str:
    """Return one query for all figures of a service's offline pods. service: the name of their Deployment."""
    all_ = selector(service, namespaces)
    dead = selector(service, namespaces, 'outcome="dead"')
    finished = _summed(f"rate(monopod_offline_records_total{{{all_}}}[{window}])")
    records = {
        "rate": finished,
        "valid": finished,
        "errors": _summed(f"rate(monopod_offline_records_total{{{dead}}}[{window}])"),
        "queue_rows": _summed(f"monopod_offline_lag_records{{{all_}}}"),
        "held": _summed(f"monopod_offline_held{{{all_}}}"),
        "away": f'max by ({BY_POD}) ({{__name__=~"monopod_offline_(sink|brokers)_away_seconds",{all_}}})',
    }
    return together({**_process(all_, window), **records})


def together(expressions: Mapping[str, str]) -> str:
    """Return the query of several. expressions: by the name of the field in PodFigures, or of a track's quantile."""
    return " or ".join(f'label_replace({expr}, "{FIGURE}", "{name}", "namespace", ".*")' for name, expr in expressions.items())


def answer_quantile(share: float, where: str, window: str, by: str = "") -> str:
    """Return the PromQL of a quantile of the answers' durations, in seconds. where: matchers. by: the labels that stay."""
    buckets = f"rate(monopod_answer_duration_seconds_bucket{{{where}}}[{window}])"
    return f"histogram_quantile({share}, sum by ({by and f'{by}, '}le) ({buckets}))"


def _summed(series: str) -> str:
    return f"sum by ({BY_POD}) ({series})"


def _process(all_: str, window: str) -> dict[str, str]:
    """Return the PromQL of the figures that each pod has. all_: the matchers of its series."""
    started = _summed(f"changes(process_start_time_seconds{{{all_}}}[1h])")
    recycled = _summed(f"changes(monopod_recycles{{{all_}}}[1h])")
    return {
        "version": f"max by ({BY_POD}, version) (monopod_release_info{{{all_}}})",
        "ready": _summed(f"monopod_ready{{{all_}}}"),
        "memory": _summed(f"process_resident_memory_bytes{{{all_}}}"),
        "memory_limit": _summed(f"monopod_memory_limit_bytes{{{all_}}}"),
        "cores": _summed(f"rate(process_cpu_seconds_total{{{all_}}}[{window}])"),
        "cores_asked": _summed(f"monopod_cpu_cores{{{all_}}}"),
        "restarts": f"{started} - ({recycled} or 0 * {started})",  # pods of older releases have no count of recycles
    }


def _requests(all_: str, window: str) -> dict[str, str]:
    """Return the PromQL of the figures of requests. all_: the matchers of the pods' series."""
    counted, failed, full = (f"{all_},{which}" for which in (COUNTED, COUNTED_FAILED, 'code="429"'))
    return {
        "rate": _summed(f"rate(monopod_requests_total{{{all_}}}[{window}])"),
        "valid": _summed(f"rate(monopod_requests_total{{{counted}}}[{window}])"),
        "errors": _summed(f"rate(monopod_requests_total{{{failed}}}[{window}])"),
        "refused": _summed(f"rate(monopod_requests_total{{{full}}}[{window}])"),
        "p50": answer_quantile(0.5, all_, window, BY_POD),
        "p95": answer_quantile(0.95, all_, window, BY_POD),
        "track_p50": answer_quantile(0.5, all_, window, BY_TRACK),
        "track_p95": answer_quantile(0.95, all_, window, BY_TRACK),
        "queue_rows": _summed(f"monopod_queue_rows{{{all_}}}"),
        "queue_age": f"max by ({BY_POD}) (monopod_queue_oldest_age_seconds{{{all_}}})",
    }


def pods_of(samples: Iterable[Sample]) -> dict[str, list[PodFigures]]:
    """Return the pods of an answer to either query by their namespace, in the order of their names."""
    found: defaultdict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    versions: dict[tuple[str, str], str] = {}
    for each in samples:
        key = each.labels["namespace"], each.labels.get("pod", "")
        if each.labels[FIGURE] == "version":
            versions[key] = each.labels.get("version", "")
        elif key[1]:
            found[key][each.labels[FIGURE]] = each.value
    pods = defaultdict(list)
    for namespace, pod in sorted(found):
        if "ready" in found[namespace, pod]:  # others have ended, and have rates of the window's beginning alone
            figures = found[namespace, pod]
            pods[namespace].append(PodFigures(pod, versions.get((namespace, pod), ""), **figures))
    return dict(pods)


def track_quantile(samples: Iterable[Sample], namespace: str, name: str) -> float | None:
    """Return a quantile of all of a namespace's pods. name: track_p50 or track_p95."""
    wanted = {FIGURE: name, "namespace": namespace}
    return next((each.value for each in samples if dict(each.labels) == wanted), None)
