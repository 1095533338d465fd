"""The pods' own metrics pages, read through the API server, for a canary whose Prometheus is away."""

import time
from collections.abc import Sequence
from functools import partial

from conf.base.object_references import Item
from conf.clusters.regions import Region
from conf.observe.metrics_page import Page, UnreadablePage, parsed
from conf.observe.parallel import TooSlow, gathered
from conf.observe.pod_states import has_ended
from conf.observe.prometheus import NoFigures, is_of_api_server
from conf.plan.pods import ADMIN_PORT
from conf.remote.cluster import Cluster, ClusterError, NoRights

READING_SECONDS = 10.0  # for all pods of a track together
MOST_PODS = 50  # of a track that are read
ROLE = "the Role monopod-read of charts/cluster gives it (docs/observe.md)"
NOT_FOUND = 404


class PodPages:
    """The pages of a region's pods. Each method raises NoFigures."""

    def __init__(self, region: Region):
        self._region = region
        self._cluster: Cluster | None = None

    def pages(self, namespace: str, service: str) -> dict[str, Page]:
        """Return the page of each pod that runs, by the pod's name. service: the name of its Deployment."""
        pods = [each for each in self._pods(namespace, service) if _runs(each)][:MOST_PODS]
        names = {_uid(each): str(each["metadata"]["name"]) for each in pods}
        return {names[uid]: page for uid, page in self._read(pods).items()}

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


def _uid(pod: Item) -> str:
    return str(pod["metadata"]["uid"])


def _runs(pod: Item) -> bool:
    """Return whether a pod's runtime can be asked: the container has started."""
    return any("running" in (each.get("state") or {}) for each in pod["status"].get("containerStatuses") or [])
