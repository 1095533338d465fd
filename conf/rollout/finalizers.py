"""Finalizers: what holds an object that was deleted. It is gone once all of them are taken off.

Knows who takes off which. A pure module: asks no cluster.
"""

from conf.base.object_references import Item

# Finalizer -> who takes it off. Sources: KEDA's and Kubernetes' documentation.
TAKEN_OFF_BY = {
    "finalizer.keda.sh": "KEDA's operator",
    "foregroundDeletion": "Kubernetes once its pods are gone, which may have finalizers of their own",
    "service.kubernetes.io/load-balancer-cleanup": "the controller of load balancers",
}
SEE_TO_IT = "see that whoever takes it off is alive, then run this again"


def held_by(item: Item) -> str:
    """Return what holds an object that is marked for removal: its finalizers, each with who takes it off."""
    found = [f"{each} (taken off by {_who(each)})" for each in item["metadata"].get("finalizers", [])]
    return f"held by its finalizer{'s' if len(found) > 1 else ''} {' and '.join(found)}" if found else "held by no finalizer"


def _who(finalizer: str) -> str:
    return TAKEN_OFF_BY.get(finalizer) or f"the controller of {finalizer.partition('/')[0]}"
