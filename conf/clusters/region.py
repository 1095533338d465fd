"""The fields of regions.yaml: what each cluster holds and how it is reached.

Reads no file and does not know services.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.base.value_kinds import (
    BROKERS,
    CURRENCY,
    GROUPS,
    HOST,
    HOSTS,
    LABEL,
    NAMES,
    PROXY,
    REGISTRY,
    RESOURCE,
    SHORT,
    TAINTS,
    URL,
    WORD,
    networks,
    timezone,
    windows,
)
from conf.base.yaml_settings import List, Named, Table, yaml_field
from serving.settings import validators as allow
from serving.settings.declarations import RESERVED_USERS


@dataclass(frozen=True)
class Gateway:
    """The gateway that leads from outside to the pods."""

    namespace: str = yaml_field(LABEL, "The Gateway object's namespace.")
    name: str = yaml_field(LABEL, "The Gateway object's name.")
    pods: str = yaml_field(LABEL, "The namespace that its proxies run in, which alone may call the pods from outside.")
    buffer_limit: str = yaml_field(
        allow.memory("64Ki", "1Gi"),
        "The largest body that its proxies keep to send a request again; their own limit where it is left out.",
        "",
    )
    create: bool = yaml_field(allow.flag(), "Whether charts/cluster makes the Gateway object.", False)
    class_: str = yaml_field(LABEL, "With gateway-api and create: the GatewayClass of the Gateway.", "")
    selector: dict[str, str] = yaml_field(
        allow.labels(), "With istio and create: labels of the proxies' pods that serve the Gateway.", {}
    )
    certificate: str = yaml_field(
        allow.named("a Secret", "gateway-tls"),
        "With create: the Secret of the certificate for HTTPS on 443. Left out, it answers HTTP on 80.",
        "",
    )


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus that reads the metrics."""

    namespace: str = yaml_field(LABEL, "The namespace that Prometheus runs in, which alone may read the metrics.")
    url: str = yaml_field(URL, "Its address inside the cluster: KEDA, top, health and report ask it there.")
    labels: dict[str, str] = yaml_field(allow.labels(), "Labels by which it finds monitors and rules.")
    outside: str = yaml_field(
        URL, "The address at which top, health and report ask it. Left out, they ask it through the API server.", ""
    )


@dataclass(frozen=True)
class Gpu:
    """The resource by which a pod asks for a share of a GPU."""

    resource: str = yaml_field(RESOURCE, "The resource's key.")
    unit: str = yaml_field(
        allow.choice("GiB", "MiB", "card"), "The unit of the resource: GiB or MiB of a card's memory, or a whole card."
    )
    beside: str = yaml_field(RESOURCE, "A further resource, of which a pod asks for 1.", "")


@dataclass(frozen=True)
class HostPorts:
    """Ports of the nodes that services may open."""

    first_port: int = yaml_field(allow.whole(1, 65535), "The lowest port.")
    last_port: int = yaml_field(allow.whole(1, 65535), "The highest port.")
    cidrs: tuple[str, ...] = yaml_field(networks(), "Networks that may call such a port.")


@dataclass(frozen=True)
class Reserved:
    """The part of every node that the kubelet and system pods take."""

    cpu: float = yaml_field(allow.number(0, 64), "Cores.")
    memory: str = yaml_field(allow.memory("0", "1Ti"), "Memory.")


@dataclass(frozen=True)
class Quota:
    """The most that one namespace may ask for. A field that is left out sets no limit."""

    pods: int = yaml_field(allow.whole(0, 100000), "Pods.", 0)
    cpu: float = yaml_field(allow.number(0, 1000000), "Cores.", 0.0)
    memory: str = yaml_field(allow.memory("0", "1024Ti"), "Memory.", "0")
    gpu_memory: float = yaml_field(allow.number(0, 1000000), "GiB of GPU memory.", 0.0)


@dataclass(frozen=True)
class Logs:
    """The Elasticsearch or OpenSearch that charts/logs ships lines to."""

    url: str = yaml_field(URL, "Its address: https://host:port.", "http://opensearch.logs:9200")
    secret: str = yaml_field(
        allow.named("a Secret", "log-sink"),
        "The Secret in namespace logs with user, password and ca.crt. Left out, the shipper asks without a login.",
        "",
    )
    queue: str = yaml_field(
        allow.memory("16Mi", "1Ti"), "The most that waits on the disk of a node while it does not answer.", "1Gi"
    )
    image: str = yaml_field(WORD, "The shipper's image. Left out, it is monopod/logs of the registry.", "")


@dataclass(frozen=True)
class Alerting:
    """How charts/monitoring has alerts reach people."""

    robot: bool = yaml_field(allow.flag(), "Whether the relay sends them to a robot of WeChat Work.", True)
    webhook: bool = yaml_field(allow.flag(), "Whether the relay sends them to a webhook.", False)
    watchdog: bool = yaml_field(
        allow.flag(), "Whether a dead man's switch outside of the region hears of the alert that always fires.", True
    )
    proxy: str = yaml_field(PROXY, "The proxy through which the relay reaches them, where there is no other way out.", "")
    secret: str = yaml_field(
        allow.named("a Secret", "monopod-relay"),
        "The Secret beside the relay whose keys robot, webhook and watchdog hold the addresses.",
        "monopod-relay",
    )
    relay_image: str = yaml_field(WORD, "The relay's image. Left out, it is monopod/relay of the registry.", "")
    routes: bool = yaml_field(
        allow.flag(), "Whether charts/monitoring writes Alertmanager's whole configuration, and not its owner.", True
    )
    configuration: str = yaml_field(
        allow.named("a Secret", "alertmanager-main"),
        "With routes: the Secret in which the operator looks for that configuration.",
        "alertmanager-alertmanager",
    )


@dataclass(frozen=True)
class Kafka:
    """The brokers that offline pods read from and write to. Their credentials stand in each service's offline_secret."""

    brokers: tuple[str, ...] = yaml_field(BROKERS, "Some of its brokers, as host:port.")
    security: str = yaml_field(
        allow.choice("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"), "How clients connect to them.", "plaintext"
    )
    mechanism: str = yaml_field(
        allow.choice("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "With sasl: how clients show their password.", ""
    )
    ca_secret: str = yaml_field(
        allow.named("a Secret", "kafka-ca"),
        "With ssl: the Secret, in every namespace, whose key ca.crt holds the brokers' CA. Left out, it is one that all know.",
        "",
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

    name: str = yaml_field(WORD, "The name by which people know it.")
    cpu: float = yaml_field(allow.number(0.1, 4096), "Cores.")
    memory: str = yaml_field(allow.memory("64Mi", "64Ti"), "Memory.")
    price: float = yaml_field(allow.number(0, 10_000_000), "The price of one for a month.")
    cards: int = yaml_field(allow.whole(0, 64), "GPUs.", 0)
    card_memory: float = yaml_field(allow.number(0, 1024), "GiB of each GPU.", 0.0)
    labels: dict[str, str] = yaml_field(allow.labels(), "Labels that node_labels may ask for.", {})
    taints: tuple[str, ...] = yaml_field(TAINTS, "Taints that a pod must tolerate.", ())


@dataclass(frozen=True)
class User:
    """The owner of services: a namespace of its name in every cluster."""

    name: str
    use_srv: bool = yaml_field(allow.flag(), "Whether the user's services may open ports of the nodes (use_srv).", False)


@dataclass(frozen=True)
class Region:
    """One cluster."""

    name: str
    context: str = yaml_field(WORD, "Its context in the kubeconfig.")
    host: str = yaml_field(HOST, "The host at which services answer from outside.")
    routing: str = yaml_field(
        allow.choice("istio", "gateway-api"), "The way to route: Istio's objects, or the Gateway API with Envoy Gateway."
    )
    gateway: Gateway = yaml_field(Table(Gateway), "The gateway that leads from outside to the pods.")
    sidecars: bool = yaml_field(allow.flag(), "Whether each pod gets a proxy of the mesh.")
    mesh: dict[str, str] = yaml_field(
        allow.labels(), "Labels of the namespaces whose pods may call services directly; {} for none."
    )
    prometheus: Prometheus = yaml_field(Table(Prometheus), "The Prometheus that reads the metrics.")
    reserved: Reserved = yaml_field(Table(Reserved), "The part of every node that the kubelet and system pods take.")
    nodes: tuple[NodeKind, ...] = yaml_field(List(NodeKind), "The kinds of nodes.")
    gpu: Gpu | None = yaml_field(Table(Gpu), "The resource by which a pod asks for a share of a GPU.", None)
    srv: HostPorts | None = yaml_field(Table(HostPorts), "Ports of the nodes that services may open.", None)
    kafka: Kafka | None = yaml_field(Table(Kafka), "The brokers of services that read records.", None)
    quota: Quota = yaml_field(Table(Quota), "The most that one namespace may ask for.", Quota())
    logs: Logs = yaml_field(Table(Logs), "The Elasticsearch or OpenSearch that charts/logs ships lines to.", Logs())
    alerting: Alerting | None = yaml_field(
        Table(Alerting), "How alerts reach people. Left out, charts/monitoring sends none.", None
    )
    windows: tuple[str, ...] = yaml_field(
        windows(), "The times at which it may be deployed to, in its time zone; [] is always.", ()
    )
    timezone: str = yaml_field(timezone(), "The time zone of its windows, and of scale_hours.", "UTC")
    way_in: str = yaml_field(
        URL,
        "The address at which a rollout asks the gateway whether it answers: http://address:port. Left out, it does not ask.",
        "",
    )
    pull_secrets: tuple[str, ...] = yaml_field(NAMES, "The names of the Secrets that pull images, in every namespace.", ())
    readers: tuple[str, ...] = yaml_field(GROUPS, "Groups of people, as the cluster's login names them, who may read.", ())


@dataclass(frozen=True)
class Regions:
    """All clusters, and the regions of the grey and the A/B track. lines: the line of each value, by its path."""

    currency: str = yaml_field(CURRENCY, "The currency of the prices.")
    registry: str = yaml_field(REGISTRY, "The registry that images are pulled from.")
    grey: str = yaml_field(SHORT, "The region of the grey track.")
    ab: str = yaml_field(SHORT, "The region of the A/B track.")
    regions: dict[str, Region] = yaml_field(Named(Region, SHORT), "The clusters, by a short name.")
    http_registries: tuple[str, ...] = yaml_field(
        HOSTS, "Registries that speak HTTP, as host:port. A registry of this machine always does.", ()
    )
    users: dict[str, User] = yaml_field(
        Named(User, allow.name(40, RESERVED_USERS)), "The owners of services, by the username of value.py.", {}
    )
    runbook: str = yaml_field(URL, "The address of docs/runbook.md for people, to which alerts lead.", "")
    file: str = "conf/regions.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """Return the file and line of a value, as `conf/regions.yaml:7`. path: as "regions.hk.gpu"."""
        return f"{self.file}:{self.lines[path]}" if path in self.lines else self.file
