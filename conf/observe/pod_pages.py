"""The pods' own metrics pages, read through the API server, where there is no Prometheus.

Knows pods and their page. Does not know Prometheus, nor what a figure means. A page holds sums since the pod's start, so a rate
needs two readings.

Concurrency: pages are read on the threads of conf.observe.gathering. The readings of the last call are replaced whole, by the
one thread that calls `figures`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from conf.base.object_references import Item
from conf.clusters.region import Region
from conf.observe.gathering import TooSlow, gathered
from conf.observe.metrics_page import Page, UnreadablePage, figures_between, increases, parsed
from conf.observe.pod_figures import PodFigures, quantile
from conf.observe.pod_states import PodStates, has_ended, pod_states
from conf.observe.prometheus import NoFigures, is_of_api_server
from conf.plan.pods import ADMIN_PORT
from conf.remote.cluster import Cluster, ClusterError, NoRights

PAUSE = 3.0  # seconds between two readings, where there was none before
READING_SECONDS = 10.0  # for all pods of a track together
MOST_PODS = 50  # of a track that are read
ROLE = "the Role monopod-read of charts/cluster gives it (docs/observe.md)"
NOT_FOUND = 404
MOST_AGE = 120.0  # seconds after which a reading is too old to count from


@dataclass(frozen=True)
class Reading:
    """The figures of a track's pods. seconds: between the two readings. p50, p95: seconds, of all requests together.

    pages: how many of the `running` pods have a page that was read. Of others, only readiness and restarts are known.
    """

    pods: tuple[PodFigures, ...]
    pages: int
    running: int
    seconds: float
    p50: float | None
    p95: float | None


class PodPages:
    """The pages of a region's pods. Each method raises NoFigures."""

    def __init__(self, region: Region):
        self._region = region
        self._cluster: Cluster | None = None
        self._before: dict[str, Page] = {}  # by the pod's uid

    def states(self, namespace: str, service: str) -> PodStates:
        """Return the states of a Deployment's pods, with those that were lost in the last hour."""
        pods = self._listed(namespace, service)
        assert self._cluster is not None
        try:
            return states_of(self._cluster, namespace, pods)
        except ClusterError as error:
            raise NoFigures(str(error)) from error

    def figures(self, namespace: str, service: str) -> Reading:
        """Return the figures of a track's pods. The first call takes PAUSE seconds longer than each later one."""
        pods = self._pods(namespace, service)
        running = [each for each in pods if _runs(each)]
        before, after = self._read_twice(running[:MOST_PODS])
        both = [(before[uid], page) for uid, page in after.items() if uid in before]
        seconds = max((now.at - then.at for then, now in both), default=0.0)
        p50, p95 = (quantile(part, increases(both)) for part in (0.5, 0.95))
        figures = tuple(_figures(each, before, after) for each in pods)
        return Reading(figures, len(after), len(running), seconds, p50, p95)

    def readings(self, namespace: str, service: str) -> list[tuple[Page, Page]]:
        """Return two readings of the page of each pod that runs. service: the name of its Deployment."""
        before, after = self._read_twice([each for each in self._pods(namespace, service) if _runs(each)][:MOST_PODS])
        return [(before[uid], page) for uid, page in after.items() if uid in before]

    def pages(self, namespace: str, service: str) -> dict[str, Page]:
        """Return the page of each pod that runs, by the pod's name. service: the name of its Deployment."""
        pods = [each for each in self._pods(namespace, service) if _runs(each)][:MOST_PODS]
        names = {_uid(each): str(each["metadata"]["name"]) for each in pods}
        return {names[uid]: page for uid, page in self._read(pods).items()}

    def _read_twice(self, asked: Sequence[Item]) -> tuple[dict[str, Page], dict[str, Page]]:
        """Return the earlier and the later pages of pods, by their uid. An earlier reading may be of a former call."""
        before = {uid: page for uid, page in self._before.items() if time.monotonic() - page.at < MOST_AGE}
        if any(_uid(each) not in before for each in asked):
            before |= self._read(asked)
            time.sleep(PAUSE)
        after = self._read(asked)
        self._before = self._before | after
        return before, after

    def _listed(self, namespace: str, service: str) -> list[Item]:
        try:
            self._cluster = self._cluster or Cluster(self._region.context)
            return self._cluster.find("Pod", namespace, f"app.kubernetes.io/name={service}")
        except NoRights as error:
            raise NoFigures(f"no right to list pods in {namespace}: {ROLE}") from error
        except ClusterError as error:
            raise NoFigures(str(error)) from error

    def _pods(self, namespace: str, service: str) -> list[Item]:
        found = self._listed(namespace, service)
        staying = [each for each in found if "deletionTimestamp" not in each["metadata"] and not has_ended(each)]
        return sorted(staying, key=lambda each: str(each["metadata"]["name"]))

    def _read(self, pods: Sequence[Item]) -> dict[str, Page]:
        """Return the pages of pods by their uid. Raises NoFigures where there are pods and no page could be read."""
        answers = gathered({_uid(each): partial(self._page, each) for each in pods}, READING_SECONDS)
        expected = (ClusterError, UnreadablePage, TooSlow)
        for error in answers.failed.values():
            if isinstance(error, ClusterError) and error.status == NOT_FOUND and is_of_api_server(error.body):
                continue  # the pod ended after it was listed
            if isinstance(error, NoRights):
                namespace = pods[0]["metadata"]["namespace"]
                raise NoFigures(f"no right to get pods/proxy in {namespace}: {ROLE}") from error
            if not isinstance(error, expected) or not answers.found:
                raise NoFigures(f"no pod's page can be read through the API server: {error}") from error
        return answers.found

    def _page(self, pod: Item) -> Page:
        assert self._cluster is not None
        metadata = pod["metadata"]
        where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}:{ADMIN_PORT}/proxy/metrics"
        text = self._cluster.proxied(where, [])
        return parsed(text, time.monotonic())


def states_of(cluster: Cluster, namespace: str, pods: Sequence[Item]) -> PodStates:
    """Return the states of pods. Events are asked for where a pod has ended. Raises ClusterError."""
    evictions = cluster.find("Event", namespace, fields="reason=Evicted") if any(map(has_ended, pods)) else []
    return pod_states(pods, evictions, datetime.now(UTC))


def _figures(pod: Item, before: dict[str, Page], after: dict[str, Page]) -> PodFigures:
    name, uid = str(pod["metadata"]["name"]), _uid(pod)
    restarts = restarts_in_an_hour(pod, datetime.now(UTC))
    if uid in after:
        return figures_between(name, before.get(uid, after[uid]), after[uid], restarts)
    return PodFigures(name, ready=float(_is_ready(pod)), restarts=restarts)


def restarts_in_an_hour(pod: Item, now: datetime) -> float:
    """Return how often a pod's containers restarted in the last hour, as far as its status tells.

    A pod keeps the number since its start, and the time of its last restart alone. So of a pod older than an hour whose last
    restart was in that hour, it is 1.
    """
    hour_ago = now - timedelta(hours=1)
    statuses = pod["status"].get("containerStatuses") or []
    if _time(pod["metadata"]["creationTimestamp"]) > hour_ago:
        return float(sum(each.get("restartCount", 0) for each in statuses))
    ends = [(each.get("lastState") or {}).get("terminated") or {} for each in statuses]
    return float(sum(1 for each in ends if each.get("finishedAt") and _time(each["finishedAt"]) > hour_ago))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _uid(pod: Item) -> str:
    return str(pod["metadata"]["uid"])


def _runs(pod: Item) -> bool:
    """Return whether a pod's runtime can be asked: the container has started."""
    return any("running" in (each.get("state") or {}) for each in pod["status"].get("containerStatuses") or [])


def _is_ready(pod: Item) -> bool:
    """Return whether Kubernetes sends a pod requests."""
    conditions = pod["status"].get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
