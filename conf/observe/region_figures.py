"""The figures of a service's tracks in each region: from its Prometheus, else from the pods' own pages.

Knows which of the two ways is tried first, and what is told about the other. Does not know how a figure is judged or shown.

Concurrency: `ask` asks all regions at once, and online beside offline pods, on the threads of conf.observe.gathering.
Each pair of sources is used by one thread at a time, unless a thread was abandoned: then `ask` makes new ones in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from conf.clusters.region import Region
from conf.observe.figure_queries import figures_query, offline_query, pods_of, track_quantile
from conf.observe.gathering import TooSlow, gathered
from conf.observe.pod_figures import PAGES, PodFigures, TrackFigures
from conf.observe.pod_pages import PodPages
from conf.observe.prometheus import NoFigures, PrometheusClient, Sample
from conf.plan.offline import offline_name
from conf.render.arms import arm_name
from serving.settings import Settings, size_in_bytes

REGION_SECONDS = 60.0  # for a region: Prometheus' time, two readings of the pods' pages, and the API server's
NOT_SCRAPED = "Prometheus ({}) has no series of {}/{}: has its {} the labels that prometheus.labels names?"


@dataclass(frozen=True)
class ObservedTrack:
    """The pods of a track of a service in one region: the online or the offline ones, or an arm of its canary.

    wanted: pods that value.py asks for, 0 where it need not be there. arm: "canary", "baseline", or "" for the service's own.
    """

    region: Region
    track: str
    namespace: str
    settings: Settings
    wanted: int
    offline: bool = False
    arm: str = ""

    @property
    def service(self) -> str:
        """The name of the Deployment, which is the label `service` of its pods' series."""
        if self.arm:
            return arm_name(self.settings.service_name, f"-{self.arm}")
        return offline_name(self.settings.service_name) if self.offline else self.settings.service_name


class Sources:
    """The two sources of each region, for the online and for the offline pods.

    window: seconds that rates and quantiles of Prometheus are about.
    """

    def __init__(self, regions: Sequence[Region], window: int):
        self._regions = {each.name: each for each in regions}
        self._window = window
        self._made: dict[tuple[str, str], tuple[PrometheusClient, PodPages]] = {}

    def ask(self, watched: Sequence[ObservedTrack]) -> list[TrackFigures]:
        """Return the figures of each track, in the order of `watched`. Where there are none, `trouble` says why."""
        by_region: dict[tuple[str, str], list[ObservedTrack]] = {}
        for each in watched:
            by_region.setdefault((each.region.name, each.service), []).append(each)
        for key in by_region:
            region = self._regions[key[0]]
            self._made.setdefault(key, (PrometheusClient(region), PodPages(region)))
        asks = {key: partial(_in_region, tracks, *self._made[key], self._window) for key, tracks in by_region.items()}
        answers = gathered(asks, REGION_SECONDS)
        found: dict[tuple[str, str, str], TrackFigures] = {}
        for key, tracks in by_region.items():
            if error := answers.failed.get(key):
                if not isinstance(error, TooSlow):
                    raise error
                del self._made[key]
                answers.found[key] = [replace(_empty(each), trouble=str(error)) for each in tracks]
            found |= {(*key, each.track): each for each in _told_once(answers.found[key])}
        return [found[each.region.name, each.service, each.track] for each in watched]


def _in_region(
    watched: Sequence[ObservedTrack], prometheus: PrometheusClient, pages: PodPages, window: int
) -> list[TrackFigures]:
    samples: list[Sample] = []
    why = ""
    try:
        namespaces, query = [each.namespace for each in watched], offline_query if watched[0].offline else figures_query
        samples = prometheus.now(query(watched[0].service, namespaces, f"{window}s"))
    except NoFigures as error:
        why = str(error)
    pods = pods_of(samples)
    found = [
        _of_prometheus(each, pods[each.namespace], samples, window)
        if each.namespace in pods
        else _of_pages(each, pages, why, str(prometheus))
        for each in watched
    ]
    return [_with_states(each, pages) for each in found]


def _with_states(track: TrackFigures, pages: PodPages) -> TrackFigures:
    try:
        return replace(track, states=pages.states(track.namespace, track.service))
    except NoFigures as error:
        return replace(track, unseen=f"pods that are new, wait or were lost are not known: {error}")


def _of_prometheus(each: ObservedTrack, pods: Sequence[PodFigures], samples: Sequence[Sample], window: int) -> TrackFigures:
    p50, p95 = (track_quantile(samples, each.namespace, name) for name in ("track_p50", "track_p95"))
    return replace(_empty(each), seconds=window, p50=p50, p95=p95, pods=tuple(_limited(pod, each.settings) for pod in pods))


def _of_pages(each: ObservedTrack, pages: PodPages, why: str, who: str) -> TrackFigures:
    """Return the figures of the pods' own pages. why: Prometheus' trouble, "" where it has no series of this track."""
    note = why or NOT_SCRAPED.format(who, each.namespace, each.service, "PodMonitor" if each.offline else "ServiceMonitor")
    try:
        read = pages.figures(each.namespace, each.service)
    except NoFigures as error:
        return replace(_empty(each), trouble=str(error) if str(error) == note else f"{note}; and {error}")
    if not read.pods:
        return replace(_empty(each), note=why)
    if read.pages < read.running:
        note += f"; rates, memory and queues are of {read.pages} of {read.running} pods"
    pods = tuple(_limited(pod, each.settings) for pod in read.pods)
    return replace(_empty(each), source=PAGES, note=note, seconds=read.seconds, p50=read.p50, p95=read.p95, pods=pods)


def _told_once(tracks: Sequence[TrackFigures]) -> list[TrackFigures]:
    """Return a region's tracks, the trouble of one that need not be there left out where another track tells enough."""
    needed = any(each.wanted or each.pods for each in tracks)
    quiet = [not each.wanted and (needed or bool(number or each.arm)) for number, each in enumerate(tracks)]
    return [replace(each, trouble="") if is_quiet else each for each, is_quiet in zip(tracks, quiet, strict=True)]


def _limited(pod: PodFigures, settings: Settings) -> PodFigures:
    """Return a pod's figures with value.py's memory and cpu where its runtime is too old to tell its own."""
    limit = pod.memory_limit or float(size_in_bytes(settings.memory))
    return replace(pod, memory_limit=limit, cores_asked=pod.cores_asked or settings.cpu)


def _empty(each: ObservedTrack) -> TrackFigures:
    return TrackFigures(
        each.region.name, each.track, each.namespace, each.service, each.wanted, offline=each.offline, arm=each.arm
    )
