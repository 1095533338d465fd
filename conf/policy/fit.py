"""Rules that a pod can be placed: a pod that fits nowhere stays pending for ever.

Knows machines and quotas. Does not ask a cluster what is free now.
"""

from collections.abc import Iterator

from conf.placement import admits, card_holds, holds, holds_beside_system
from conf.plan import most_pods
from conf.policy.case import Broken, Case, Rule
from conf.sizes import gib
from serving.schema import size_in_bytes


def gpu_can_be_asked_for(case: Case) -> Iterator[Broken]:
    if not (case.settings.gpu_memory or case.settings.gpu_num):
        return
    if case.region.gpu is None or not any(node.cards for node in case.region.nodes):
        yield Broken(
            "gpu_memory",
            f"{case.region.name} has no GPU: set {case.region.name}_gpu_memory = 0 or {case.region.name}_replicas = 0,"
            f" or describe its cards in {case.region_place('.nodes')}",
        )


def card_can_hold_gpu_memory(case: Case) -> Iterator[Broken]:
    cards = [node.card_memory for node in case.region.nodes if node.cards]
    if case.need.gpu and cards and not any(card_holds(node, case.need) for node in case.region.nodes):
        yield Broken(
            "gpu_memory",
            f"gpu_memory asks for {case.need.gpu:g} GiB of one card, and the largest card in {case.region.name} has"
            f" {max(cards):g} GiB: ask for {max(cards):g} or less",
        )


def some_node_admits_the_pod(case: Case) -> Iterator[Broken]:
    nodes = case.region.nodes
    if any(admits(node, case.settings) for node in nodes):
        return
    taints = sorted({taint for node in nodes for taint in node.taints})
    about = f"its nodes are tainted {', '.join(taints)}" if taints else "none of its nodes has those labels"
    where = "node_labels" if case.settings.node_labels else "tolerations"
    yield Broken(
        where,
        f"no kind of node in {case.region.name} takes the pod, which would stay pending for ever ({about}):"
        f" change node_labels or tolerations, or add the node's labels in {case.region_place('.nodes')}",
    )


def pod_fits_a_node(case: Case) -> Iterator[Broken]:
    nodes = [node for node in case.region.nodes if admits(node, case.settings) and card_holds(node, case.need)]
    if nodes and not any(holds(node, case.need) for node in nodes):
        yield _too_large(case, "no node in {region} is that large")


def pod_fits_beside_system_pods(case: Case) -> Iterator[Broken]:
    nodes = [node for node in case.region.nodes if admits(node, case.settings) and holds(node, case.need)]
    if nodes and not any(holds_beside_system(node, case.need, case.region) for node in nodes):
        reserved = case.region.reserved
        yield _too_large(
            case, f"it would fit an empty node in {{region}}, but system pods take {reserved.cpu:g} cores and {reserved.memory}"
        )


def _too_large(case: Case, reason: str) -> Broken:
    nodes = [node for node in case.region.nodes if admits(node, case.settings) and card_holds(node, case.need)]
    largest = max(nodes, key=lambda node: min(node.cpu / case.need.cpu, size_in_bytes(node.memory) / case.need.memory))
    where = "cpu" if largest.cpu / case.need.cpu < size_in_bytes(largest.memory) / case.need.memory else "memory"
    kind = "GPU node" if case.need.gpu else "node"
    return Broken(
        where,
        f"a pod takes {case.need.cpu:g} cores and {gib(case.need.memory)}, and would stay pending for ever:"
        f" {reason.format(region=case.region.name)}; the best {kind} ({largest.name}) has {largest.cpu:g} cores and"
        f" {largest.memory}: ask for less {where}",
    )


def replicas_are_within_quota(case: Case) -> Iterator[Broken]:
    quota, pods = case.region.quota, most_pods(case.settings, case.plan.track) + 1
    where = "max_replicas" if case.is_prod and case.settings.max_replicas else "replicas"
    where = where if case.plan.track != "ab" else "ab_replicas"
    asked = (
        ("pods", pods, float(quota.pods), ""),
        ("cpu", pods * case.need.cpu, quota.cpu, " cores"),
        ("memory", pods * case.need.memory / 2**30, size_in_bytes(quota.memory) / 2**30, " GiB"),
        ("gpu_memory", pods * case.need.gpu, quota.gpu_memory, " GiB"),
    )
    for name, wanted, limit, unit in asked:
        if limit and wanted > limit:
            yield Broken(
                where,
                f"{pods - 1} pods, and one more while a release rolls out, take {wanted:g}{unit} of {name}, and"
                f" {case.region.name} allows a namespace {limit:g}{unit} ({case.region_place('.quota')}):"
                " run fewer or smaller pods",
            )


RULES: tuple[Rule, ...] = (
    gpu_can_be_asked_for,
    card_can_hold_gpu_memory,
    some_node_admits_the_pod,
    pod_fits_a_node,
    pod_fits_beside_system_pods,
    replicas_are_within_quota,
)
