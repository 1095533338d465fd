"""The plan of a service: every name, path, number and label that its objects in one region hold.

Knows what runs where. Reads no file, asks no cluster and does not know YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from conf.base.image_names import UNTAGGED, Image
from conf.base.object_references import MANAGER
from conf.clusters.regions import Region, Regions
from conf.plan.alerts import OWN, RUNBOOK, AlertingRule, RuleGroup, Watched, labelled, next_steps
from conf.plan.offline import SUFFIX, OfflinePlan, offline_plan, offline_startup_time, runs_offline
from conf.plan.placement import monthly_price
from conf.plan.platform_alerts import offline_rule_groups, rule_groups
from conf.plan.pods import (
    ADMIN_PORT,
    DATA_PORT,
    SCHEDULE_AND_PULL,
    NamespaceAccess,
    NetworkAccess,
    Pairs,
    Pod,
    Port,
    pod,
    tmp_size,
)
from conf.plan.routes import Route, route
from conf.plan.scaling import Scaling, online_scaling
from serving.settings import Settings, ValueFile, weekly_hours

TRACKS = ("prod", "grey", "ab")
NAMESPACES: Mapping[str, str] = {"grey": "grey", "ab": "ab-test"}
SERVICE_PORT = 80


@dataclass(frozen=True)
class Plan:
    """One track of a service in one region.

    offline: the plan of its offline pods, None where there are none. Where it has offline pods alone, replicas is 0 and objects
    is empty.
    """

    region: str
    track: str
    name: str
    namespace: str
    replicas: int
    objects: tuple[str, ...]  # Resource kinds in lower case, in the order in which they are applied.
    sets_replicas: bool  # False where an autoscaler decides how many pods there are.
    command: str  # The verb of monopod that the pods run.
    labels: Pairs
    selector: Pairs  # The labels that find the track's pods.
    service_port: int
    service_ports: tuple[Port, ...]
    pod: Pod
    route: Route
    scaling: Scaling
    namespace_access: tuple[NamespaceAccess, ...]
    network_access: tuple[NetworkAccess, ...]
    pull_secrets: tuple[str, ...]
    monitor_labels: Pairs  # The labels by which Prometheus finds the monitor and the rules.
    rule_groups: tuple[RuleGroup, ...]
    offline: OfflinePlan | None = None

    @property
    def all_objects(self) -> tuple[str, ...]:
        """The resource kinds of both halves in lower case."""
        return (*self.objects, *(self.offline.objects if self.offline else ()))


def plan(
    value: ValueFile, regions: Regions, track: str, image: Image, alerts: tuple[AlertingRule, ...] = ()
) -> tuple[Plan, ...]:
    """Return the plan of a track in each region where it runs. alerts: the service's own rules."""
    found = [(region, value.in_region(region.name)) for region in regions.regions.values()]
    answers = any(settings.replicas for _, settings in found)
    return tuple(
        _in_region(settings, region, regions, track, image, alerts, serves(settings, track, answers))
        for region, settings in found
        if runs(settings, region.name, regions, track)
    )


def runs(settings: Settings, region: str, regions: Regions, track: str) -> bool:
    """Return whether a track of a service has pods in a region."""
    if track == "prod":
        return settings.replicas > 0 or runs_offline(settings)
    return region == (regions.grey if track == "grey" else regions.ab)


def serves(settings: Settings, track: str, answers: bool) -> bool:
    """Return whether a track has online pods in a region where it runs. answers: whether prod has some in any region.

    A service that answers no request anywhere reads records alone, in grey and ab too.
    """
    return settings.replicas > 0 if track == "prod" else answers or not runs_offline(settings)


def default_image(settings: Settings, regions: Regions) -> str:
    """Return the image's name that is shown before there is a build."""
    return f"{regions.registry}/{settings.username}/{settings.service_name}:{UNTAGGED}"


def replicas(settings: Settings, track: str) -> int:
    return {"prod": settings.replicas, "grey": 1, "ab": settings.ab_replicas}[track]


def most_pods(settings: Settings, track: str) -> int:
    """Return the most pods that a track may have."""
    if track != "prod":
        return replicas(settings, track)
    return max(settings.max_replicas, settings.replicas, weekly_hours.most_pods(settings.scale_hours))


def mean_pods(settings: Settings, track: str) -> float:
    """Return the mean of a track's pods over a week, without those that an autoscaler adds for its load."""
    return weekly_hours.mean_pods(settings.replicas, settings.scale_hours) if track == "prod" else replicas(settings, track)


def scales(settings: Settings, track: str) -> bool:
    """Return whether an autoscaler decides how many online pods a track has."""
    return track == "prod" and bool(settings.max_replicas or settings.scale_hours)


def opens_host_port(settings: Settings, track: str) -> bool:
    """Return whether a track opens a port of its node. Only prod does: one port of a node cannot lead to two tracks."""
    return settings.use_srv and track == "prod"


def _in_region(
    settings: Settings,
    region: Region,
    regions: Regions,
    track: str,
    image: Image,
    alerts: tuple[AlertingRule, ...],
    is_online: bool,
) -> Plan:
    namespace, labels = NAMESPACES.get(track, settings.username), _labels(settings, track, image)
    host_port = settings.host_port if opens_host_port(settings, track) else 0
    is_scaled, most = scales(settings, track), most_pods(settings, track)
    made = pod(settings, region, image.text, labels, _env(settings, track, region, regions, image), host_port)
    watched = Watched(settings, region, track, namespace, made.progress_deadline, regions.runbook or RUNBOOK)
    return Plan(
        region=region.name,
        track=track,
        name=settings.service_name,
        namespace=namespace,
        replicas=replicas(settings, track) if is_online else 0,
        objects=_objects(settings, region, is_scaled, most) if is_online else (),
        sets_replicas=not is_scaled,
        command="serve",
        labels=labels,
        selector=(("app.kubernetes.io/name", settings.service_name),),
        service_port=SERVICE_PORT,
        service_ports=(Port("http", SERVICE_PORT), Port("admin", ADMIN_PORT)),
        pod=made,
        route=route(settings, region, track, namespace, most),
        scaling=online_scaling(settings, region, namespace),
        namespace_access=_namespace_access(region),
        network_access=_network_access(region, host_port),
        pull_secrets=region.pull_secrets,
        monitor_labels=tuple(sorted({**region.prometheus.labels, **dict(labels)}.items())),
        rule_groups=_rule_groups(watched, rule_groups(watched), alerts),
        offline=_offline(watched, made, labels, () if is_online else alerts),
    )


def _offline(watched: Watched, online: Pod, labels: Pairs, own: tuple[AlertingRule, ...]) -> OfflinePlan | None:
    """Return the plan of a track's offline pods. own: of alerts.yaml, where no online pods have them."""
    settings = watched.settings
    if not runs_offline(settings):
        return None
    deadline = offline_startup_time(settings) + SCHEDULE_AND_PULL
    offline = replace(watched, suffix=SUFFIX, progress_deadline=deadline)
    groups = _rule_groups(offline, offline_rule_groups(offline), own)
    return offline_plan(settings, watched.region, watched.track, watched.namespace, online, labels, groups)


def _rule_groups(watched: Watched, groups: tuple[RuleGroup, ...], own: tuple[AlertingRule, ...]) -> tuple[RuleGroup, ...]:
    """Return a track's rules. own: of alerts.yaml; such a rule names its namespaces itself, so that prod alone has it."""
    name = watched.name
    told = tuple(replace(each, annotations={**next_steps(watched, each.alert, OWN), **each.annotations}) for each in own)
    added = (RuleGroup(f"{name}-own", "", (), told),) if own and watched.track == "prod" else ()
    return tuple(labelled(each, name, watched.namespace, watched.track) for each in (*groups, *added))


def _objects(settings: Settings, region: Region, is_scaled: bool, most: int) -> tuple[str, ...]:
    scaler = "horizontalpodautoscaler" if settings.autoscale_by == "cpu" and not settings.scale_hours else "scaledobject"
    routing = {"istio": ("destinationrule", "virtualservice"), "gateway-api": ("backendtrafficpolicy", "httproute")}
    return (
        "serviceaccount",
        "networkpolicy",
        "service",
        *(("poddisruptionbudget",) if most >= 2 else ()),
        "deployment",
        *((scaler,) if is_scaled else ()),
        *routing[region.routing],
        "servicemonitor",
        "prometheusrule",
    )


def _labels(settings: Settings, track: str, image: Image) -> Pairs:
    return (
        ("app", settings.service_name),
        ("app.kubernetes.io/component", track),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/name", settings.service_name),
        ("app.kubernetes.io/part-of", settings.username),
        ("app.kubernetes.io/version", image.version),
        ("version", image.version),
    )


def _env(settings: Settings, track: str, region: Region, regions: Regions, image: Image) -> Pairs:
    """Return the environment. The runtime shows the price and the limit of /tmp in its metrics, which it cannot know."""
    price = monthly_price(settings, region)
    return (
        ("MONOPOD_SERVICE", settings.service_name),
        ("MONOPOD_USER", settings.username),
        ("MONOPOD_TRACK", track),
        ("MONOPOD_REGION", region.name),
        ("MONOPOD_REGIONS", ",".join(regions.regions)),
        ("MONOPOD_VERSION", image.version),
        *((("MONOPOD_DIGEST", image.digest),) if image.digest else ()),
        *((("MONOPOD_PRICE_PER_MONTH", f"{price:.2f}"), ("MONOPOD_CURRENCY", regions.currency)) if price is not None else ()),
        ("MONOPOD_TMP_LIMIT_BYTES", str(tmp_size(settings))),
    )


def _namespace_access(region: Region) -> tuple[NamespaceAccess, ...]:
    def namespace(name: str) -> Pairs:
        return (("kubernetes.io/metadata.name", name),)

    mesh = tuple(sorted(region.mesh.items()))
    return (
        NamespaceAccess(DATA_PORT, namespace(region.gateway.pods)),
        *((NamespaceAccess(DATA_PORT, mesh),) if mesh else ()),
        NamespaceAccess(ADMIN_PORT, namespace(region.prometheus.namespace)),
    )


def _network_access(region: Region, host_port: int) -> tuple[NetworkAccess, ...]:
    if not host_port or region.srv is None:
        return ()
    return tuple(NetworkAccess(DATA_PORT, cidr) for cidr in region.srv.cidrs)
