"""Where a release goes: one track of a service in one cluster, and on whose behalf.

Knows names. Does not know what is there.
"""

from dataclasses import dataclass

from conf.base.references import Ref
from conf.remote.cluster import Cluster
from conf.rollout import history as histories
from conf.rollout.history import Holder

LEAVES = 60.0  # seconds for an object without pods: a controller that is alive takes its finalizer off in a few


class InTheWay(Exception):
    """Something is there that a release would have to break: another's object, or a Deployment that somebody paused."""


@dataclass(frozen=True)
class WayIn:
    """Where a region's way in can be asked: the service's URL there, and the host that the request names."""

    url: str
    host: str


@dataclass(frozen=True)
class Place:
    """One track of a service in one cluster. patience: seconds for one more pod to be ready; wait: for another deploy's end.

    leaves: seconds for an object without pods to be gone once it is deleted.
    by: who deploys, for history and lease. holder: whose the name must be, or becomes with take_over; None does not ask.
    """

    cluster: Cluster
    namespace: str
    service: str
    patience: float = 60.0
    leaves: float = LEAVES
    by: str = ""
    holder: Holder | None = None
    take_over: bool = False
    way_in: WayIn | None = None
    wait: float = 0.0

    @property
    def history(self) -> Ref:
        return Ref("ConfigMap", self.namespace, histories.name(self.service))

    @property
    def deployment(self) -> Ref:
        return Ref("Deployment", self.namespace, self.service)
