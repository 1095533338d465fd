"""How a service is reached: its paths outside and in the pod, and how a proxy treats its pods.

Knows paths, times and limits. Does not know which kind of object carries them.
"""

from dataclasses import dataclass

from conf.base.quantities import rounded_up
from conf.clusters.region import Region
from serving.settings import Settings

ROUTE_MARGIN = 5  # s by which a route's timeout is above the service's: the pod's own 504 always comes first
IDLE = 60  # s: below the 120 s after which the pod closes an idle connection, so that no request meets the closing
FEWEST_CONNECTIONS = 1024
MOST_CONNECTIONS = 2**31 - 1


@dataclass(frozen=True)
class Path:
    """One way in: the exact path and what follows it after a slash, each with what the pod is asked for."""

    exact: str
    below: str
    pod_exact: str
    pod_below: str


@dataclass(frozen=True)
class Route:
    """The values that the objects of both ways to route hold: Istio's and the Gateway API's.

    host: as Istio has it, "*" for any. hostname: as the Gateway API has it, "" for any.
    """

    host: str
    hostname: str
    gateway: str
    gateway_name: str
    gateway_namespace: str
    backend: str
    paths: tuple[Path, ...]
    timeout: str
    connect_timeout: str
    idle_timeout: str
    connections: int
    retries: int
    retry_on: str
    ejection_failures: int
    ejection_percent: int
    ejection_time: str
    ejection_interval: str


def outside(settings: Settings, track: str) -> tuple[str, ...]:
    """Return the paths from outside."""
    name = settings.service_name
    return {
        "prod": (f"/api/{settings.username}/{name}",),
        "grey": (f"/grey/{name}", f"/api/grey/{name}"),
        "ab": (f"/api/ab-test/{name}",),
    }[track]


def connections(settings: Settings, pods: int) -> int:
    """Return a limit well above what the pods hold at once, so that a pod's own 429 always comes first."""
    rows = settings.queue_limit + settings.ins_num_per_gpu * max(settings.max_batch_size, 1)
    return min(max(4 * pods * rows, FEWEST_CONNECTIONS), MOST_CONNECTIONS)


def route(settings: Settings, region: Region, track: str, namespace: str, pods: int) -> Route:
    """Plan how a track of a service is reached in a region."""
    inside = f"/api/{settings.service_name}"
    gateway = region.gateway
    return Route(
        host=region.host,
        hostname="" if region.host == "*" else region.host,
        gateway=f"{gateway.namespace}/{gateway.name}",
        gateway_name=gateway.name,
        gateway_namespace=gateway.namespace,
        backend=f"{settings.service_name}.{namespace}.svc.cluster.local",
        paths=tuple(Path(path, f"{path}/", inside, f"{inside}/") for path in outside(settings, track)),
        timeout=f"{rounded_up(settings.timeout_second) + ROUTE_MARGIN}s",
        connect_timeout="2s",
        idle_timeout=f"{IDLE}s",
        connections=connections(settings, pods),
        retries=2,
        retry_on="connect-failure",
        ejection_failures=1,
        ejection_percent=50,
        ejection_time="5s",
        ejection_interval="1s",
    )
