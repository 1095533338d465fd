"""The arms of a canary in the cluster: their objects, their pods, and their shares on the routes."""

import time
from collections.abc import Callable, Mapping, Sequence

from conf.base.object_references import Item, Ref, ref
from conf.render.arms import BASELINE, CANARY, arm_items, arm_name, arm_pods, canary_watch, kept_from_scaling_in, weighted
from conf.rollout.canary.state import TAKING_OVER, Canary, given_shares
from conf.rollout.lease import Lease
from conf.rollout.readiness import running_pods, wait_ready
from conf.rollout.release import apply
from conf.rollout.removal import remove
from conf.rollout.targets import Say, Target

LOOK_SECONDS = 2.0  # between two looks at the arms' pods: with a proxy's second, far below the 10 s that are promised


class Arms:
    """The arms of a service. new, old: the objects of the release that is tried, and of the one that serves."""

    def __init__(self, target: Target, new: Sequence[Item], old: Sequence[Item], lease: Lease, say: Say):
        self._target, self._new, self._old = target, new, old
        self._lease, self._say = lease, say

    def apply(self, canary: Canary) -> None:
        """Apply the arms with the pods of the present phase, and keep the old pods from being scaled in."""
        service = self._target.service
        taking_over = canary.phase == TAKING_OVER
        pods = canary.pods if taking_over else arm_pods(canary.pods, canary.share)
        items = kept_from_scaling_in(self._old, service, canary.pods) if not taking_over else []
        items += arm_items(self._new, service, CANARY, pods)
        if canary.baseline and not taking_over:
            items += arm_items(self._old, service, BASELINE, pods)
        apply(self._target, items, self._lease, self._say)

    def wait(self, suffix: str, meanwhile: Callable[[], None]) -> None:
        """Wait until an arm's pods are ready. meanwhile: called before each look. Raises as `wait_ready` does."""
        name = arm_name(self._target.service, suffix)
        where = Ref("Deployment", self._target.namespace, name)
        cluster, seconds = self._target.cluster, self._target.pod_timeout
        wait_ready(cluster, where, seconds, lambda words: self._say(f"{name}: {words}"), meanwhile)

    def remove_baseline(self, meanwhile: Callable[[], None]) -> None:
        """Remove the baseline, which may have two pods or more, from its pods to what leads to them.

        meanwhile: called between two looks at whether it is gone.
        """
        items = arm_items(self._old, self._target.service, BASELINE, 2)
        remove(self._target, tuple(map(ref, reversed(items))), self._lease, self._say, meanwhile)

    def watch(self, words: str) -> None:
        """Note for the alert CanaryNotDriven that a command drives the canary. words: how far it is."""
        apply(self._target, [canary_watch(self._new, self._target.service, time.time(), words)], self._lease, self._say)


class Shares:
    """The shares of a service's route, and the guard that takes them from pods that are not ready.

    routes: the objects of the release whose routes are live. restarts: of the containers of each arm, as they were seen last.
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
        return self._wanted.get(name, 0)

    def follow(self, routes: Sequence[Item]) -> None:
        """Set shares on the routes of another release from now on, which has been applied with them."""
        self._routes = list(routes)

    @property
    def given(self) -> Mapping[str, int]:
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
