"""The latest counts of the pods that a canary is judged by, and where each pod's part of the step begins.

A pod that ended still counts. A pod whose counts went back was restarted. What it had counted is kept, and it goes on as one
more pod. No clocks are compared, since those of pods and of this machine differ.

Knows counts by pod and by Service. Does not know where counts are read, nor what they tell.
"""

from collections.abc import Mapping

from conf.rollout.canary.counting import Sums, since


class LatestCounts:
    """The counts of one step after another. service: the name of the service's own pods, which are older than any step."""

    def __init__(self, service: str):
        self._service = service
        self._seen: set[str] = set()  # pods that were seen before the step
        self._latest: dict[str, dict[str, Sums]] = {}  # Service -> pod -> its counts
        self._names: dict[str, str] = {}  # of pods that were restarted: the name under which they go on
        self._late: dict[str, Sums] = {}  # where pods begin of which the step's first reading told nothing

    def begin_step(self) -> None:
        """Forget all counts, since a new step begins."""
        self._seen |= {pod for pods in self._latest.values() for pod in pods}
        self._latest, self._names, self._late = {}, {}, {}

    def note(self, service: str, pod: str, found: Sums) -> None:
        """Keep a reading of a pod."""
        pods = self._latest.setdefault(service, {})
        name = self._names.get(pod, pod)
        if name in pods and found["counted"] < pods[name]["counted"]:
            name = self._names[pod] = f"{name}, restarted"
            self._late[name] = {}
        pods[name] = found

    @property
    def now(self) -> dict[str, Sums]:
        """The latest counts of each pod."""
        return {pod: found for pods in self._latest.values() for pod, found in pods.items()}

    def begin(self, known: Mapping[str, Sums]) -> dict[str, Sums]:
        """Return the counts with which each pod's part of the step began. A pod that is not in it began with nothing.

        known: the step's first reading. The service's own pods, and arms' pods of earlier steps, were there when the step
        began. If one was not read then, it begins with the first counts that are read of it. An arm's new pods got no request
        before the step's shares. So all that they have counted is of the step, however late they are scraped.
        """
        for service, pods in self._latest.items():
            for pod, found in pods.items():
                if pod not in known and (service == self._service or pod in self._seen):
                    self._late.setdefault(pod, found)
        return {**self._late, **known}

    def total(self, service: str, begin: Mapping[str, Sums]) -> dict[str, float]:
        """Return what a Service's pods counted together since the step began."""
        return since(begin, self._latest.get(service, {}))
