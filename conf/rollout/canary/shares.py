"""The shares of a canary on the routes, and the guard that takes them from pods that are not ready.

Knows routes and ready pods. Does not know why a share is what it is.
"""

import time
from collections.abc import Mapping, Sequence

from conf.base.object_references import Item
from conf.render.arms import weighted
from conf.rollout.canary.state import given_shares
from conf.rollout.lease import Lease
from conf.rollout.readiness import running_pods
from conf.rollout.targets import Say, Target

LOOK_SECONDS = 2.0  # between two looks at the arms' pods: with a proxy's second, far below the 10 s that are promised


class Shares:
    """The shares of a service's route. routes: the objects of the release whose routes are live.

    restarts: of the containers of each arm, as they were seen last.
    """

    def __init__(self, target: Target, routes: Sequence[Item], lease: Lease, say: Say):
        self._target, self._routes, self._lease, self._say = target, list(routes), lease, say
        self._wanted: Mapping[str, int] = {}
        self._given: Mapping[str, int] | None = None
        self._looked = float("-inf")
        self._shareless_since: float | None = None
        self.restarts: dict[str, int] = {}

    @property
    def shareless(self) -> float:
        """Seconds for which the arms have had no share, since one of them has no ready pod."""
        return 0.0 if self._shareless_since is None else time.monotonic() - self._shareless_since

    @property
    def is_known(self) -> bool:
        """Whether shares have been set, since this command began."""
        return self._given is not None

    def of(self, name: str) -> int:
        """Return the share that a Service is to have, in percent."""
        return self._wanted.get(name, 0)

    def follow(self, routes: Sequence[Item]) -> None:
        """Set shares on the routes of another release from now on, which has been applied with them."""
        self._routes = list(routes)

    @property
    def given(self) -> Mapping[str, int]:
        """The shares that the routes have now."""
        return self._given or {}

    def set(self, wanted: Mapping[str, int]) -> None:
        """Set the shares, if each arm has a ready pod. Raises LeaseLost, ClusterError."""
        self._wanted, self._looked = wanted, float("-inf")
        self.keep()

    def keep(self) -> None:
        """Look at the arms' pods, unless that was just done, and give or take their share. Raises LeaseLost, ClusterError."""
        if self._wanted and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._apply(given_shares(self._wanted, self._ready(), self._target.service))

    def _ready(self) -> dict[str, int]:
        found = {}
        for name in self._wanted:
            if name != self._target.service:
                pods = self._lease.retry(running_pods, self._target.cluster, self._target.namespace, [name])
                found[name], self.restarts[name] = sum(pods.versions.values()), pods.restarts
        return found

    def _apply(self, shares: Mapping[str, int]) -> None:
        if shares == self._given:
            return
        for item in weighted(self._routes, shares):
            self._lease.retry(self._target.cluster.apply, item)
        if shares != self._wanted:
            self._shareless_since = time.monotonic()
            self._say("an arm of the canary has no ready pod: all requests go to the old pods until it has one")
        elif self._shareless_since is not None:
            self._shareless_since = None
            self._say("the arms of the canary have ready pods again, and their shares")
        self._given = shares
