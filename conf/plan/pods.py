"""What one pod asks for and how it is watched: sizes, environment, probes and times.

Knows Kubernetes' units and the runtime's ports. Does not know the other objects.
"""

from dataclasses import dataclass

from conf.base.quantities import GIB, cpu_quantity, memory_quantity, rounded_up
from conf.clusters.region import Gpu, Region
from serving.settings import Settings, size_in_bytes

Pairs = tuple[tuple[str, str], ...]

DATA_PORT, ADMIN_PORT = 8080, 8081  # the runtime's own
STARTUP_PERIOD = 2  # s between two startup probes: the pod serves soon after it can
READINESS_PERIOD, READINESS_FAILURES = 2, 2  # s between two readiness probes, and how many fail before a pod is left out
STARTUP_MARGIN = 10  # s for what comes before the model: pulling up Python and the libraries
USER = 65532  # the image's own: no name of the node's
PULL = 300  # s in which a pod finds a node and its image is pulled
PRE_STOP = 3  # s in which endpoints leave kube-proxy and the mesh before the pod hears SIGTERM
EXIT_MARGIN = 10  # s from the last answer to the process's end
TMP = GIB  # bytes of /tmp beside spooled bodies: caches of TensorRT and CUDA
SPOOLED_BODIES = 4  # bodies that may lie in /tmp at once


@dataclass(frozen=True)
class Toleration:
    """A taint that a pod tolerates; an empty effect is every effect."""

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
class Probe:
    """path and how often it is asked."""

    name: str
    path: str
    period: int
    timeout: int
    failures: int


@dataclass(frozen=True)
class Pod:
    """Everything the pod's template places."""

    image: str
    user: int
    env: Pairs
    env_secret: str
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


def gpu_share(settings: Settings, region: Region) -> float:
    """Return GiB of one card that a pod asks for: a whole card of the region where gpu_num says so, 0 for none."""
    if settings.gpu_memory or not settings.gpu_num:
        return settings.gpu_memory
    return max((node.card_memory for node in region.nodes), default=0.0)


def gpu_resources(gib: float, gpu: Gpu | None) -> Pairs:
    """Return what a share of a card is asked for with."""
    if not gib or gpu is None:
        return ()
    amount = {"GiB": rounded_up(gib), "MiB": rounded_up(gib * 1024), "card": 1}[gpu.unit]
    return ((gpu.resource, str(amount)), *(((gpu.beside, "1"),) if gpu.beside else ()))


def toleration(text: str) -> Toleration:
    """Return a toleration of "key=value:Effect"; value and effect may be left out."""
    taint, _, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key, "Equal" if equals else "Exists", value, effect)


def grace_period(settings: Settings) -> int:
    """Return the seconds from a pod's deletion to its kill: every step of the drain, one after another, and a margin."""
    return rounded_up(PRE_STOP + settings.drain_delay_second + settings.timeout_second + EXIT_MARGIN)


def startup_time(settings: Settings) -> int:
    """Return the seconds that a pod may take to be ready before it is started again."""
    return settings.init_delay_second + STARTUP_MARGIN


def pod(settings: Settings, region: Region, image: str, labels: Pairs, env: Pairs, open_host_port: bool) -> Pod:
    """Plan a pod of a service in a region."""
    gpu = gpu_resources(gpu_share(settings, region), region.gpu)
    size = ("memory", memory_quantity(settings.memory))
    limit = (("cpu", cpu_quantity(settings.cpu_limit)),) if settings.cpu_limit else ()
    return Pod(
        image=image,
        user=USER,
        env=env,
        env_secret=settings.env_secret,
        data_claim=settings.data_claim,
        ports=(Port("http", DATA_PORT, settings.host_port if open_host_port else 0), Port("admin", ADMIN_PORT)),
        requests=(("cpu", cpu_quantity(settings.cpu)), size, *gpu),
        limits=(*limit, size, *gpu),
        probes=(
            Probe("startupProbe", "/api/ping", STARTUP_PERIOD, 2, rounded_up(startup_time(settings) / STARTUP_PERIOD)),
            Probe("readinessProbe", "/api/ping", READINESS_PERIOD, 2, READINESS_FAILURES),
            Probe("livenessProbe", "/livez", 10, 5, 3),
        ),
        pre_stop=PRE_STOP,
        grace_period=grace_period(settings),
        progress_deadline=startup_time(settings) + PULL,
        tmp_size=str(TMP + SPOOLED_BODIES * size_in_bytes(settings.max_body)),
        labels=(*labels, ("sidecar.istio.io/inject", "true" if region.sidecars else "false")),
        annotations=_annotations(settings, region),
        node_labels=tuple(sorted(settings.node_labels.items())),
        tolerations=tuple(toleration(text) for text in settings.tolerations),
    )


def _annotations(settings: Settings, region: Region) -> Pairs:
    """Have the mesh's proxy come up before the pod and outlive it, and leave the admin port alone."""
    if not region.sidecars:
        return ()
    config = f'{{"holdApplicationUntilProxyStarts": true, "terminationDrainDuration": "{grace_period(settings)}s"}}'
    return (
        ("proxy.istio.io/config", config),
        ("traffic.sidecar.istio.io/excludeInboundPorts", str(ADMIN_PORT)),
    )
