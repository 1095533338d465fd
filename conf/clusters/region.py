"""What regions.yaml says of the clusters: what they hold and how they are reached.

Knows every field. Does not read files, and does not know services.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from conf.base.text_kinds import (
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
from conf.base.yaml_settings import List, Named, Table, said
from serving.settings import kinds


@dataclass(frozen=True)
class Gateway:
    """What leads from outside to the pods."""

    namespace: str = said(LABEL, "The Gateway object's namespace.")
    name: str = said(LABEL, "The Gateway object's name.")
    pods: str = said(LABEL, "The namespace that its proxies run in, which alone may call the pods from outside.")
    buffer_limit: str = said(
        kinds.memory("64Ki", "1Gi"),
        "The largest body that its proxies keep to send a request again; left out: their own limit.",
        "",
    )


@dataclass(frozen=True)
class Prometheus:
    """What reads the metrics."""

    namespace: str = said(LABEL, "The namespace that Prometheus runs in, which alone may read the metrics.")
    url: str = said(URL, "Where KEDA asks it for the queue's length.")
    labels: dict[str, str] = said(kinds.labels(), "Labels by which it finds monitors and rules.")


@dataclass(frozen=True)
class Gpu:
    """How a share of a GPU is asked for."""

    resource: str = said(RESOURCE, "The resource's key.")
    unit: str = said(kinds.choice("GiB", "MiB", "card"), "What one of it is: GiB or MiB of a card's memory, or a whole card.")
    beside: str = said(RESOURCE, "A resource of which a pod takes 1 besides.", "")


@dataclass(frozen=True)
class Srv:
    """Ports of the nodes that services may open."""

    first_port: int = said(kinds.whole(1, 65535), "The lowest port.")
    last_port: int = said(kinds.whole(1, 65535), "The highest port.")
    cidrs: tuple[str, ...] = said(networks(), "Networks that may call such a port.")


@dataclass(frozen=True)
class Reserved:
    """What the kubelet and system pods take of every node."""

    cpu: float = said(kinds.number(0, 64), "Cores.")
    memory: str = said(kinds.memory("0", "1Ti"), "Memory.")


@dataclass(frozen=True)
class Quota:
    """The most that one namespace may ask for; what is left out has no limit."""

    pods: int = said(kinds.whole(0, 100000), "Pods.", 0)
    cpu: float = said(kinds.number(0, 1000000), "Cores.", 0.0)
    memory: str = said(kinds.memory("0", "1024Ti"), "Memory.", "0")
    gpu_memory: float = said(kinds.number(0, 1000000), "GiB of GPU memory.", 0.0)


@dataclass(frozen=True)
class NodeKind:
    """One kind of machine."""

    name: str = said(WORD, "What people call it.")
    cpu: float = said(kinds.number(0.1, 4096), "Cores.")
    memory: str = said(kinds.memory("64Mi", "64Ti"), "Memory.")
    price: float = said(kinds.number(0, 10_000_000), "What one costs a month.")
    cards: int = said(kinds.whole(0, 64), "GPUs.", 0)
    card_memory: float = said(kinds.number(0, 1024), "GiB of each GPU.", 0.0)
    labels: dict[str, str] = said(kinds.labels(), "Labels that node_labels may ask for.", {})
    taints: tuple[str, ...] = said(TAINTS, "Taints a pod must tolerate.", ())


@dataclass(frozen=True)
class Region:
    """One cluster."""

    name: str
    context: str = said(WORD, "Its context in the kubeconfig.")
    host: str = said(HOST, "The host at which services answer from outside.")
    routing: str = said(
        kinds.choice("istio", "gateway-api"), "What routes: Istio's objects, or the Gateway API with Envoy Gateway."
    )
    gateway: Gateway = said(Table(Gateway), "What leads from outside to the pods.")
    sidecars: bool = said(kinds.flag(), "Whether each pod gets a proxy of the mesh.")
    mesh: dict[str, str] = said(kinds.labels(), "Labels of the namespaces whose pods may call services directly; {} for none.")
    prometheus: Prometheus = said(Table(Prometheus), "What reads the metrics.")
    reserved: Reserved = said(Table(Reserved), "What the kubelet and system pods take of every node.")
    nodes: tuple[NodeKind, ...] = said(List(NodeKind), "The kinds of machines.")
    gpu: Gpu | None = said(Table(Gpu), "How a share of a GPU is asked for.", None)
    srv: Srv | None = said(Table(Srv), "Ports of the nodes that services may open.", None)
    quota: Quota = said(Table(Quota), "The most that one namespace may ask for.", Quota())
    windows: tuple[str, ...] = said(windows(), "When it may be deployed to, in its own time; [] is always.", ())
    timezone: str = said(timezone(), "Its own time, for windows.", "UTC")
    way_in: str = said(URL, "Where the gateway can be asked after a rollout, if it can: http://address:port.", "")
    pull_secrets: tuple[str, ...] = said(NAMES, "Secrets with which images are pulled, in every namespace.", ())


@dataclass(frozen=True)
class Regions:
    """All clusters, and where the short tracks run."""

    currency: str = said(CURRENCY, "What prices are in.")
    registry: str = said(REGISTRY, "Where images are pulled from.")
    grey: str = said(SHORT, "The region of the grey track.")
    ab: str = said(SHORT, "The region of the A/B track.")
    regions: dict[str, Region] = said(Named(Region, SHORT), "The clusters, by a short name.")
    http_registries: tuple[str, ...] = said(
        HOSTS, "Registries that speak HTTP, by host and port; this machine's always does.", ()
    )
    file: str = "conf/regions.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """Return where a value stands, as `conf/regions.yaml:7`."""
        return f"{self.file}:{self.lines[path]}" if path in self.lines else self.file
