"""Quotas of a namespace: what pods use of them, and whether there is room for more.

Knows Kubernetes' names and numbers. A pure module: asks no cluster.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from conf.base.object_references import Item
from conf.base.quantities import GIB
from serving.settings import size_in_bytes


def usage(containers: Sequence[Item]) -> dict[str, float]:
    """Return what a pod uses of a quota, by the quota's own names, such as `requests.cpu`.

    containers: the `resources` of each container. Amounts are in cores, bytes or counts.
    """
    amounts = (
        {f"{kind}.{name}": _number(amount)}
        for each in containers
        for kind in ("requests", "limits")
        for name, amount in (each.get(kind) or {}).items()
    )
    return {"pods": 1, "count/pods": 1, **summed(amounts)}


def summed(amounts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of the amounts of each name."""
    found: dict[str, float] = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0) + amount
    return found


def of_rollout(replicas: int, there: int, changed: bool, containers: Sequence[Item]) -> dict[str, float]:
    """Return the least that a Deployment's pods use of a quota before its rollout can end.

    replicas: its pods at the end. there: those of now. changed: whether they are replaced, which begins with one pod more.
    containers: the `resources` of each container of a pod.
    """
    pods = max(replicas, there + 1 if changed else 0)
    return {name: amount * pods for name, amount in usage(containers).items()}


def shortages(quota: Item, wanted: Mapping[str, float], own: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each resource of which a quota has less left than is wanted.

    wanted, own: what the service's pods will use and use now. All other use counts as others'.
    """
    hard, used = quota["status"].get("hard", {}), quota["status"].get("used", {})
    for name, allowed in hard.items():
        full = f"requests.{name}" if name in ("cpu", "memory") else name
        others = max(0.0, _number(used.get(name, "0")) - own.get(full, 0))
        if full in wanted and wanted[full] > _number(allowed) - others:
            amounts = [f"{each / GIB:.4g}Gi" if "memory" in name else f"{each:g}" for each in (others, wanted[full])]
            words = f"{quota['metadata']['name']} allows {allowed} {name}, others use {amounts[0]} of it"
            yield f"{words}; the pods take {amounts[1]}, with what a roll-out adds"


def _number(quantity: str) -> float:
    """Return a Kubernetes quantity, such as 500m or 4Gi, as a number."""
    small = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
    if quantity[-1:] in small:
        return float(quantity[:-1]) * small[quantity[-1]]
    try:
        return float(quantity)
    except ValueError:
        return float(size_in_bytes(quantity))
