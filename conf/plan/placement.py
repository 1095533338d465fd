"""The kinds of nodes that a pod fits, what the other kinds lack for it, and the price of a pod."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from conf.base.quantities import readable_bytes, rounded_up
from conf.clusters.regions import NodeKind, Region
from conf.plan.own_pod import FILE, NOTHING, OwnPod
from conf.plan.pods import gpu_share, requested_memory, toleration
from serving.settings import Settings, size_in_bytes, skip_wrong

Amounts = Mapping[str, float]  # what a container asks for, by the resource's name

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


def summed(amounts: Iterable[Amounts]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0) + amount
    return found


def pod_total(containers: Iterable[Amounts], init_containers: Iterable[tuple[Amounts, bool]]) -> dict[str, float]:
    """Return what a pod takes of each resource, by Kubernetes' formula, which its scheduler and its quotas share.

    An init container runs beside the sidecars that started before it. Then all sidecars run beside the other containers. The
    larger of these sums counts. init_containers: in their order, each with whether it is a sidecar.
    """
    sidecars: Amounts = {}
    most: dict[str, float] = {}
    for amounts, is_sidecar in init_containers:
        now = summed((amounts, sidecars))
        most = {name: max(most.get(name, 0), amount) for name, amount in {**most, **now}.items()}
        sidecars = now if is_sidecar else sidecars
    running = summed((*containers, sidecars))
    return {name: max(running.get(name, 0), most.get(name, 0)) for name in {**running, **most}}


def need(settings: Settings, region: Region, own: OwnPod = NOTHING) -> Need:
    """Return what a pod takes of a node in a region, the mesh's proxy and the containers of pod.yaml included."""
    gpu, unit = gpu_share(settings, region), region.gpu.unit if region.gpu else "GiB"
    return Need(
        cpu=_cores(settings, region, own),
        memory=_memory(settings, region, own),
        gpu=float(rounded_up(gpu)) if unit == "GiB" else gpu,
        whole=bool(gpu) and unit == "card",
    )


def placement(settings: Settings, region: Region, own: OwnPod = NOTHING) -> Placement:
    """Return the kinds of nodes that take a pod, and what each other kind lacks.

    Rules and prices both follow from this alone. A need that comes from a wrong setting counts as met.
    """
    found = [(node, [skip_wrong(check, node, settings, region, own) for check in CHECKS]) for node in region.nodes]
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


def monthly_price(settings: Settings, region: Region, own: OwnPod = NOTHING) -> float | None:
    """Return the price of one pod for a month, on the cheapest kind of node that takes it; None where none does."""
    fitting = placement(settings, region, own).fitting
    return min((node.price * share(node, need(settings, region, own)) for node in fitting), default=None)


def tolerates(text: str, taint: str) -> bool:
    """Return whether a toleration is about a taint. Both are "key=value:Effect"; value and effect may be left out."""
    item, wanted = toleration(text), toleration(taint)
    same_value = item.operator == "Exists" or item.value == wanted.value
    return item.key == wanted.key and same_value and item.effect in ("", wanted.effect or item.effect)


def _lacks_a_card(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    setting = "gpu_memory" if settings.gpu_memory else "gpu_num"
    if not (settings.gpu_memory or settings.gpu_num) or node.cards:
        return None
    cure = f"set {region.name}_{setting} = 0 or {region.name}_replicas = 0, or describe its cards there"
    return Lack((setting,), "has no GPU", cure)


def _lacks_labels(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    missing = [f"{key}={text}" for key, text in settings.node_labels.items() if node.labels.get(key) != text]
    if not missing:
        return None
    plural, listed = "s" * (len(missing) > 1), ", ".join(missing)
    known = ", ".join(f"{key}={text}" for key, text in node.labels.items())
    has = f"has the labels {known}, not {listed}" if known else f"has no label{plural} {listed}"
    return Lack(("node_labels",), has, f"take {listed} out of node_labels, or add the label{plural} to the node there")


def _lacks_card_memory(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    wanted = need(settings, region, own).gpu
    if not wanted or not node.cards or node.card_memory >= wanted:
        return None
    words = f"has cards of {node.card_memory:g} GiB, and the pod takes {wanted:g} of one"
    return Lack(("gpu_memory", "gpu_num"), words, f"ask for {node.card_memory:g} or less")


def _lacks_memory(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    there, reserved = size_in_bytes(node.memory), size_in_bytes(region.reserved.memory)
    wanted, name = _memory(settings, region, own), "memory_request" if size_in_bytes(settings.memory_request) else "memory"
    if wanted + reserved <= there:
        return None
    most = int(there - reserved - _beside(region, own)["memory"]) // 2**20
    words = f"has {node.memory}, {region.reserved.memory} of it the system's, and {_subject(own)} {readable_bytes(wanted)}"
    if most <= 0 or _starting(region, own)["memory"] + reserved > there:
        return _too_much(own, name, words, "memory")
    return Lack((name,), words, f'ask for {name} = "{most}Mi" or less')


def _lacks_cores(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    wanted, room = _cores(settings, region, own), node.cpu - region.reserved.cpu
    if round(wanted, 3) <= round(room, 3):  # a quantity of cpu has three decimal places
        return None
    most = round(room - _beside(region, own)["cpu"], 3)
    words = f"has {node.cpu:g} cores, {region.reserved.cpu:g} of them the system's, and {_subject(own)} {wanted:g}"
    if most <= 0 or round(_starting(region, own)["cpu"], 3) > round(room, 3):
        return _too_much(own, "cpu", words, "cores")
    return Lack(("cpu",), words, f"ask for cpu = {most:g} or less")


def _subject(own: OwnPod) -> str:
    return f"the pod with the containers of {FILE} takes" if own.init_containers else "the pod takes"


def _too_much(own: OwnPod, name: str, words: str, what: str) -> Lack:
    """Return the lack of a pod that is too large even without its model, because of pod.yaml if that has containers."""
    if not own.init_containers:
        return Lack((name,), words, f"ask for {'fewer' if what == 'cores' else 'less'} {what}")
    return Lack((f"{FILE}:{own.init_containers[0].line}",), words, f"have its initContainers request less {name}")


def _lacks_tolerance(node: NodeKind, settings: Settings, region: Region, own: OwnPod) -> Lack | None:
    keeping_out = (taint for taint in node.taints if not taint.endswith(":PreferNoSchedule"))
    missing = [taint for taint in keeping_out if not any(tolerates(text, taint) for text in settings.tolerations)]
    if not missing:
        return None
    quoted = ", ".join(f'"{taint}"' for taint in missing)
    cure = f"add {quoted} to tolerations" if settings.tolerations else f"write tolerations = [{quoted}]"
    asking = ("tolerations", "gpu_memory", "gpu_num", "node_labels", "memory", "cpu")
    return Lack(asking, f"has the taint{'s' * (len(missing) > 1)} {', '.join(missing)}, which tolerations leave out", cure)


CHECKS: tuple[Callable[[NodeKind, Settings, Region, OwnPod], Lack | None], ...] = (  # the hardest to change first
    _lacks_a_card,
    _lacks_labels,
    _lacks_card_memory,
    _lacks_memory,
    _lacks_cores,
    _lacks_tolerance,
)


def _cores(settings: Settings, region: Region, own: OwnPod) -> float:
    return pod_total([{"cpu": settings.cpu}], _started_first(region, own))["cpu"]


def _memory(settings: Settings, region: Region, own: OwnPod) -> int:
    asked = {"memory": size_in_bytes(requested_memory(settings))}
    return int(pod_total([asked], _started_first(region, own))["memory"])


def _started_first(region: Region, own: OwnPod) -> list[tuple[Amounts, bool]]:
    """Return what starts before the model, each with whether it stays. The mesh's proxy is counted as the first."""
    proxy: Amounts = {"cpu": SIDECAR_CPU * region.sidecars, "memory": SIDECAR_MEMORY * region.sidecars}
    return [(proxy, True), *((each.resources.requests.numbers, each.is_sidecar) for each in own.init_containers)]


def _starting(region: Region, own: OwnPod) -> Amounts:
    """Return what a pod takes without its model."""
    return pod_total((), _started_first(region, own))


def _beside(region: Region, own: OwnPod) -> Amounts:
    """Return what stays beside the model."""
    return summed(amounts for amounts, stays in _started_first(region, own) if stays)
