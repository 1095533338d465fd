"""Rules that a pod fits a node and a quota, whatever is free there now: a pod that fits no node stays pending for ever."""

from collections.abc import Iterator, Sequence
from math import ceil

from conf.base.quantities import binary_quantity
from conf.clusters.regions import Quota
from conf.plan.placement import Need, placement, tolerates
from conf.plan.plan import most_offline_pods, most_pods
from conf.rules.context import Rule, RuleContext, Violation, hint
from serving.settings import size_in_bytes


def some_kind_of_node_takes_the_pod(context: RuleContext) -> Iterator[Violation]:
    found, region = placement(context.settings, context.region, context.own_pod), context.region.name
    if found.fitting:
        return
    each = "; ".join(f"{node.name} {' and '.join(lack.words for lack in lacks)}" for node, lacks in found.lacking)
    nearest, lacks = found.lacking[0]
    yield Violation(
        next((setting for setting in lacks[0].settings if context.is_set(setting)), lacks[0].settings[0]),
        f"no kind of node in {region} takes the pod, which would stay pending for ever ({each}):"
        f" for {nearest.name} {', and '.join(lack.cure for lack in lacks)}; nodes stand in {context.region_place('.nodes')}",
    )


def a_pod_has_one_card(context: RuleContext) -> Iterator[Violation]:
    settings, cards, region = context.settings, context.settings.gpu_num, context.region.name
    if cards < 2 or not context.is_prod:
        return
    prefix = f"{region}_" if f"{region}_gpu_num" in context.value.lines else ""
    memory = binary_quantity(ceil(size_in_bytes(settings.memory) / cards / 2**20) * 2**20)
    counts = {"replicas": settings.replicas * cards, "max_replicas": settings.max_replicas * cards}
    sizes = {"cpu": f"{settings.cpu / cards:.4g}", "memory": f'"{memory}"'}
    lines = "".join(f"    {prefix}{name} = {value}\n" for name, value in {**counts, **sizes}.items() if value)
    yield Violation(
        "gpu_num",
        f"gpu_num is {cards}, and a pod has one card: write {prefix}gpu_num = 1 alone for as many pods as now,"
        f" or for as many cards\n    {prefix}gpu_num = 1\n{lines}in place of these settings",
    )


def tolerations_meet_a_taint(context: RuleContext) -> Iterator[Violation]:
    """This is a hint, since nodes may have taints that regions.yaml does not name."""
    taints = sorted({taint for region in context.regions.regions.values() for node in region.nodes for taint in node.taints})
    for text in context.settings.tolerations:
        if not any(tolerates(text, taint) for taint in taints):
            known = f"the taints there are {', '.join(taints)}" if taints else "none has any taint"
            yield hint(
                "tolerations",
                f'tolerations has "{text}", and no node of any region has such a taint ({known}): correct it, or delete it',
            )


def replicas_are_within_quota(context: RuleContext) -> Iterator[Violation]:
    """Each Deployment has one pod more while a release rolls out."""
    settings, track = context.settings, context.plan.track
    counts = (most_pods(settings, track) if context.plan.online else 0, most_offline_pods(settings, track))
    pods, more = sum(counts), sum(1 for count in counts if count)
    what = f"{pods} pods" + (f", {counts[1]} of them offline" if counts[1] else "")
    for wanted, limit in over_quota(context.region.quota, [(pods + more, context.need)]):
        yield Violation(
            _count_setting(context, counts),
            f"{what}, and {'one' if more == 1 else 'two'} more while a release rolls out, take {wanted}, and"
            f" {context.region.name} allows a namespace {limit} ({context.region_place('.quota')}): run fewer or smaller pods",
        )


def over_quota(quota: Quota, taken: Sequence[tuple[int, Need]]) -> Iterator[tuple[str, str]]:
    """Yield what pods ask for beyond a quota, such as "12 cores of cpu", and what is allowed, such as "8 cores".

    taken: numbers of pods, each with the need of one.
    """
    for name, unit, limit, wanted in (
        ("pods", "", quota.pods, sum(pods for pods, _ in taken)),
        ("cpu", " cores", quota.cpu, sum(pods * need.cpu for pods, need in taken)),
        ("memory", " GiB", size_in_bytes(quota.memory) / 2**30, sum(pods * need.memory for pods, need in taken) / 2**30),
        ("gpu_memory", " GiB", quota.gpu_memory, sum(pods * need.gpu for pods, need in taken)),
    ):
        if limit and wanted > limit:
            yield f"{wanted:g}{unit} of {name}", f"{limit:g}{unit}"


def _count_setting(context: RuleContext, counts: tuple[int, int]) -> str:
    """Return the setting that says how many of the more numerous pods there are. counts: of online and offline pods."""
    if counts[1] > counts[0]:
        return "offline_max_replicas" if context.is_prod and context.settings.offline_max_replicas else "offline_replicas"
    if context.plan.track == "ab":
        return "ab_replicas"
    if context.is_prod and context.settings.max_replicas:
        return "max_replicas"
    return "scale_hours" if context.is_prod and context.settings.scale_hours else "replicas"


RULES: tuple[Rule, ...] = (
    some_kind_of_node_takes_the_pod,
    a_pod_has_one_card,
    tolerations_meet_a_taint,
    replicas_are_within_quota,
)
