"""The number of pods: set by the release, by an autoscaler, or by hand.

It never falls before a release is proven to be good. A pure module.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conf.base.object_references import MANAGER, SCALERS, Item, Ref
from conf.rollout import field_owners

REPLICAS_MANAGER = f"{MANAGER}-replicas"  # the field manager that holds `replicas` while an autoscaler takes it over


@dataclass(frozen=True)
class DeploymentStep:
    """One apply of a Deployment. first: an object that REPLICAS_MANAGER applies before it, or None. words: for a person."""

    item: Item
    first: Item | None = None
    words: str = ""


def with_at_least(items: Iterable[Item], counts: Mapping[str, int]) -> list[Item]:
    """Return a release's objects with no fewer pods than there are, for the time until the release is proven to be good.

    counts: the pods of each present Deployment, by its name.
    """
    return [_with(each, max(_count(each, counts), each["spec"]["replicas"])) if _is_fixed(each) else each for each in items]


def with_exactly(items: Iterable[Item], counts: Mapping[str, int]) -> list[Item]:
    """Return a release's objects with exactly as many pods as `counts` says, where no autoscaler decides their number.

    A Deployment that is not in `counts` keeps its own number.
    """
    return [_with(each, _count(each, counts)) if _is_fixed(each) and _name(each) in counts else each for each in items]


def apply_step(item: Item, live: Item | None, items: Iterable[Item]) -> DeploymentStep:
    """Return how a Deployment is applied over the live one.

    items: the objects that are applied with it; its autoscaler has its name. A first release begins with the minimum of its
    autoscaler. On the change to an autoscaler the count is first handed to another field manager, because leaving `replicas`
    out would set it to 1.
    """
    if "replicas" in item["spec"]:
        return DeploymentStep(item)
    if live is None:
        own = (each["spec"] for each in items if each["kind"] in SCALERS and _name(each) == _name(item))
        scaler: Item = next(own, {})
        least = scaler.get("minReplicas") or scaler.get("minReplicaCount")
        return DeploymentStep(_with(item, least) if least else item)
    count = live["spec"].get("replicas", 1)
    ours = "f:replicas" in field_owners.fields_of(live, MANAGER).get("f:spec", {})
    return DeploymentStep(item, _count_alone(item, count)) if ours or not count else DeploymentStep(item)


def scale_down_step(item: Item, live: Item | None, inventory: Iterable[Ref]) -> DeploymentStep | None:
    """Return how a Deployment that is proven to be good gets the number of pods of its release; None where it has no more.

    inventory: the objects that may be there beside it. Where an autoscaler is being removed, the count stays: the load that it
    answered is still there. The next release sets the count.
    """
    count = live["spec"].get("replicas", 1) if live else 0
    wanted = item["spec"].get("replicas", count)
    if count <= wanted:
        return None
    if any(each.kind in SCALERS and each.name == _name(item) for each in inventory):
        words = f"the autoscaler is taken away: its {count} pods stay, the next release makes them {wanted}"
        return DeploymentStep(_with(item, count), words=words)
    return DeploymentStep(item, words=f"from {count} pods to {wanted}, as the release says")


def _is_fixed(item: Item) -> bool:
    return item["kind"] == "Deployment" and "replicas" in item["spec"]


def _name(item: Item) -> str:
    return str(item["metadata"]["name"])


def _count(item: Item, counts: Mapping[str, int]) -> int:
    return counts.get(_name(item), 0)


def _with(item: Item, count: int) -> Item:
    return {**item, "spec": {**item["spec"], "replicas": count}}


def _count_alone(item: Item, count: int) -> Item:
    """Return an object that sets nothing but the number of pods: at least 1, because an autoscaler leaves 0 unchanged."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": {"replicas": max(count, 1)}}
