"""Rules about canaries: their room, their names, and the callers that a route's shares do not reach."""

from collections.abc import Iterator, Sequence

from conf.clusters.regions import Regions
from conf.plan.plan import most_offline_pods, most_pods, opens_host_port
from conf.render.arms import arm_names
from conf.rules.context import Rule, RuleContext, Violation, hint
from conf.rules.other_services import OtherService
from conf.rules.pod_fit import over_quota
from serving.settings import ValueFile


def the_canary_can_take_over(context: RuleContext) -> Iterator[Violation]:
    """A canary has as many pods as the service when it takes over, and then each Deployment of the release has one more.

    No step needs more: both arms have at most a half of the pods each, rounded up.
    """
    if not _has_canary(context):
        return
    least, most = context.settings.replicas, most_pods(context.settings, "prod")
    for pods in dict.fromkeys((least, most)):
        lacking = _lacking(context, pods)
        if lacking:
            yield Violation(
                "canary",
                f"when a canary of {pods} pods takes over, it and the old pods take {lacking} in a namespace of"
                f" {context.region.name} ({context.region_place('.quota')}): it would be taken back; run fewer or smaller pods,"
                f" or set {context.region.name}_canary = []",
                hint=pods != least,
            )
            return


def shares_reach_every_caller(context: RuleContext) -> Iterator[Violation]:
    """Such callers are answered, and are not judged, so that this is a hint."""
    if not _has_canary(context):
        return
    settings, region = context.settings, context.region
    beside = "reach the old pods alone until a canary has taken over, and are in no share and no verdict"
    if opens_host_port(settings, "prod"):
        yield hint("canary", f"requests to host_port {settings.host_port} {beside}")
    if region.mesh and context.plan.online:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(region.mesh.items()))
        words = f"requests of pods that call {context.plan.online.route.backend} themselves, as those of {labels} may, {beside}"
        yield hint("canary", words)


def no_service_has_an_arms_name(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    """A canary is refused while another service has the name of one of its arms. Only prod has canaries."""
    mine = value.checkable_in()
    for other in others:
        theirs = other.value.settings
        for owner, file, name in ((mine, value, theirs), (theirs, other.value, mine)):
            if owner.username != name.username or name.service_name not in arm_names(owner.service_name):
                continue
            yield Violation(
                "service_name",
                f"{name.username}/{name.service_name} has the name that pods of a canary of {owner.service_name} would have"
                f" ({other.folder}), so that such a canary is refused: choose another service_name",
                hint=not any(file.checkable_in(region).canary for region in regions.regions),
            )


def _has_canary(context: RuleContext) -> bool:
    return context.is_prod and bool(context.settings.canary)


def _lacking(context: RuleContext, pods: int) -> str:
    """Return what a take-over lacks of a quota, "" where it fits. pods: before it."""
    offline = most_offline_pods(context.settings, "prod")
    total = 2 * pods + 1 + (offline + 1 if offline else 0)
    over = over_quota(context.region.quota, [(total, context.need)])
    return next((f"{wanted}, while {limit} are allowed" for wanted, limit in over), "")


ONLINE_RULES: tuple[Rule, ...] = (the_canary_can_take_over, shares_reach_every_caller)
SERVICE_RULES = (no_service_has_an_arms_name,)
