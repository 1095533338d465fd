"""Quotas of a namespace: what pods take of them, and whether there is room.

Knows Kubernetes' names and numbers. A pure module: asks no cluster.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from conf.base.quantities import GIB
from conf.base.references import Item
from serving.settings import size_in_bytes


def taken(containers: Sequence[Item]) -> dict[str, float]:
    """Return what a pod of containers with such resources takes of a quota, by the names that quotas have for it."""
    asked = (
        {f"{kind}.{name}": _number(amount)}
        for each in containers
        for kind in ("requests", "limits")
        for name, amount in (each.get(kind) or {}).items()
    )
    return {"pods": 1, "count/pods": 1, **together(asked)}


def together(amounts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return amounts by name, those of the same name added up."""
    found: dict[str, float] = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0) + amount
    return found


def short(quota: Item, wanted: Mapping[str, float], own: Mapping[str, float]) -> Iterator[str]:
    """Yield where a quota has less room than is wanted, beside what others use of it. own: what of its use is ours."""
    hard, used = quota["status"].get("hard", {}), quota["status"].get("used", {})
    for name, allowed in hard.items():
        full = f"requests.{name}" if name in ("cpu", "memory") else name
        others = max(0.0, _number(used.get(name, "0")) - own.get(full, 0))
        if full in wanted and wanted[full] > _number(allowed) - others:
            amounts = [f"{each / GIB:.4g}Gi" if "memory" in name else f"{each:g}" for each in (others, wanted[full])]
            words = f"{quota['metadata']['name']} allows {allowed} {name}, others use {amounts[0]} of it"
            yield f"{words}; the pods take {amounts[1]}, with one more in a roll-out"


def _number(quantity: str) -> float:
    """Return a quantity of Kubernetes as a number."""
    small = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3}
    if quantity[-1:] in small:
        return float(quantity[:-1]) * small[quantity[-1]]
    try:
        return float(quantity)
    except ValueError:
        return float(size_in_bytes(quantity))
