"""The arms of a canary in the cluster: their objects are applied, waited for and removed.

Knows how many pods an arm has in each phase. Does not know shares, nor verdicts.
"""

import time
from collections.abc import Callable, Sequence

from conf.base.object_references import Item, Ref, ref
from conf.render.arms import BASELINE, CANARY, arm_items, arm_name, arm_pods, canary_watch, kept_from_scaling_in
from conf.rollout.canary.state import TAKING_OVER, Canary
from conf.rollout.changes import apply
from conf.rollout.lease import Lease
from conf.rollout.readiness import wait_ready
from conf.rollout.removal import remove
from conf.rollout.targets import Say, Target


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

    def remove_baseline(self) -> None:
        """Remove the baseline, which may have two pods or more, from its pods to what leads to them."""
        items = arm_items(self._old, self._target.service, BASELINE, 2)
        remove(self._target, tuple(map(ref, reversed(items))), self._lease, self._say)

    def watch(self, words: str) -> None:
        """Tell the alert about a canary that nobody drives that a command does. words: how far it is."""
        apply(self._target, [canary_watch(self._new, self._target.service, time.time(), words)], self._lease, self._say)
