"""The kinds of nodes that a pod fits, what the other kinds lack for it, and the price of a pod."""

from collections.abc import Callable
from dataclasses import dataclass

from conf.base.quantities import readable_bytes, rounded_up
from conf.clusters.regions import NodeKind, Region
from conf.plan.pods import gpu_share, requested_memory, toleration
from serving.settings import Settings, size_in_bytes, skip_wrong

SIDECAR_CPU, SIDECAR_MEMORY = 0.1, 128 * 2**20  # cores and bytes that the mesh's proxy asks for


@dataclass(frozen=True)
class Need:
    """The part of a node that one pod takes."""

    cpu: float  # Cores.
    memory: int  # Bytes.
    gpu: float  # GiB of one card.
    whole: bool  # Whether the pod has the card to itself.


@dataclass(frozen=True)
class Lack:
    """Something that a kind of node lacks for a pod."""

    settings: tuple[str, ...]  # The settings that ask for it, the likeliest to be changed first.
    words: str  # The end of a sentence on what the node has instead. The node's name begins it.
    cure: str  # An imperative that says what to do.


@dataclass(frozen=True)
class Placement:
    """The kinds of nodes of a region. fitting: the kinds that take a pod. lacking: the others, the nearest to fit first."""

    fitting: tuple[NodeKind, ...]
    lacking: tuple[tuple[NodeKind, tuple[Lack, ...]], ...]


def need(settings: Settings, region: Region) -> Need:
    """Return what a pod takes of a node in a region, the mesh's proxy included."""
    gpu, unit = gpu_share(settings, region), region.gpu.unit if region.gpu else "GiB"
    return Need(
        cpu=_cores(settings, region),
        memory=_memory(settings, region),
        gpu=float(rounded_up(gpu)) if unit == "GiB" else gpu,
        whole=bool(gpu) and unit == "card",
    )


def placement(settings: Settings, region: Region) -> Placement:
    """Return the kinds of nodes that take a pod, and what each other kind lacks.

    Rules and prices both follow from this alone. A need that comes from a wrong setting counts as met.
    """
    found = [(node, [skip_wrong(check, node, settings, region) for check in CHECKS]) for node in region.nodes]
    fitting = tuple(node for node, lacks in found if not any(lacks))
    # The nearest kind lacks what is easiest to change, by the order of CHECKS. The largest node is first where two are equal.
    found.sort(key=lambda item: ([lack is not None for lack in item[1]], -item[0].cpu))
    lacking = ((node, tuple(lack for lack in lacks if lack)) for node, lacks in found)
    return Placement(fitting, tuple((node, lacks) for node, lacks in lacking if lacks))


def share(node: NodeKind, wanted: Need) -> float:
    """Return the share of a node that a pod takes, from 0 to 1: the largest of its shares of cpu, memory and GPU."""
    card = 1.0 if wanted.whole else wanted.gpu / node.card_memory if node.card_memory else 0.0
    gpu = card / node.cards if node.cards else 0.0
    return max(wanted.cpu / node.cpu, wanted.memory / size_in_bytes(node.memory), gpu)


def monthly_price(settings: Settings, region: Region) -> float | None:
    """Return the price of one pod for a month, on the cheapest kind of node that takes it; None where none does."""
    fitting = placement(settings, region).fitting
    return min((node.price * share(node, need(settings, region)) for node in fitting), default=None)


def tolerates(text: str, taint: str) -> bool:
    """Return whether a toleration is about a taint. Both are "key=value:Effect"; value and effect may be left out."""
    item, wanted = toleration(text), toleration(taint)
    same_value = item.operator == "Exists" or item.value == wanted.value
    return item.key == wanted.key and same_value and item.effect in ("", wanted.effect or item.effect)


def _lacks_a_card(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    setting = "gpu_memory" if settings.gpu_memory else "gpu_num"
    if not (settings.gpu_memory or settings.gpu_num) or node.cards:
        return None
    cure = f"set {region.name}_{setting} = 0 or {region.name}_replicas = 0, or describe its cards there"
    return Lack((setting,), "has no GPU", cure)


def _lacks_labels(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    missing = [f"{key}={text}" for key, text in settings.node_labels.items() if node.labels.get(key) != text]
    if not missing:
        return None
    plural, listed = "s" * (len(missing) > 1), ", ".join(missing)
    known = ", ".join(f"{key}={text}" for key, text in node.labels.items())
    has = f"has the labels {known}, not {listed}" if known else f"has no label{plural} {listed}"
    return Lack(("node_labels",), has, f"take {listed} out of node_labels, or add the label{plural} to the node there")


def _lacks_card_memory(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    wanted = need(settings, region).gpu
    if not wanted or not node.cards or node.card_memory >= wanted:
        return None
    words = f"has cards of {node.card_memory:g} GiB, and the pod takes {wanted:g} of one"
    return Lack(("gpu_memory", "gpu_num"), words, f"ask for {node.card_memory:g} or less")


def _lacks_memory(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    wanted, there, reserved = _memory(settings, region), size_in_bytes(node.memory), size_in_bytes(region.reserved.memory)
    own, name = requested_memory(settings), "memory_request" if size_in_bytes(settings.memory_request) else "memory"
    if wanted + reserved <= there:
        return None
    most = (there - reserved - (wanted - size_in_bytes(own))) // 2**20
    words = f"has {node.memory}, {region.reserved.memory} of it the system's, and the pod takes {readable_bytes(wanted)}"
    return Lack((name,), words, f'ask for {name} = "{most}Mi" or less' if most > 0 else "ask for less memory")


def _lacks_cores(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    wanted = _cores(settings, region)
    most = round(node.cpu - region.reserved.cpu - (wanted - settings.cpu), 3)  # a quantity of cpu has three decimal places
    if round(settings.cpu, 3) <= most:
        return None
    words = f"has {node.cpu:g} cores, {region.reserved.cpu:g} of them the system's, and the pod takes {wanted:g}"
    return Lack(("cpu",), words, f"ask for cpu = {most:g} or less" if most > 0 else "ask for fewer cores")


def _lacks_tolerance(node: NodeKind, settings: Settings, region: Region) -> Lack | None:
    keeping_out = (taint for taint in node.taints if not taint.endswith(":PreferNoSchedule"))
    missing = [taint for taint in keeping_out if not any(tolerates(text, taint) for text in settings.tolerations)]
    if not missing:
        return None
    quoted = ", ".join(f'"{taint}"' for taint in missing)
    cure = f"add {quoted} to tolerations" if settings.tolerations else f"write tolerations = [{quoted}]"
    asking = ("tolerations", "gpu_memory", "gpu_num", "node_labels", "memory", "cpu")
    return Lack(asking, f"has the taint{'s' * (len(missing) > 1)} {', '.join(missing)}, which tolerations leave out", cure)


CHECKS: tuple[Callable[[NodeKind, Settings, Region], Lack | None], ...] = (  # the hardest to change first
    _lacks_a_card,
    _lacks_labels,
    _lacks_card_memory,
    _lacks_memory,
    _lacks_cores,
    _lacks_tolerance,
)


def _cores(settings: Settings, region: Region) -> float:
    return settings.cpu + SIDECAR_CPU * region.sidecars


def _memory(settings: Settings, region: Region) -> int:
    return size_in_bytes(requested_memory(settings)) + SIDECAR_MEMORY * region.sidecars
