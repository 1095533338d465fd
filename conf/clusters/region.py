"""The fields of regions.yaml: what each cluster holds and how it is reached.

Reads no file and does not know services.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.base.value_kinds import (
    CURRENCY,
    HOST,
    HOSTS,
    LABEL,
    NAMES,
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
from serving.settings import kinds


@dataclass(frozen=True)
class Gateway:
    """The gateway that leads from outside to the pods."""

    namespace: str = yaml_field(LABEL, "The Gateway object's namespace.")
    name: str = yaml_field(LABEL, "The Gateway object's name.")
    pods: str = yaml_field(LABEL, "The namespace that its proxies run in, which alone may call the pods from outside.")
    buffer_limit: str = yaml_field(
        kinds.memory("64Ki", "1Gi"),
        "The largest body that its proxies keep to send a request again; their own limit where it is left out.",
        "",
    )


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus that reads the metrics."""

    namespace: str = yaml_field(LABEL, "The namespace that Prometheus runs in, which alone may read the metrics.")
    url: str = yaml_field(URL, "The address at which KEDA asks it for the queue's length.")
    labels: dict[str, str] = yaml_field(kinds.labels(), "Labels by which it finds monitors and rules.")


@dataclass(frozen=True)
class Gpu:
    """The resource by which a pod asks for a share of a GPU."""

    resource: str = yaml_field(RESOURCE, "The resource's key.")
    unit: str = yaml_field(
        kinds.choice("GiB", "MiB", "card"), "The unit of the resource: GiB or MiB of a card's memory, or a whole card."
    )
    beside: str = yaml_field(RESOURCE, "A further resource, of which a pod asks for 1.", "")


@dataclass(frozen=True)
class HostPorts:
    """Ports of the nodes that services may open."""

    first_port: int = yaml_field(kinds.whole(1, 65535), "The lowest port.")
    last_port: int = yaml_field(kinds.whole(1, 65535), "The highest port.")
    cidrs: tuple[str, ...] = yaml_field(networks(), "Networks that may call such a port.")


@dataclass(frozen=True)
class Reserved:
    """The part of every node that the kubelet and system pods take."""

    cpu: float = yaml_field(kinds.number(0, 64), "Cores.")
    memory: str = yaml_field(kinds.memory("0", "1Ti"), "Memory.")


@dataclass(frozen=True)
class Quota:
    """The most that one namespace may ask for. A field that is left out sets no limit."""

    pods: int = yaml_field(kinds.whole(0, 100000), "Pods.", 0)
    cpu: float = yaml_field(kinds.number(0, 1000000), "Cores.", 0.0)
    memory: str = yaml_field(kinds.memory("0", "1024Ti"), "Memory.", "0")
    gpu_memory: float = yaml_field(kinds.number(0, 1000000), "GiB of GPU memory.", 0.0)


@dataclass(frozen=True)
class NodeKind:
    """A kind of node: machines of one size and price."""

    name: str = yaml_field(WORD, "The name by which people know it.")
    cpu: float = yaml_field(kinds.number(0.1, 4096), "Cores.")
    memory: str = yaml_field(kinds.memory("64Mi", "64Ti"), "Memory.")
    price: float = yaml_field(kinds.number(0, 10_000_000), "The price of one for a month.")
    cards: int = yaml_field(kinds.whole(0, 64), "GPUs.", 0)
    card_memory: float = yaml_field(kinds.number(0, 1024), "GiB of each GPU.", 0.0)
    labels: dict[str, str] = yaml_field(kinds.labels(), "Labels that node_labels may ask for.", {})
    taints: tuple[str, ...] = yaml_field(TAINTS, "Taints that a pod must tolerate.", ())


@dataclass(frozen=True)
class Region:
    """One cluster."""

    name: str
    context: str = yaml_field(WORD, "Its context in the kubeconfig.")
    host: str = yaml_field(HOST, "The host at which services answer from outside.")
    routing: str = yaml_field(
        kinds.choice("istio", "gateway-api"), "The way to route: Istio's objects, or the Gateway API with Envoy Gateway."
    )
    gateway: Gateway = yaml_field(Table(Gateway), "The gateway that leads from outside to the pods.")
    sidecars: bool = yaml_field(kinds.flag(), "Whether each pod gets a proxy of the mesh.")
    mesh: dict[str, str] = yaml_field(
        kinds.labels(), "Labels of the namespaces whose pods may call services directly; {} for none."
    )
    prometheus: Prometheus = yaml_field(Table(Prometheus), "The Prometheus that reads the metrics.")
    reserved: Reserved = yaml_field(Table(Reserved), "The part of every node that the kubelet and system pods take.")
    nodes: tuple[NodeKind, ...] = yaml_field(List(NodeKind), "The kinds of nodes.")
    gpu: Gpu | None = yaml_field(Table(Gpu), "The resource by which a pod asks for a share of a GPU.", None)
    srv: HostPorts | None = yaml_field(Table(HostPorts), "Ports of the nodes that services may open.", None)
    quota: Quota = yaml_field(Table(Quota), "The most that one namespace may ask for.", Quota())
    windows: tuple[str, ...] = yaml_field(
        windows(), "The times at which it may be deployed to, in its time zone; [] is always.", ()
    )
    timezone: str = yaml_field(timezone(), "The time zone of its windows.", "UTC")
    way_in: str = yaml_field(
        URL,
        "The address at which a rollout asks the gateway whether it answers: http://address:port. Left out, it does not ask.",
        "",
    )
    pull_secrets: tuple[str, ...] = yaml_field(NAMES, "The names of the Secrets that pull images, in every namespace.", ())


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
    file: str = "conf/regions.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """Return the file and line of a value, as `conf/regions.yaml:7`. path: as "regions.hk.gpu"."""
        return f"{self.file}:{self.lines[path]}" if path in self.lines else self.file
