"""conf/regions.yaml: the clusters, one region each, what each holds and how it is reached.

It is read and checked as strictly as value.py. Asks no cluster.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from conf.base.yaml_nodes import read_table
from serving.settings import UnreadableError, declared_settings, text_of
from serving.settings import validators as allow
from serving.settings.declarations import RESERVED_USERS
from serving.settings.reader import REQUIRED, ConfigError, List, Named, Table, setting
from serving.settings.weekly_hours import Window

MAX_FILE = 256  # KiB, enough for some hundred regions


def _network(value: object) -> str:
    return str(ipaddress.ip_network(allow.string(value)))


def _window(value: object) -> str:
    Window(allow.string(value))
    return allow.string(value)


PART = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
LABEL = allow.text(PART, "lower-case letters, digits and -, 63 at most", "name")
SHORT = allow.text("[a-z][a-z0-9]{1,9}", "2 to 10 lower-case letters and digits, from a letter", "hk")
HOST = allow.text(rf"\*|(?=.{{1,253}}$){PART}(\.{PART})*", 'a host as api.example.com, or "*" for any', "api.example.com")
RESOURCE = allow.text(
    rf"(?=.{{1,200}}/){PART}(\.{PART})+/[a-z]([a-z0-9.-]{{0,50}}[a-z0-9])?", "a resource as nvidia.com/gpu", "nvidia.com/gpu"
)
URL = allow.text(
    rf"https?://{PART}(\.{PART})*(:[0-9]{{1,5}})?(/[A-Za-z0-9._~/-]{{0,200}})?",
    "a URL as http://prometheus:9090",
    "http://prometheus:9090",
)
PROXY = allow.text(rf"http://{PART}(\.{PART})*:[1-9][0-9]{{0,4}}", "http://host:port", "http://proxy.lan:3128")
REGISTRY = allow.text(
    rf"{PART}(\.{PART})*(:[0-9]{{1,5}})?(/[a-z0-9]+([._-][a-z0-9]+)*)*",
    "a registry as registry.example.com/models",
    "registry.example.com",
)
WORD = allow.text(r"[^\s\x00-\x1f\x7f-\x9f](.{0,198}\S)?", "a text on one line, 200 characters at most", "name")
CURRENCY = allow.text("[A-Z]{3}", "three capital letters", "USD")
NAMES = allow.strings(PART, "names", "[registry]")
FIELDS = allow.strings("[a-z][a-z_]{0,62}", "names of fields", "[buffer_limit]")
GROUPS = allow.strings(r"[A-Za-z0-9]([A-Za-z0-9_.:/@-]{0,198}[A-Za-z0-9])?", "names of groups", '["oidc:ml-team"]')
HOSTS = allow.strings(rf"{PART}(\.{PART})*(:[0-9]{{1,5}})?", "hosts with their ports", "[registry.lan:5000]")
BROKERS = allow.strings(rf"{PART}(\.{PART})*:[0-9]{{1,5}}", "brokers as host:port", "[kafka.lan:9092]")
NETWORKS = allow.list_of(_network, 'a list of networks as "10.0.0.0/8"', '["10.0.0.0/8"]', is_allowed=bool)
WINDOWS = allow.list_of(_window, 'a list of windows as "mon-fri 09:00-18:00"', '["mon-fri 09:00-18:00"]')
TIMEZONE = allow.string_where(lambda name: name in available_timezones(), "a time zone as Asia/Hong_Kong", "Asia/Hong_Kong")
TAINTS = allow.strings(allow.TOLERATION, 'taints as "key=value:NoSchedule"', '["dedicated=ml:NoSchedule"]')


@dataclass(frozen=True)
class Gateway:
    """The gateway that leads from outside to the pods."""

    namespace: str = setting(REQUIRED, LABEL, "The Gateway object's namespace.")
    name: str = setting(REQUIRED, LABEL, "The Gateway object's name.")
    pods: str = setting(REQUIRED, LABEL, "The namespace that its proxies run in, which alone may call the pods from outside.")
    buffer_limit: str = setting(
        "",
        allow.memory("64Ki", "1Gi"),
        "The largest body that its proxies keep to send a request again; their own limit where it is left out.",
    )
    create: bool = setting(False, allow.flag(), "Whether charts/cluster makes the Gateway object.")
    class_: str = setting("", LABEL, "With gateway-api and create: the GatewayClass of the Gateway.")
    selector: dict[str, str] = setting(
        {}, allow.labels(), "With istio and create: labels of the proxies' pods that serve the Gateway."
    )
    certificate: str = setting(
        "",
        allow.named("a Secret", "gateway-tls"),
        "With create: the Secret of the certificate for HTTPS on 443. Left out, it answers HTTP on 80.",
    )


@dataclass(frozen=True)
class PrometheusService:
    """A Service and its port. prefix: the path before Prometheus' own, "" for none."""

    namespace: str
    name: str
    port: int
    https: bool
    prefix: str

    @property
    def proxy_name(self) -> str:
        """Its name as the API server's proxy takes it, as `prometheus:9090`, or `https:prometheus:9090`."""
        return f"{'https:' if self.https else ''}{self.name}:{self.port}"


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus that reads the metrics."""

    namespace: str = setting(REQUIRED, LABEL, "The namespace that Prometheus runs in, which alone may read the metrics.")
    url: str = setting(REQUIRED, URL, "Its address inside the cluster: KEDA, top, health and report ask it there.")
    labels: dict[str, str] = setting(REQUIRED, allow.labels(), "Labels by which it finds monitors and rules.")
    outside: str = setting(
        "", URL, "The address at which top, health and report ask it. Left out, they ask it through the API server."
    )

    @property
    def service(self) -> PrometheusService | None:
        """The cluster's Service that the URL names; None where its host is outside the cluster."""
        parts = urlsplit(self.url)
        https = parts.scheme == "https"
        service, *rest = str(parts.hostname).split(".")
        if rest[1:] not in ([], ["svc"], ["svc", "cluster", "local"]):
            return None
        namespace = rest[0] if rest else self.namespace
        return PrometheusService(namespace, service, parts.port or (443 if https else 80), https, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Gpu:
    """The resource by which a pod asks for a share of a GPU."""

    resource: str = setting(REQUIRED, RESOURCE, "The resource's key.")
    unit: str = setting(
        REQUIRED,
        allow.choice("GiB", "MiB", "card"),
        "The unit of the resource: GiB or MiB of a card's memory, or a whole card.",
    )
    beside: str = setting("", RESOURCE, "A further resource, of which a pod asks for 1.")


@dataclass(frozen=True)
class HostPorts:
    """Ports of the nodes that services may open."""

    first_port: int = setting(REQUIRED, allow.whole(1, 65535), "The lowest port.")
    last_port: int = setting(REQUIRED, allow.whole(1, 65535), "The highest port.")
    cidrs: tuple[str, ...] = setting(REQUIRED, NETWORKS, "Networks that may call such a port.")


@dataclass(frozen=True)
class Reserved:
    """The part of every node that the kubelet and system pods take."""

    cpu: float = setting(REQUIRED, allow.number(0, 64), "Cores.")
    memory: str = setting(REQUIRED, allow.memory("0", "1Ti"), "Memory.")


@dataclass(frozen=True)
class Quota:
    """The most that one namespace may ask for. A field that is left out sets no limit."""

    pods: int = setting(0, allow.whole(0, 100000), "Pods.")
    cpu: float = setting(0.0, allow.number(0, 1000000), "Cores.")
    memory: str = setting("0", allow.memory("0", "1024Ti"), "Memory.")
    gpu_memory: float = setting(0.0, allow.number(0, 1000000), "GiB of GPU memory.")


@dataclass(frozen=True)
class Logs:
    """The Elasticsearch or OpenSearch that charts/logs ships lines to."""

    url: str = setting("http://opensearch.logs:9200", URL, "Its address: https://host:port.")
    secret: str = setting(
        "",
        allow.named("a Secret", "log-sink"),
        "The Secret in namespace logs with user, password and ca.crt. Left out, the shipper asks without a login.",
    )
    queue: str = setting(
        "1Gi", allow.memory("16Mi", "1Ti"), "The most that waits on the disk of a node while it does not answer."
    )
    image: str = setting("", WORD, "The shipper's image. Left out, it is monopod/logs of the registry.")


@dataclass(frozen=True)
class Alerting:
    """How charts/monitoring has alerts reach people."""

    robot: bool = setting(True, allow.flag(), "Whether the relay sends them to a robot of WeChat Work.")
    webhook: bool = setting(False, allow.flag(), "Whether the relay sends them to a webhook.")
    watchdog: bool = setting(
        True, allow.flag(), "Whether a dead man's switch outside of the region hears of the alert that always fires."
    )
    proxy: str = setting("", PROXY, "The proxy through which the relay reaches them, where there is no other way out.")
    secret: str = setting(
        "monopod-relay",
        allow.named("a Secret", "monopod-relay"),
        "The Secret beside the relay whose keys robot, webhook and watchdog hold the addresses.",
    )
    relay_image: str = setting("", WORD, "The relay's image. Left out, it is monopod/relay of the registry.")
    routes: bool = setting(
        True, allow.flag(), "Whether charts/monitoring writes Alertmanager's whole configuration, and not its owner."
    )
    configuration: str = setting(
        "alertmanager-alertmanager",
        allow.named("a Secret", "alertmanager-main"),
        "With routes: the Secret in which the operator looks for that configuration.",
    )


@dataclass(frozen=True)
class Kafka:
    """The brokers that offline pods read from and write to. Their credentials stand in each service's offline_secret."""

    brokers: tuple[str, ...] = setting(REQUIRED, BROKERS, "Some of its brokers, as host:port.")
    security: str = setting(
        "plaintext", allow.choice("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"), "How clients connect to them."
    )
    mechanism: str = setting(
        "", allow.choice("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "With sasl: how clients show their password."
    )
    ca_secret: str = setting(
        "",
        allow.named("a Secret", "kafka-ca"),
        "With ssl: the Secret, in every namespace, whose key ca.crt holds the brokers' CA. Left out, it is one that all know.",
    )

    @property
    def has_tls(self) -> bool:
        return self.security in ("ssl", "sasl_ssl")

    @property
    def has_password(self) -> bool:
        return self.security.startswith("sasl")


@dataclass(frozen=True)
class NodeKind:
    """A kind of node: machines of one size and price."""

    name: str = setting(REQUIRED, WORD, "The name by which people know it.")
    cpu: float = setting(REQUIRED, allow.number(0.1, 4096), "Cores.")
    memory: str = setting(REQUIRED, allow.memory("64Mi", "64Ti"), "Memory.")
    price: float = setting(REQUIRED, allow.number(0, 10_000_000), "The price of one for a month.")
    cards: int = setting(0, allow.whole(0, 64), "GPUs.")
    card_memory: float = setting(0.0, allow.number(0, 1024), "GiB of each GPU.")
    labels: dict[str, str] = setting({}, allow.labels(), "Labels that node_labels may ask for.")
    taints: tuple[str, ...] = setting((), TAINTS, "Taints that a pod must tolerate.")


@dataclass(frozen=True)
class User:
    """The owner of services: a namespace of its name in every cluster."""

    name: str
    use_srv: bool = setting(False, allow.flag(), "Whether the user's services may open ports of the nodes (use_srv).")


@dataclass(frozen=True)
class Region:
    """One cluster."""

    name: str
    context: str = setting(REQUIRED, WORD, "Its context in the kubeconfig.")
    host: str = setting(REQUIRED, HOST, "The host at which services answer from outside.")
    routing: str = setting(
        REQUIRED,
        allow.choice("istio", "gateway-api"),
        "The way to route: Istio's objects, or the Gateway API with Envoy Gateway.",
    )
    gateway: Gateway = setting(REQUIRED, Table(Gateway), "The gateway that leads from outside to the pods.")
    sidecars: bool = setting(REQUIRED, allow.flag(), "Whether each pod gets a proxy of the mesh.")
    mesh: dict[str, str] = setting(
        REQUIRED, allow.labels(), "Labels of the namespaces whose pods may call services directly; {} for none."
    )
    prometheus: Prometheus = setting(REQUIRED, Table(Prometheus), "The Prometheus that reads the metrics.")
    reserved: Reserved = setting(REQUIRED, Table(Reserved), "The part of every node that the kubelet and system pods take.")
    nodes: tuple[NodeKind, ...] = setting(REQUIRED, List(NodeKind), "The kinds of nodes.")
    gpu: Gpu | None = setting(None, Table(Gpu), "The resource by which a pod asks for a share of a GPU.")
    srv: HostPorts | None = setting(None, Table(HostPorts), "Ports of the nodes that services may open.")
    kafka: Kafka | None = setting(None, Table(Kafka), "The brokers of services that read records.")
    quota: Quota = setting(Quota(), Table(Quota), "The most that one namespace may ask for.")
    logs: Logs = setting(Logs(), Table(Logs), "The Elasticsearch or OpenSearch that charts/logs ships lines to.")
    alerting: Alerting | None = setting(
        None, Table(Alerting), "How alerts reach people. Left out, charts/monitoring sends none."
    )
    windows: tuple[str, ...] = setting((), WINDOWS, "The times at which it may be deployed to, in its time zone; [] is always.")
    timezone: str = setting("UTC", TIMEZONE, "The time zone of its windows, and of scale_hours.")
    way_in: str = setting(
        "",
        URL,
        "The address at which a rollout asks the gateway whether it answers: http://address:port. Left out, it does not ask.",
    )
    pull_secrets: tuple[str, ...] = setting((), NAMES, "The names of the Secrets that pull images, in every namespace.")
    readers: tuple[str, ...] = setting((), GROUPS, "Groups of people, as the cluster's login names them, who may read.")


@dataclass(frozen=True)
class Regions:
    """All clusters, and the regions of the grey and the A/B track. lines: the line of each value, by its path."""

    currency: str = setting(REQUIRED, CURRENCY, "The currency of the prices.")
    registry: str = setting(REQUIRED, REGISTRY, "The registry that images are pulled from.")
    grey: str = setting(REQUIRED, SHORT, "The region of the grey track.")
    ab: str = setting(REQUIRED, SHORT, "The region of the A/B track.")
    regions: dict[str, Region] = setting(REQUIRED, Named(Region, SHORT), "The clusters, by a short name.")
    http_registries: tuple[str, ...] = setting(
        (), HOSTS, "Registries that speak HTTP, as host:port. A registry of this machine always does."
    )
    users: dict[str, User] = setting(
        {}, Named(User, allow.name(40, RESERVED_USERS)), "The owners of services, by the username of value.py."
    )
    runbook: str = setting("", URL, "The address of docs/runbook.md for people, to which alerts lead.")
    optional: tuple[str, ...] = setting(
        (), FIELDS, "Names of fields that a release of the platform passes over where it does not know them."
    )
    file: str = "conf/regions.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """Return the file and line of a value, as `conf/regions.yaml:7`. path: as "regions.hk.gpu"."""
        return f"{self.file}:{self.lines[path]}" if path in self.lines else self.file


def load(path: Path, shown: str = "conf/regions.yaml") -> Regions:
    """Return the regions of a file. shown: the file's name in mistakes. Raises ConfigError with every mistake."""
    try:
        text = text_of(path, MAX_FILE)
    except UnreadableError as error:
        raise ConfigError([f"{shown}: {error}; it names the clusters, and lies in the platform's conf/"]) from None
    return read(text, shown)


def read(text: str, shown: str = "conf/regions.yaml") -> Regions:
    """Return the regions of the file's text. shown: the file's name in mistakes. Raises ConfigError with every mistake."""
    regions, lines = read_table(shown, text, Regions, _disagreements)
    return replace(regions, file=shown, lines=lines)


def _disagreements(regions: Regions) -> Iterator[tuple[str, str]]:
    """Yield path and message of each mistake that only two fields together show."""
    known = ", ".join(regions.regions) or "none"
    if not regions.regions:
        yield "regions", "regions is empty: name one cluster at least"
    for track, name in (("grey", regions.grey), ("ab", regions.ab)):
        if name not in regions.regions:
            yield track, f"{track} is {name!r}, which is not a region: name one of {known}"
    contexts: dict[str, str] = {}
    for name, region in regions.regions.items():
        if region.context in contexts:
            both = f"{name} and {contexts[region.context]}"
            yield (
                f"regions.{name}.context",
                f"{both} have the context {region.context!r}: give each region a cluster of its own",
            )
        contexts.setdefault(region.context, name)
        for clash in (each for each in declared_settings() if each.startswith(name + "_")):
            yield f"regions.{name}", f"region {name!r} begins the setting {clash!r} of value.py: rename the region"
        yield from _in_region(f"regions.{name}", region)


def _in_region(path: str, region: Region) -> Iterator[tuple[str, str]]:
    if not region.nodes:
        yield (
            f"{path}.nodes",
            f"{path}.nodes is empty, so that no pod could be placed or priced: name one kind of node at least",
        )
    if region.sidecars and not region.mesh:
        yield f"{path}.mesh", f"{path}.sidecars is true and mesh is empty: name the labels of the mesh's namespaces"
    yield from _in_gateway(f"{path}.gateway", region)
    yield from _in_kafka(f"{path}.kafka", region.kafka) if region.kafka else ()
    if region.alerting and not region.alerting.robot and not region.alerting.webhook:
        yield f"{path}.alerting", f"{path}.alerting: robot and webhook are false, so that alerts reach nobody: set one to true"
    if region.srv and region.srv.first_port > region.srv.last_port:
        yield f"{path}.srv", f"{path}.srv: first_port is above last_port: swap the two"
    if region.gpu and region.gpu.beside == region.gpu.resource:
        yield f"{path}.gpu", f"{path}.gpu: beside names the resource itself: leave it out"
    seen = set()
    for index, node in enumerate(region.nodes):
        if node.name in seen:
            yield f"{path}.nodes[{index}]", f"{path}: two kinds of machines are called {node.name!r}: rename one"
        seen.add(node.name)
        yield from _in_node(f"{path}.nodes[{index}]", region, node)


def _in_gateway(path: str, region: Region) -> Iterator[tuple[str, str]]:
    gateway = region.gateway
    if gateway.create and region.routing == "gateway-api" and not gateway.class_:
        yield path, f"{path}: create is true and class is missing: add class: envoy, or as the cluster's GatewayClass is called"
    if gateway.create and region.routing == "istio" and not gateway.selector:
        yield (
            path,
            f"{path}: create is true and selector is missing: add the labels of the proxies, as selector: {{istio: ingress}}",
        )


def _in_kafka(path: str, kafka: Kafka) -> Iterator[tuple[str, str]]:
    if not kafka.brokers:
        yield f"{path}.brokers", f"{path}.brokers is empty: name one broker at least, or leave kafka out"
    if kafka.has_password and not kafka.mechanism:
        words = "add mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
        yield path, f"{path}: security is {kafka.security} and mechanism is missing: {words}"
    if kafka.mechanism and not kafka.has_password:
        words = f"set security to sasl_ssl or sasl_plaintext, or leave mechanism {kafka.mechanism} out"
        yield f"{path}.mechanism", f"{path}: security is {kafka.security}, which asks for no password: {words}"
    if kafka.ca_secret and not kafka.has_tls:
        yield f"{path}.ca_secret", f"{path}: security is {kafka.security}, which checks no CA: leave ca_secret out"


def _in_node(path: str, region: Region, node: NodeKind) -> Iterator[tuple[str, str]]:
    if bool(node.cards) != bool(node.card_memory):
        yield path, f"{path}: cards is {node.cards} and card_memory {node.card_memory:g}: set both, or neither"
    if node.cards and not region.gpu:
        yield path, f"{path} has cards, and its region does not say how they are asked for: add gpu to the region"
