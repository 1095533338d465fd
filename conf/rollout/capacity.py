"""Who sets how many pods there are: the release, an autoscaler, or somebody by hand.

Knows what must be done so that their number never falls before a release is proven to be good. A pure module.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from conf.base.object_references import MANAGER, SCALERS, Item, Ref
from conf.rollout import field_owners

REPLICAS_MANAGER = f"{MANAGER}-replicas"


@dataclass(frozen=True)
class Step:
    """What is applied. first: what is applied before it as REPLICAS_MANAGER, or None. words: what a person should know."""

    item: Item
    first: Item | None = None
    words: str = ""


def at_least(items: Iterable[Item], count: int) -> list[Item]:
    """Return a release's objects with no fewer pods than are there, for until it is proven to be good."""
    return [_with(each, max(count, each["spec"]["replicas"])) if _is_fixed(each) else each for each in items]


def exactly(items: Iterable[Item], count: int) -> list[Item]:
    """Return a release's objects with as many pods as there were, where no autoscaler says how many."""
    return [_with(each, count) if _is_fixed(each) else each for each in items]


def step(item: Item, live: Item | None, items: Iterable[Item]) -> Step:
    """Return how a Deployment is applied over what is there.

    items: what is applied with it. A first release begins with the autoscaler's least. To an autoscaler: the count is first
    handed to another field manager, for leaving it out would set it to 1.
    """
    if "replicas" in item["spec"]:
        return Step(item)
    if live is None:
        scaler: Item = next((each["spec"] for each in items if each["kind"] in SCALERS), {})
        least = scaler.get("minReplicas") or scaler.get("minReplicaCount")
        return Step(_with(item, least) if least else item)
    count = live["spec"].get("replicas", 1)
    ours = "f:replicas" in field_owners.of(live, MANAGER).get("f:spec", {})
    return Step(item, _count_alone(item, count)) if ours or not count else Step(item)


def lowered(item: Item, live: Item | None, inventory: Iterable[Ref]) -> Step | None:
    """Return how a Deployment that is proven to be good comes to the number of pods that its release says; None where it has.

    inventory: what may be there beside it. Of an autoscaler that goes the count stays, for its load is still there, and the
    next release sets it.
    """
    count = live["spec"].get("replicas", 1) if live else 0
    wanted = item["spec"].get("replicas", count)
    if count <= wanted:
        return None
    if any(each.kind in SCALERS for each in inventory):
        words = f"the autoscaler is taken away: its {count} pods stay, the next release makes them {wanted}"
        return Step(_with(item, count), words=words)
    return Step(item, words=f"from {count} pods to {wanted}, as the release says")


def _is_fixed(item: Item) -> bool:
    return item["kind"] == "Deployment" and "replicas" in item["spec"]


def _with(item: Item, count: int) -> Item:
    return {**item, "spec": {**item["spec"], "replicas": count}}


def _count_alone(item: Item, count: int) -> Item:
    """Return the number of pods as an object of its own. Never 0: an autoscaler leaves a Deployment of none alone."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "metadata": metadata,
        "spec": {"replicas": max(count, 1)},
    }
