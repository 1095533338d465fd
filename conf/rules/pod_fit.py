"""Rules that a pod fits a node and a quota: a pod that fits no node stays pending for ever.

Does not know what is free in a cluster now.
"""

from collections.abc import Iterator

from conf.plan.offline import most_offline_pods
from conf.plan.placement import placement, tolerates
from conf.plan.plan import most_pods
from conf.rules.case import Case, Rule, Violation
from serving.settings import size_in_bytes


def some_kind_of_node_takes_the_pod(case: Case) -> Iterator[Violation]:
    found, region = placement(case.settings, case.region), case.region.name
    if found.fitting:
        return
    each = "; ".join(f"{node.name} {' and '.join(lack.words for lack in lacks)}" for node, lacks in found.lacking)
    nearest, lacks = found.lacking[0]
    yield Violation(
        next((setting for setting in lacks[0].settings if case.is_set(setting)), lacks[0].settings[0]),
        f"no kind of node in {region} takes the pod, which would stay pending for ever ({each}):"
        f" for {nearest.name} {', and '.join(lack.cure for lack in lacks)}; nodes stand in {case.region_place('.nodes')}",
    )


def tolerations_meet_a_taint(case: Case) -> Iterator[Violation]:
    """This is a hint, since nodes may have taints that regions.yaml does not name."""
    taints = sorted({taint for region in case.regions.regions.values() for node in region.nodes for taint in node.taints})
    for text in case.settings.tolerations:
        if not any(tolerates(text, taint) for taint in taints):
            known = f"the taints there are {', '.join(taints)}" if taints else "none has any taint"
            yield Violation(
                "tolerations",
                f'tolerations has "{text}", and no node of any region has such a taint ({known}): correct it, or delete it',
                hint=True,
            )


def replicas_are_within_quota(case: Case) -> Iterator[Violation]:
    """Each Deployment has one pod more while a release rolls out."""
    settings, track = case.settings, case.plan.track
    counts = (most_pods(settings, track) if case.plan.objects else 0, most_offline_pods(settings, track))
    quota, pods, more = case.region.quota, sum(counts), sum(1 for count in counts if count)
    asked = (
        ("pods", pods + more, float(quota.pods), ""),
        ("cpu", (pods + more) * case.need.cpu, quota.cpu, " cores"),
        ("memory", (pods + more) * case.need.memory / 2**30, size_in_bytes(quota.memory) / 2**30, " GiB"),
        ("gpu_memory", (pods + more) * case.need.gpu, quota.gpu_memory, " GiB"),
    )
    what = f"{pods} pods" + (f", {counts[1]} of them offline" if counts[1] else "")
    for name, wanted, limit, unit in asked:
        if limit and wanted > limit:
            yield Violation(
                _count_setting(case, counts),
                f"{what}, and {'one' if more == 1 else 'two'} more while a release rolls out, take {wanted:g}{unit} of {name},"
                f" and {case.region.name} allows a namespace {limit:g}{unit} ({case.region_place('.quota')}):"
                " run fewer or smaller pods",
            )


def _count_setting(case: Case, counts: tuple[int, int]) -> str:
    """Return the setting that says how many of the more numerous pods there are. counts: of online and offline pods."""
    if counts[1] > counts[0]:
        return "offline_max_replicas" if case.is_prod and case.settings.offline_max_replicas else "offline_replicas"
    if case.plan.track == "ab":
        return "ab_replicas"
    if case.is_prod and case.settings.max_replicas:
        return "max_replicas"
    return "scale_hours" if case.is_prod and case.settings.scale_hours else "replicas"


RULES: tuple[Rule, ...] = (
    some_kind_of_node_takes_the_pod,
    tolerations_meet_a_taint,
    replicas_are_within_quota,
)
