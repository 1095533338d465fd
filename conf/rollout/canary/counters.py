"""The counters of a service's pods as they stand: from the region's Prometheus, else from the pods' own pages.

Knows which of the two is asked, and that the source changes one way only. A page is newer than a scrape, and a counter that
went back would look like a restart. Does not know what a counter means.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conf.base.matchers import matchers, one_of
from conf.clusters.regions import Region
from conf.observe.metrics_page import Labels, Page
from conf.observe.pod_pages import PodPages
from conf.observe.prometheus import NoFigures, PrometheusClient, Sample

SCRAPED_WITHIN = 90.0  # seconds after which Prometheus must have the series of a Service's pods
PAUSE = 3.0  # seconds between two readings of pages for a rate
RATE_WINDOW = "1m"  # of a rate that is called the present one
SCRAPE_SECONDS = 15.0  # between two scrapes of a pod, as templates/servicemonitor.yaml asks for
PAGE_SECONDS = 1.0  # between the reading of one arm's pages and of the other's
REQUESTS = "monopod_requests_total"


@dataclass(frozen=True)
class Standing:
    """The counters of some Services' pods.

    pods: Service -> pod -> its series. source: where they are from, in words. skew: seconds that two pods' may lie apart.
    """

    pods: Mapping[str, Mapping[str, Page]]
    source: str
    skew: float


class Counters:
    """The counters of pods in a namespace of a region.

    names: of the metrics that are read, with the suffixes of a histogram's series. clock: in seconds.
    """

    def __init__(self, region: Region, namespace: str, names: Sequence[str], clock: Callable[[], float] = time.monotonic):
        self._prometheus, self._pages = PrometheusClient(region), PodPages(region)
        self._namespace, self._names, self._clock = namespace, names, clock
        self._why_pages = ""  # why Prometheus is asked no more; "" while it is
        self._missing_since: float | None = None

    def standing(self, services: Sequence[str], *, new: bool = True) -> Standing:
        """Return the counters of Services' pods as they are now. A Service that has none yet has no pods in it.

        new: whether pods may be so new that Prometheus has not scraped them yet. If not, it scrapes none that it has not.
        Raises NoFigures where neither Prometheus nor the pods' pages can be read.
        """
        if not self._why_pages:
            try:
                found = _by_service(self._prometheus.now(self._query(services)), self._clock())
                self._note_missing([each for each in services if each not in found], SCRAPED_WITHIN if new else 0.0)
                if not self._why_pages:
                    pods = {each: found.get(each, {}) for each in services}
                    return Standing(pods, f"Prometheus ({self._prometheus})", SCRAPE_SECONDS)
            except NoFigures as error:
                self._why_pages = str(error)
        pages = {each: self._pages.pages(self._namespace, each) for each in services}
        return Standing(pages, f"the pods' own pages, since: {self._why_pages}", PAGE_SECONDS)

    def rate(self, service: str) -> float:
        """Return the requests a second to a Service's pods. Raises NoFigures."""
        if not self._why_pages:
            where = matchers(namespace=self._namespace, service=service)
            samples = self._prometheus.now(f"sum(rate({REQUESTS}{{{where}}}[{RATE_WINDOW}]))")
            return sum(each.value or 0.0 for each in samples)
        before = self._pages.pages(self._namespace, service)
        time.sleep(PAUSE)
        after = self._pages.pages(self._namespace, service)
        both = [(before[pod], page) for pod, page in after.items() if pod in before]
        grown = sum((now.sum(REQUESTS) or 0.0) - (then.sum(REQUESTS) or 0.0) for then, now in both)
        return max(0.0, grown / max((now.at - then.at for then, now in both), default=PAUSE))

    def _query(self, services: Sequence[str]) -> str:
        own = matchers(namespace=self._namespace)
        return f"{{{own},{one_of('service', services)},{one_of('__name__', self._names)}}}"

    def _note_missing(self, missing: Sequence[str], allowed: float) -> None:
        """Turn to the pages where Prometheus has had no series of a Service's pods for longer than allowed, in seconds."""
        now = self._clock()
        if not missing:
            self._missing_since = None
            return
        self._missing_since = now if self._missing_since is None else self._missing_since
        if not allowed or now - self._missing_since > allowed:
            labels = "has its ServiceMonitor the labels that prometheus.labels names?"
            self._why_pages = f"Prometheus ({self._prometheus}) has no series of {', '.join(missing)}: {labels}"


def _by_service(samples: Sequence[Sample], at: float) -> dict[str, dict[str, Page]]:
    """Return the series of an answer as pages. at: seconds of a monotonic clock."""
    found: dict[str, dict[str, dict[str, list[tuple[Labels, float]]]]] = {}
    for each in samples:
        service, pod, name = (each.labels.get(label, "") for label in ("service", "pod", "__name__"))
        if each.value is not None and pod:
            found.setdefault(service, {}).setdefault(pod, {}).setdefault(name, []).append((each.labels, each.value))
    return {service: {pod: Page(at, series) for pod, series in pods.items()} for service, pods in found.items()}
