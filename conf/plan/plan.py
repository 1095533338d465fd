"""The plan of a service: its workloads in one region, with every name, path, number and label that their objects hold.

A canary's arms are not planned: a baseline is made of the stored objects of an older release, whose settings are gone.
conf/render/arms.py makes both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from conf.base.image_names import UNTAGGED, Image
from conf.base.object_references import DEPLOYMENT_LABEL, MANAGER
from conf.base.quantities import rounded_up
from conf.clusters.regions import Kafka, Region, Regions
from conf.plan.alerts import OWN, RUNBOOK, AlertingRule, RuleGroup, Watched, labelled, next_steps
from conf.plan.own_panels import OwnPanel, panel_groups
from conf.plan.own_pod import NOTHING, OwnPod
from conf.plan.placement import monthly_price
from conf.plan.platform_alerts import offline_rule_groups, rule_groups
from conf.plan.pods import (
    ADMIN_PORT,
    DATA_PORT,
    EXIT_MARGIN,
    SCHEDULE_AND_PULL,
    NamespaceAccess,
    NetworkAccess,
    Pairs,
    Pod,
    Port,
    annotations,
    pod,
    probes,
    startup_time,
    tmp_size,
)
from conf.plan.routes import Route, route
from conf.plan.scaling import Scaling, offline_scaling, online_scaling
from serving.settings import Settings, ValueFile, replicas, weekly_hours
from serving.settings.offline_names import dead_topic_of, group_of, sinks_of, topic_of

TRACKS = ("prod", "grey", "ab")
NAMESPACES: Mapping[str, str] = {"grey": "grey", "ab": "ab-test"}
SERVICE_PORT = 80
SUFFIX = "-offline"
LEAVE = 30  # Seconds for the sinks to take what is left, and for the group to be left.
CA_FOLDER, CA_FILE = "/etc/kafka", "ca.crt"
SCALERS = ("horizontalpodautoscaler", "scaledobject")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Pods of one kind, and the objects around them.

    command: the verb of monopod that the pods run. objects: resource kinds in lower case, in the order of their apply.
    monitor_labels: by which Prometheus finds the monitor and the rules.
    """

    name: str
    namespace: str
    command: str
    replicas: int
    objects: tuple[str, ...]
    labels: Pairs
    pod: Pod
    scaling: Scaling
    namespace_access: tuple[NamespaceAccess, ...]
    network_access: tuple[NetworkAccess, ...]
    pull_secrets: tuple[str, ...]
    monitor_labels: Pairs
    rule_groups: tuple[RuleGroup, ...]

    @property
    def selector(self) -> Pairs:
        """The labels that find the pods."""
        return ((DEPLOYMENT_LABEL, self.name),)

    @property
    def sets_replicas(self) -> bool:
        """Whether no autoscaler decides how many pods there are."""
        return not any(kind in self.objects for kind in SCALERS)


@dataclass(frozen=True, kw_only=True)
class OnlineWorkload(Workload):
    """The pods that answer requests."""

    route: Route
    service_port: int = SERVICE_PORT
    service_ports: tuple[Port, ...] = (Port("http", SERVICE_PORT), Port("admin", ADMIN_PORT))


@dataclass(frozen=True, kw_only=True)
class OfflineWorkload(Workload):
    """The pods that read records, and answer no request. source, sinks: as value.py writes them, sinks with the track's suffix.

    In names and in labels they are `<service_name>-offline`. So no selector, rule or query about the online pods finds them.
    """

    source: str
    group: str
    sinks: tuple[str, ...]
    dead_letters: str


@dataclass(frozen=True)
class Plan:
    """One track of a service in one region. image: of its pods. online, offline: its workloads, one of them at least."""

    region: str
    track: str
    name: str
    namespace: str
    image: str
    online: OnlineWorkload | None
    offline: OfflineWorkload | None

    @property
    def workloads(self) -> tuple[Workload, ...]:
        return tuple(each for each in (self.online, self.offline) if each)

    @property
    def objects(self) -> tuple[str, ...]:
        """The resource kinds of all workloads in lower case."""
        return tuple(kind for each in self.workloads for kind in each.objects)


@dataclass(frozen=True)
class Own:
    """A service adds these to the platform's: alerts, panels, and by `pod` the content of pod.yaml."""

    alerts: tuple[AlertingRule, ...] = ()
    panels: tuple[OwnPanel, ...] = ()
    pod: OwnPod = NOTHING


NO_ADDITIONS = Own()


def plan(value: ValueFile, regions: Regions, track: str, image: Image, own: Own = NO_ADDITIONS) -> tuple[Plan, ...]:
    """Return the plan of a track in each region where it runs."""
    found = [(region, value.in_region(region.name)) for region in regions.regions.values()]
    answers = any(settings.replicas for _, settings in found)
    return tuple(
        _in_region(settings, region, regions, track, image, own, serves(settings, track, answers))
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


def runs_offline(settings: Settings) -> bool:
    """Return whether each track of a service that runs in a region has offline pods there."""
    return bool(settings.offline_source) and settings.offline_replicas > 0


def offline_name(service_name: str) -> str:
    """Return the name of a service's offline Deployment, of its pods' container and of their series."""
    return f"{service_name}{SUFFIX}"


def default_image(settings: Settings, regions: Regions) -> str:
    """Return the image's name that is shown before there is a build."""
    return f"{regions.registry}/{settings.username}/{settings.service_name}:{UNTAGGED}"


def offline_replicas(settings: Settings, track: str) -> int:
    return settings.offline_replicas if track == "prod" else 1


def most_pods(settings: Settings, track: str) -> int:
    """Return the most online pods that a track may have."""
    if track != "prod":
        return replicas(settings, track)
    return max(settings.max_replicas, settings.replicas, weekly_hours.most_pods(settings.scale_hours))


def most_offline_pods(settings: Settings, track: str) -> int:
    """Return the most offline pods that a track may have; 0 where it has none."""
    most = settings.offline_max_replicas if track == "prod" else 0
    return max(most, offline_replicas(settings, track)) if runs_offline(settings) else 0


def mean_pods(settings: Settings, track: str) -> float:
    """Return the mean of a track's pods over a week, without those that an autoscaler adds for its load."""
    return weekly_hours.mean_pods(settings.replicas, settings.scale_hours) if track == "prod" else replicas(settings, track)


def scales(settings: Settings, track: str) -> bool:
    """Return whether an autoscaler decides how many online pods a track has."""
    return track == "prod" and bool(settings.max_replicas or settings.scale_hours)


def opens_host_port(settings: Settings, track: str) -> bool:
    """Return whether a track opens a port of its node. Only prod does: one port of a node cannot lead to two tracks."""
    return settings.use_srv and track == "prod"


def track_group(settings: Settings, track: str) -> str:
    """Return a track's consumer group."""
    return group_of(settings.offline_group, settings.username, settings.service_name, track)


def offline_grace_period(settings: Settings) -> int:
    """Return the seconds from an offline pod's deletion to its kill: to finish, write and commit what was begun."""
    return rounded_up(settings.offline_revoke_second + LEAVE + EXIT_MARGIN)


def offline_startup_time(settings: Settings) -> int:
    """Return the seconds to load the model, and until the pods that have its partitions give them up."""
    return startup_time(settings) + rounded_up(settings.offline_revoke_second)


def _in_region(
    settings: Settings, region: Region, regions: Regions, track: str, image: Image, own: Own, is_online: bool
) -> Plan:
    namespace, labels = NAMESPACES.get(track, settings.username), _labels(settings, track, image)
    host_port = settings.host_port if opens_host_port(settings, track) else 0
    planned = pod(settings, region, image.text, labels, _env(settings, track, region, regions, image, own.pod), host_port)
    answering = replace(planned, own=own.pod)
    watched = Watched(settings, region, track, namespace, answering.progress_deadline, regions.runbook or RUNBOOK)
    return Plan(
        region=region.name,
        track=track,
        name=settings.service_name,
        namespace=namespace,
        image=image.text,
        online=_online(watched, answering, labels, own) if is_online else None,
        # no online pods have the rules of alerts.yaml then
        offline=_offline(watched, answering, labels, replace(own, alerts=()) if is_online else own)
        if runs_offline(settings)
        else None,
    )


def _online(watched: Watched, answering: Pod, labels: Pairs, own: Own) -> OnlineWorkload:
    settings, region, track = watched.settings, watched.region, watched.track
    most, is_scaled = most_pods(settings, track), scales(settings, track)
    networks = region.srv.cidrs if region.srv and answering.ports[0].host_port else ()
    return OnlineWorkload(
        name=watched.name,
        namespace=watched.namespace,
        command="serve",
        replicas=replicas(settings, track),
        objects=_online_objects(settings, region, is_scaled, most),
        labels=labels,
        pod=answering,
        scaling=online_scaling(settings, region, watched.namespace),
        namespace_access=_namespace_access(region),
        network_access=tuple(NetworkAccess(DATA_PORT, cidr) for cidr in networks),
        pull_secrets=region.pull_secrets,
        monitor_labels=_monitor_labels(region, labels),
        rule_groups=_rule_groups(watched, rule_groups(watched), own),
        route=route(settings, region, track, watched.namespace, most),
    )


def _offline(of_service: Watched, answering: Pod, labels: Pairs, own: Own) -> OfflineWorkload:
    """Return a track's offline pods. answering: the pod that would answer requests. own: the rules that it adds."""
    settings, region, track = of_service.settings, of_service.region, of_service.track
    kafka, name = region.kafka or Kafka(()), offline_name(settings.service_name)
    named = tuple(sorted({**dict(labels), "app": name, DEPLOYMENT_LABEL: name}.items()))
    reading = _reading_pod(settings, region, kafka, answering, named)
    watched = replace(of_service, suffix=SUFFIX, progress_deadline=reading.progress_deadline)
    topic, group = topic_of(settings.offline_source), track_group(settings, track)
    scaling = offline_scaling(settings, kafka, topic, group, name)
    return OfflineWorkload(
        name=name,
        namespace=watched.namespace,
        command="offline",
        replicas=offline_replicas(settings, track),
        objects=_offline_objects(track == "prod" and settings.offline_max_replicas > 0, bool(scaling.credentials)),
        labels=named,
        pod=reading,
        scaling=scaling,
        namespace_access=(NamespaceAccess(ADMIN_PORT, _namespace(region.prometheus.namespace)),),
        network_access=(),
        pull_secrets=region.pull_secrets,
        monitor_labels=_monitor_labels(region, named),
        rule_groups=_rule_groups(watched, offline_rule_groups(watched), own),
        source=settings.offline_source,
        group=group,
        sinks=sinks_of(settings.offline_sinks, track),
        dead_letters=dead_topic_of(topic, group),
    )


def _rule_groups(watched: Watched, groups: tuple[RuleGroup, ...], own: Own) -> tuple[RuleGroup, ...]:
    """Return a track's rules. A rule of alerts.yaml names its namespaces itself, so that prod alone has it."""
    name = watched.name
    told = tuple(replace(each, annotations={**next_steps(watched, each.alert, OWN), **each.annotations}) for each in own.alerts)
    added = (RuleGroup(f"{name}-own", "", (), told),) if told and watched.track == "prod" else ()
    every = (*groups, *added, *panel_groups(watched, own.panels))
    return tuple(labelled(each, name, watched.namespace, watched.track) for each in every)


def _online_objects(settings: Settings, region: Region, is_scaled: bool, most: int) -> tuple[str, ...]:
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


def _offline_objects(is_scaled: bool, has_credentials: bool) -> tuple[str, ...]:
    return (
        "serviceaccount",
        "networkpolicy",
        "deployment",
        *(("triggerauthentication",) if is_scaled and has_credentials else ()),
        *(("scaledobject",) if is_scaled else ()),
        "podmonitor",
        "prometheusrule",
    )


def _labels(settings: Settings, track: str, image: Image) -> Pairs:
    return (
        ("app", settings.service_name),
        ("app.kubernetes.io/component", track),
        ("app.kubernetes.io/managed-by", MANAGER),
        (DEPLOYMENT_LABEL, settings.service_name),
        ("app.kubernetes.io/part-of", settings.username),
        ("app.kubernetes.io/version", image.version),
        ("version", image.version),
    )


def _monitor_labels(region: Region, labels: Pairs) -> Pairs:
    return tuple(sorted({**region.prometheus.labels, **dict(labels)}.items()))


def _env(settings: Settings, track: str, region: Region, regions: Regions, image: Image, own_pod: OwnPod) -> Pairs:
    """Return the environment. The runtime shows the price and the limit of /tmp in its metrics, which it cannot know."""
    price = monthly_price(settings, region, own_pod)
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


def _reading_pod(settings: Settings, region: Region, kafka: Kafka, answering: Pod, labels: Pairs) -> Pod:
    """Return the offline pod: the online one without the data port, with Secrets, times and environment of its own."""
    inject = tuple(pair for pair in answering.labels if pair[0] == "sidecar.istio.io/inject")
    startup, grace = offline_startup_time(settings), offline_grace_period(settings)
    return replace(
        answering,
        env=(*answering.env, *_kafka_environment(kafka)),
        env_secrets=tuple(dict.fromkeys(filter(None, (*answering.env_secrets, settings.offline_secret)))),
        ports=(Port("admin", ADMIN_PORT),),
        probes=probes(startup),
        pre_stop=0,
        grace_period=grace,
        progress_deadline=startup + SCHEDULE_AND_PULL,
        labels=(*labels, *inject),
        annotations=annotations(region, grace),
        ca_secret=kafka.ca_secret,
    )


def _kafka_environment(kafka: Kafka) -> Pairs:
    return (
        ("KAFKA_BROKERS", ",".join(kafka.brokers)),
        ("KAFKA_SECURITY", kafka.security),
        *((("KAFKA_MECHANISM", kafka.mechanism),) if kafka.mechanism else ()),
        *((("KAFKA_CA", f"{CA_FOLDER}/{CA_FILE}"),) if kafka.ca_secret else ()),
    )


def _namespace(name: str) -> Pairs:
    return (("kubernetes.io/metadata.name", name),)


def _namespace_access(region: Region) -> tuple[NamespaceAccess, ...]:
    mesh = tuple(sorted(region.mesh.items()))
    return (
        NamespaceAccess(DATA_PORT, _namespace(region.gateway.pods)),
        *((NamespaceAccess(DATA_PORT, mesh),) if mesh else ()),
        NamespaceAccess(ADMIN_PORT, _namespace(region.prometheus.namespace)),
    )
