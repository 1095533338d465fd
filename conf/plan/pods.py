"""The plan of one pod: its resources, environment, probes and times."""

from dataclasses import dataclass

from conf.base.quantities import GIB, cpu_quantity, memory_quantity, rounded_up
from conf.clusters.regions import Gpu, Region
from conf.plan.own_pod import NOTHING, OwnPod
from serving.settings import Settings, size_in_bytes

Pairs = tuple[tuple[str, str], ...]

DATA_PORT, ADMIN_PORT = 8080, 8081  # The runtime listens on these.
STARTUP_PERIOD = 2  # Seconds between two startup probes: a pod serves soon after it can.
READINESS_PERIOD = 2  # Seconds between two readiness probes.
READINESS_FAILURES = 2  # Readiness probes in a row that fail before a pod gets no more requests.
STARTUP_MARGIN = 10  # Seconds to start Python and to import the libraries, before the model is loaded.
USER = 65532  # The image's user id, which no user of a node has.
SCHEDULE_AND_PULL = 300  # Seconds for a pod to find a node and for the node to pull the image.
PRE_STOP = 3  # Seconds for kube-proxy and the mesh to forget the pod before it gets SIGTERM.
EXIT_MARGIN = 10  # Seconds from the last answer to the end of the process.
CACHES = GIB  # Bytes of /tmp for the caches of TensorRT and CUDA.
SPOOLED_BODIES = 4  # Bodies that may lie in /tmp at once.


@dataclass(frozen=True)
class Toleration:
    """A taint that a pod tolerates. effect: "" for every effect."""

    key: str
    operator: str
    value: str
    effect: str


@dataclass(frozen=True)
class Port:
    """A port of the container or the Service. host_port: the port of its node that leads to it; 0 for none."""

    name: str
    number: int
    host_port: int = 0


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
class Probe:
    """A probe of the admin port. period, timeout: seconds. failures: how many in a row count as failed."""

    name: str
    path: str
    period: int
    timeout: int
    failures: int


@dataclass(frozen=True)
class Pod:
    """All values of the pod's template. data_claim, ca_secret: names of a volume claim and a Secret, "" for none.

    env_secrets: names of Secrets whose keys become environment variables.
    tmp_size, shared_memory: bytes, as text; a shared_memory of "" mounts none.
    own: of pod.yaml.
    pre_stop, grace_period, progress_deadline: seconds; a pre_stop of 0 means no hook.
    """

    image: str
    user: int
    env: Pairs
    env_secrets: tuple[str, ...]
    data_claim: str
    ports: tuple[Port, ...]
    requests: Pairs
    limits: Pairs
    probes: tuple[Probe, ...]
    pre_stop: int
    grace_period: int
    progress_deadline: int
    tmp_size: str
    labels: Pairs
    annotations: Pairs
    node_labels: Pairs
    tolerations: tuple[Toleration, ...]
    ca_secret: str = ""
    shared_memory: str = ""
    own: OwnPod = NOTHING


def gpu_share(settings: Settings, region: Region) -> float:
    """Return how much of one card a pod asks for, in GiB: with gpu_num the region's largest card, and 0 for no GPU."""
    if settings.gpu_memory or not settings.gpu_num:
        return settings.gpu_memory
    return max((node.card_memory for node in region.nodes), default=0.0)


def gpu_resources(gib: float, gpu: Gpu | None) -> Pairs:
    """Return the resources by which a pod asks for GiB of a card."""
    if not gib or gpu is None:
        return ()
    amount = {"GiB": rounded_up(gib), "MiB": rounded_up(gib * 1024), "card": 1}[gpu.unit]
    return ((gpu.resource, str(amount)), *(((gpu.beside, "1"),) if gpu.beside else ()))


def toleration(text: str) -> Toleration:
    """Return the toleration that a text names: "key=value:Effect", where value and effect may be left out."""
    taint, _, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key, "Equal" if equals else "Exists", value, effect)


def grace_period(settings: Settings) -> int:
    """Return the seconds from a pod's deletion to its kill: all steps of the drain, one after another, and a margin."""
    return rounded_up(PRE_STOP + settings.drain_delay_second + settings.timeout_second + EXIT_MARGIN)


def tmp_size(settings: Settings) -> int:
    """Return the bytes of /tmp."""
    return CACHES + SPOOLED_BODIES * size_in_bytes(settings.max_body)


def requested_memory(settings: Settings) -> str:
    """Return the memory that a pod reserves on its node, as a quantity."""
    return settings.memory_request if size_in_bytes(settings.memory_request) else settings.memory


def startup_time(settings: Settings) -> int:
    """Return the seconds that a container may take to be ready before it is restarted."""
    return settings.init_delay_second + STARTUP_MARGIN


def pod(settings: Settings, region: Region, image: str, labels: Pairs, env: Pairs, host_port: int) -> Pod:
    """Return the plan of a pod of a service in a region. host_port: the port of its node that leads to it, 0 for none."""
    gpu = gpu_resources(gpu_share(settings, region), region.gpu)
    size, reserved = (("memory", memory_quantity(amount)) for amount in (settings.memory, requested_memory(settings)))
    limit = (("cpu", cpu_quantity(settings.cpu_limit)),) if settings.cpu_limit else ()
    return Pod(
        image=image,
        user=USER,
        env=env,
        env_secrets=(settings.env_secret,) if settings.env_secret else (),
        data_claim=settings.data_claim,
        ports=(Port("http", DATA_PORT, host_port), Port("admin", ADMIN_PORT)),
        requests=(("cpu", cpu_quantity(settings.cpu)), reserved, *gpu),
        limits=(*limit, size, *gpu),
        probes=probes(startup_time(settings)),
        pre_stop=PRE_STOP,
        grace_period=grace_period(settings),
        progress_deadline=startup_time(settings) + SCHEDULE_AND_PULL,
        tmp_size=str(tmp_size(settings)),
        labels=(*labels, ("sidecar.istio.io/inject", "true" if region.sidecars else "false")),
        annotations=annotations(region, grace_period(settings)),
        node_labels=tuple(sorted(settings.node_labels.items())),
        tolerations=tuple(toleration(text) for text in settings.tolerations),
        shared_memory=str(size_in_bytes(settings.shared_memory) or ""),
    )


def probes(startup: int) -> tuple[Probe, ...]:
    """Return a pod's probes. startup: seconds that it may take to be ready."""
    return (
        Probe("startupProbe", "/api/ping", STARTUP_PERIOD, 2, rounded_up(startup / STARTUP_PERIOD)),
        Probe("readinessProbe", "/api/ping", READINESS_PERIOD, 2, READINESS_FAILURES),
        Probe("livenessProbe", "/livez", 10, 5, 3),
    )


def annotations(region: Region, grace: int) -> Pairs:
    """Return annotations by which the mesh's proxy starts before the pod, ends after it, and does not touch the admin port.

    grace: seconds from a pod's deletion to its kill.
    """
    if not region.sidecars:
        return ()
    config = f'{{"holdApplicationUntilProxyStarts": true, "terminationDrainDuration": "{grace}s"}}'
    return (("proxy.istio.io/config", config), ("traffic.sidecar.istio.io/excludeInboundPorts", str(ADMIN_PORT)))
