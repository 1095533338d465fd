"""The changes of a release: its history is written, its objects are applied, its Deployments are waited for.

Knows how each is repeated safely, and that online pods are waited for first. Does not know the order of a release.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from conf.base.object_references import Item, Ref, deployments, ref
from conf.remote.cluster import CONFLICT, NOT_FOUND, ClusterError
from conf.rollout import history as histories
from conf.rollout import replicas
from conf.rollout.history import History
from conf.rollout.lease import Lease, LeaseLost
from conf.rollout.readiness import wait_ready
from conf.rollout.removal import AUTOSCALER, free_autoscaler
from conf.rollout.targets import Say, Target


def save(target: Target, history: History, lease: Lease) -> History:
    """Write the history, again where somebody deleted it, and return it. Raises LeaseLost where another deploy wrote it."""
    item = histories.write(history, target.service, target.namespace)
    write = target.cluster.replace if history.resource_version else target.cluster.create
    try:
        kept = lease.retry(write, item)
    except ClusterError as error:
        if error.status == NOT_FOUND and history.resource_version:
            return save(target, replace(history, resource_version=""), lease)
        found = target.cluster.get(target.history) if error.status == CONFLICT else None
        if found is None:
            raise
        if found.get("data") != item["data"]:
            words = "another deploy has written the history; `monopod status` shows what runs; then run it again"
            raise LeaseLost(words) from error
        kept = found  # this very run wrote it: only the answer was lost
    return replace(history, resource_version=kept["metadata"]["resourceVersion"])


def apply(target: Target, items: Sequence[Item], lease: Lease, say: Say) -> tuple[Ref, ...]:
    """Apply all objects in their order, and return their references."""
    applied = []
    for item in items:
        if item["kind"] == "Deployment":
            live = lease.retry(target.cluster.get, ref(item))
            step = replicas.apply_step(item, live, items)
            if step.first:
                lease.retry(target.cluster.apply, step.first, manager=replicas.REPLICAS_MANAGER)
            item = step.item
        if item["kind"] == AUTOSCALER:
            free_autoscaler(target, ref(item), lease, say)
        applied.append(ref(lease.retry(target.cluster.apply, item)))
    return tuple(applied)


def live_counts(target: Target, items: Sequence[Item], lease: Lease) -> dict[str, int]:
    """Return how many pods each Deployment of a release is to have now, by its name, without those that are not there."""
    live = {each.name: lease.retry(target.cluster.get, each) for each in deployments(items)}
    return {name: item["spec"].get("replicas", 1) for name, item in live.items() if item}


def wait_all_ready(
    target: Target, items: Sequence[Item], seconds: float, say: Say, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Wait for one Deployment after another. seconds: until one more pod is ready. Raises as `wait_ready` does."""
    for each in deployments(items):
        wait_ready(target.cluster, each, seconds, _named(target, each, say), meanwhile)


def _named(target: Target, deployment: Ref, say: Say) -> Say:
    """Return a function that says which pods a line is about, where they are not the online ones."""
    return say if deployment.name == target.service else lambda words: say(f"{deployment.name}: {words}")


def scale_all_down(target: Target, inventory: Sequence[Ref], items: Sequence[Item], lease: Lease, say: Say) -> None:
    """Bring the pods that were there down to the number that the release says."""
    for item in (each for each in items if each["kind"] == "Deployment"):
        step = replicas.scale_down_step(item, lease.retry(target.cluster.get, ref(item)), inventory)
        if step:
            _named(target, ref(item), say)(step.words)
            lease.retry(target.cluster.apply, step.item)
            wait_ready(target.cluster, ref(item), target.pod_timeout, lambda _: None)
