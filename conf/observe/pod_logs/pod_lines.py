"""The lines that a service's pods wrote, in one region: those since a time, and then those that are new.

Knows which container is the service's, and which of its lines were read. Does not know how a line looks.

A container that was restarted between two readings has its last lines read from its previous log. Its other lines of before are
known then. A pod that comes later is read from its start.

Pods take turns, an answer each, so that one that writes without an end holds up no other. A reading may have few turns.

The kubelet takes whole seconds as a start, and MOST_BYTES are asked for at once. The rest of a second with more cannot be asked
for, and is told as missing.
"""

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from conf.base.object_references import Item, Ref
from conf.clusters.region import Region
from conf.observe.pod_logs.line_forms import Line, Trouble, lines_of
from conf.plan.offline import offline_name
from conf.remote.cluster import Cluster, ClusterError
from conf.render.arms import arm_names

MOST_BYTES = 4 * 2**20  # of one answer
NO_LOG = (400, 404)  # the container has not begun, was not restarted, or its pod is gone
NAME = "app.kubernetes.io/name"  # the label of a pod that has its Deployment's name


class PodLines:
    """One region's pods of a track, the offline ones included. One thread may use it.

    since: seconds back from now, of the first reading. It is None for all that the node keeps.
    pods: how many the last reading found.
    """

    def __init__(self, region: Region, namespace: str, service: str, since: float | None):
        self.region, self._namespace, self._service = region, namespace, service
        self.pods = 0
        self._since = "" if since is None else (datetime.now(UTC) - timedelta(seconds=since)).isoformat(timespec="seconds")
        self._last: dict[str, tuple[str, int]] = {}  # by pod: the stamp of the last line, and how many lines have it
        self._restarts: dict[str, int] = {}
        self._cluster: Cluster | None = None

    def read(self, previous: bool = False, turns: int | None = None) -> Iterator[list[Line] | Trouble]:
        """Yield the lines that were not read before, an answer at a time, and what is left out of them.

        previous: of the containers before their restart. turns: most answers of a pod, after which the next reading goes on;
        None for all. Raises ClusterError.
        """
        self._cluster = self._cluster or Cluster(self.region.context)
        names = ",".join((self._service, offline_name(self._service), *arm_names(self._service)))
        pods = self._cluster.find("Pod", self._namespace, f"{NAME} in ({names})")
        self.pods = len(pods)
        reading = [self._of_pod(self._cluster, pod, previous) for pod in pods]
        for _ in count() if turns is None else range(turns):
            if not reading:
                return
            still = []
            for each in reading:
                if (yield from _next_answer(each)):
                    still.append(each)
            reading = still

    def _of_pod(self, cluster: Cluster, pod: Item, previous: bool) -> Iterator[list[Line] | Trouble]:
        name, offline = pod["metadata"]["name"], offline_name(self._service)
        container = offline if pod["metadata"].get("labels", {}).get(NAME) == offline else self._service
        restarts = _restarts(pod, container)
        if previous or restarts > self._restarts.get(name, restarts):
            yield from self._new(cluster, name, container, True)
        self._restarts[name] = restarts  # not before, since a reading may end among the lines of the previous container
        if not previous:
            yield from self._new(cluster, name, container, False)

    def _new(self, cluster: Cluster, pod: str, container: str, previous: bool) -> Iterator[list[Line] | Trouble]:
        where = Ref("Pod", self._namespace, pod)
        while True:
            last, count = self._last.get(pod, ("", 0))
            try:
                text = cluster.timed_lines(where, container, last or self._since, MOST_BYTES, previous=previous)
            except ClusterError as error:
                if error.status in NO_LOG:
                    return
                raise
            is_whole = len(text.encode()) < MOST_BYTES
            lines = lines_of(self.region.name, pod, text if is_whole else text.rpartition("\n")[0])
            new = unread(lines, last, count)
            if new:
                stamp = new[-1].stamp
                self._last[pod] = stamp, sum(line.stamp == stamp for line in lines)
                yield new
            if is_whole:
                return
            if not new:
                yield from self._go_on(pod, lines, lines_of(self.region.name, pod, text)[-1])

    def _go_on(self, pod: str, read: list[Line], cut: Line) -> Iterator[Trouble]:
        """Begin with the second of the line that an answer cut; with the next one where that would give the same answer."""
        second = _second(cut)
        if not read or second == _second(read[-1]):
            second += timedelta(seconds=1)
            words = f"it wrote more than {MOST_BYTES} bytes in the second of {cut.stamp[:19]}, and the rest of them is left out"
            yield Trouble(f"{self.region.name}, {pod}: {words}")
        self._last[pod] = second.isoformat(), 0


def _next_answer(parts: Iterator[list[Line] | Trouble]) -> Generator[list[Line] | Trouble, None, bool]:
    """Yield the next part of a pod, and return whether there was one."""
    for part in parts:
        yield part
        return True
    return False


def _second(line: Line) -> datetime:
    return datetime.fromisoformat(line.stamp).replace(microsecond=0)  # in the node's zone, as all stamps are


def unread(lines: list[Line], last: str, count: int) -> list[Line]:
    """Return the lines after those that were read. last: the stamp of the last one. count: how many of that stamp were read."""
    same = [line for line in lines if line.stamp == last]
    return same[count:] + [line for line in lines if line.stamp > last]


def _restarts(pod: dict[str, Any], container: str) -> int:
    statuses = pod["status"].get("containerStatuses") or []
    return sum(each.get("restartCount", 0) for each in statuses if each["name"] == container)
