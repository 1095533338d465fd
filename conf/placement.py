"""Which kinds of machines a pod fits, and what it costs there.

Knows sizes, labels, taints and prices. Does not know rules or words.
"""

from dataclasses import dataclass

from conf.clusters import NodeKind, Region
from conf.pods import Toleration, gpu_share, toleration
from conf.sizes import up
from serving.schema import Settings, size_in_bytes

SIDECAR_CPU, SIDECAR_MEMORY = 0.1, 128 * 2**20  # what the mesh's proxy asks for beside the pod


@dataclass(frozen=True)
class Need:
    """What one pod takes of a node. gpu: GiB of one card; whole: the card is no one else's."""

    cpu: float
    memory: int
    gpu: float
    whole: bool


def need(settings: Settings, region: Region) -> Need:
    """Return what a pod takes in a region, the mesh's proxy included."""
    gpu, unit = gpu_share(settings, region), region.gpu.unit if region.gpu else "GiB"
    return Need(
        cpu=settings.cpu + SIDECAR_CPU * region.sidecars,
        memory=size_in_bytes(settings.memory) + SIDECAR_MEMORY * region.sidecars,
        gpu=float(up(gpu)) if unit == "GiB" else gpu,
        whole=bool(gpu) and unit == "card",
    )


def admits(node: NodeKind, settings: Settings) -> bool:
    """Say whether a node's labels and taints let the pod in."""
    tolerated = [toleration(text) for text in settings.tolerations]
    return settings.node_labels.items() <= node.labels.items() and all(
        _is_tolerated(toleration(taint), tolerated) for taint in node.taints if not taint.endswith(":PreferNoSchedule")
    )


def card_holds(node: NodeKind, wanted: Need) -> bool:
    return not wanted.gpu or (node.cards > 0 and node.card_memory >= wanted.gpu)


def holds(node: NodeKind, wanted: Need) -> bool:
    """Say whether an empty node is large enough."""
    return node.cpu >= wanted.cpu and size_in_bytes(node.memory) >= wanted.memory and card_holds(node, wanted)


def holds_beside_system(node: NodeKind, wanted: Need, region: Region) -> bool:
    """Say whether a node is large enough beside the kubelet and system pods."""
    memory = wanted.memory + size_in_bytes(region.reserved.memory)
    return holds(node, Need(wanted.cpu + region.reserved.cpu, memory, wanted.gpu, wanted.whole))


def share(node: NodeKind, wanted: Need) -> float:
    """Return the largest share of a node that a pod takes, of cpu, memory or GPU."""
    card = 1.0 if wanted.whole else wanted.gpu / node.card_memory if node.card_memory else 0.0
    gpu = card / node.cards if node.cards else 0.0
    return max(wanted.cpu / node.cpu, wanted.memory / size_in_bytes(node.memory), gpu)


def monthly_price(settings: Settings, region: Region) -> float | None:
    """Return what one pod costs a month on the cheapest kind of node that takes it; None where none does."""
    wanted = need(settings, region)
    fitting = (n for n in region.nodes if admits(n, settings) and holds_beside_system(n, wanted, region))
    return min((node.price * share(node, wanted) for node in fitting), default=None)


def _is_tolerated(taint: Toleration, tolerated: list[Toleration]) -> bool:
    return any(
        item.key == taint.key
        and (item.operator == "Exists" or item.value == taint.value)
        and item.effect in ("", taint.effect or item.effect)
        for item in tolerated
    )
