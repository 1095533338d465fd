"""The plan of a service: every name, path, number and label that its objects in one region hold.

Knows what runs where. Reads no file, asks no cluster and does not know YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from conf.base.image_names import UNTAGGED, Image
from conf.base.object_references import MANAGER
from conf.clusters.region import Region, Regions
from conf.plan.alerts import Alert, labelled, platform_alerts
from conf.plan.pods import ADMIN_PORT, DATA_PORT, Pairs, Pod, Port, pod
from conf.plan.routes import Route, route
from serving.settings import Settings, ValueFile

TRACKS = ("prod", "grey", "ab")
NAMESPACES: Mapping[str, str] = {"grey": "grey", "ab": "ab-test"}
SERVICE_PORT = 80


@dataclass(frozen=True)
class NamespaceAccess:
    """A port that the pods of namespaces with these labels may call."""

    port: int
    namespace_labels: Pairs


@dataclass(frozen=True)
class NetworkAccess:
    """A port that the addresses of a network may call."""

    port: int
    cidr: str


@dataclass(frozen=True)
class Scaling:
    """The limits and the measure of the autoscaler."""

    min_replicas: int
    max_replicas: int
    cpu_percent: int  # Of the requested cpu, where it scales by cpu.
    scale_down_window: int  # Seconds for which fewer pods must suffice.
    prometheus_url: str
    query: str  # PromQL of the queue's rows, where it scales by the queue.
    rows_per_pod: str  # Rows in the queue for each pod.


@dataclass(frozen=True)
class Plan:
    """One track of a service in one region."""

    region: str
    track: str
    name: str
    namespace: str
    replicas: int
    objects: tuple[str, ...]  # Resource kinds in lower case, in the order in which they are applied.
    sets_replicas: bool  # False where an autoscaler decides how many pods there are.
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
    alerts: tuple[Alert, ...]


def plan(value: ValueFile, regions: Regions, track: str, image: Image, alerts: tuple[Alert, ...] = ()) -> tuple[Plan, ...]:
    """Return the plan of a track in each region where it runs. alerts: the service's own rules."""
    found = ((region, value.in_region(region.name)) for region in regions.regions.values())
    return tuple(
        _in_region(settings, region, regions, track, image, alerts)
        for region, settings in found
        if runs(settings, region.name, regions, track)
    )


def runs(settings: Settings, region: str, regions: Regions, track: str) -> bool:
    """Return whether a track of a service has pods in a region."""
    if track == "prod":
        return settings.replicas > 0
    return region == (regions.grey if track == "grey" else regions.ab)


def default_image(settings: Settings, regions: Regions) -> str:
    """Return the image's name that is shown before there is a build."""
    return f"{regions.registry}/{settings.username}/{settings.service_name}:{UNTAGGED}"


def replicas(settings: Settings, track: str) -> int:
    return {"prod": settings.replicas, "grey": 1, "ab": settings.ab_replicas}[track]


def most_pods(settings: Settings, track: str) -> int:
    """Return the most pods that a track may have."""
    return max(settings.max_replicas, settings.replicas) if track == "prod" else replicas(settings, track)


def opens_host_port(settings: Settings, track: str) -> bool:
    """Return whether a track opens a port of its node. Only prod does: one port of a node cannot lead to two tracks."""
    return settings.use_srv and track == "prod"


def _in_region(
    settings: Settings, region: Region, regions: Regions, track: str, image: Image, alerts: tuple[Alert, ...]
) -> Plan:
    namespace, labels = NAMESPACES.get(track, settings.username), _labels(settings, track, image)
    host_port = settings.host_port if opens_host_port(settings, track) else 0
    scales, most = track == "prod" and settings.max_replicas > 0, most_pods(settings, track)
    return Plan(
        region=region.name,
        track=track,
        name=settings.service_name,
        namespace=namespace,
        replicas=replicas(settings, track),
        objects=_objects(settings, region, scales, most),
        sets_replicas=not scales,
        labels=labels,
        selector=(("app.kubernetes.io/name", settings.service_name),),
        service_port=SERVICE_PORT,
        service_ports=(Port("http", SERVICE_PORT), Port("admin", ADMIN_PORT)),
        pod=pod(settings, region, image.text, labels, _env(region, regions, image), host_port),
        route=route(settings, region, track, namespace, most),
        scaling=_scaling(settings, region, namespace),
        namespace_access=_namespace_access(region),
        network_access=_network_access(region, host_port),
        pull_secrets=region.pull_secrets,
        monitor_labels=tuple(sorted({**region.prometheus.labels, **dict(labels)}.items())),
        alerts=_alerts(settings, track, namespace, alerts),
    )


def _alerts(settings: Settings, track: str, namespace: str, own: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """Return a track's rules. own: of alerts.yaml; such a rule names its namespaces itself, so that prod alone has it."""
    name = settings.service_name
    every = (*platform_alerts(name, namespace, settings.timeout_second), *(own if track == "prod" else ()))
    return tuple(labelled(each, name, namespace, track) for each in every)


def _objects(settings: Settings, region: Region, scales: bool, most: int) -> tuple[str, ...]:
    scaler = {"cpu": "horizontalpodautoscaler", "queue": "scaledobject"}[settings.autoscale_by]
    routing = {"istio": ("destinationrule", "virtualservice"), "gateway-api": ("backendtrafficpolicy", "httproute")}
    return (
        "serviceaccount",
        "networkpolicy",
        "service",
        *(("poddisruptionbudget",) if most >= 2 else ()),
        "deployment",
        *((scaler,) if scales else ()),
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


def _env(region: Region, regions: Regions, image: Image) -> Pairs:
    return (
        ("MONOPOD_REGION", region.name),
        ("MONOPOD_REGIONS", ",".join(regions.regions)),
        ("MONOPOD_VERSION", image.version),
        *((("MONOPOD_DIGEST", image.digest),) if image.digest else ()),
    )


def _scaling(settings: Settings, region: Region, namespace: str) -> Scaling:
    series = f'monopod_queue_rows{{namespace="{namespace}",service="{settings.service_name}"}}'
    return Scaling(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        cpu_percent=80,
        scale_down_window=600,
        prometheus_url=region.prometheus.url,
        query=f"sum({series})",
        rows_per_pod=str(settings.autoscale_queue_rows),
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
