"""Who sets how many pods there are: the release, or an autoscaler.

Knows what must be done on the change between them, so that their number never falls on the way. A pure module.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from conf.cluster import MANAGER
from conf.refs import SCALERS, Item, Ref
from conf.rollout import fields

REPLICAS_MANAGER = f"{MANAGER}-replicas"


@dataclass(frozen=True)
class Step:
    """What is applied. first: what is applied before it as REPLICAS_MANAGER, or None. words: what a person should know."""

    item: Item
    first: Item | None = None
    words: str = ""


def step(item: Item, live: Item | None, inventory: Iterable[Ref], items: Iterable[Item]) -> Step:
    """Return how a Deployment is applied over what is there.

    inventory: what may be there beside it. items: what is applied with it. A first release begins with the autoscaler's least.
    To an autoscaler: the count is first handed to another field manager, for leaving it out would set it to 1. From one: the
    live count stays where it is larger, and the next release sets it.
    """
    scaler = next((each["spec"] for each in items if each["kind"] in SCALERS), None)
    if live is None:
        least = scaler.get("minReplicas") or scaler.get("minReplicaCount") if scaler else None
        return Step(_with(item, least) if least else item)
    count = live["spec"].get("replicas", 1)
    if "replicas" not in item["spec"]:
        ours = "f:replicas" in fields.of(live, MANAGER).get("f:spec", {})
        return Step(item, _count_alone(item, count)) if ours or not count else Step(item)
    wanted = item["spec"]["replicas"]
    if count > wanted and scaler is None and any(each.kind in SCALERS for each in inventory):
        words = f"the autoscaler is taken away: its {count} pods stay, the next release makes them {wanted}"
        return Step(_with(item, count), words=words)
    return Step(item)


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
