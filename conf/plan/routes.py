"""The route to a service: its paths outside and in the pod, and how a proxy treats its pods.

Knows paths, times and limits. Does not know which resource kind holds them.
"""

from dataclasses import dataclass

from conf.base.quantities import rounded_up
from conf.clusters.region import Region
from serving.settings import Settings

ROUTE_MARGIN = 5  # Seconds by which a route's timeout is above the service's, so that the pod's own 504 comes first.
IDLE = 60  # Seconds until a proxy closes an idle connection: fewer than the pod's 120, so that no request meets a closing one.
FEWEST_CONNECTIONS = 1024
MOST_CONNECTIONS = 2**31 - 1


@dataclass(frozen=True)
class Path:
    """A path from outside, and the paths below it. exact, below: outside. pod_exact, pod_below: what they become in the pod."""

    exact: str
    below: str
    pod_exact: str
    pod_below: str


@dataclass(frozen=True)
class Backend:
    """A Service that gets a share of a route's requests. host: its name in the cluster's DNS. weight: its share, in %."""

    service: str
    host: str
    weight: int


@dataclass(frozen=True)
class Route:
    """The values that the objects of both ways to route hold: Istio's and the Gateway API's.

    host: as Istio has it, "*" for any. hostname: as the Gateway API has it, "" for any.
    backend: the host of the track's own pods. backends: all that get requests; a canary's are put in later, while it is driven.
    """

    host: str
    hostname: str
    gateway: str
    gateway_name: str
    gateway_namespace: str
    backend: str
    backends: tuple[Backend, ...]
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
    """Return the paths at which a track of a service answers from outside."""
    name = settings.service_name
    return {
        "prod": (f"/api/{settings.username}/{name}",),
        "grey": (f"/grey/{name}", f"/api/grey/{name}"),
        "ab": (f"/api/ab-test/{name}",),
    }[track]


def connections(settings: Settings, pods: int) -> int:
    """Return the limit of connections, well above the requests that pods hold at once, so that a pod's own 429 comes first."""
    rows = settings.queue_limit + settings.ins_num_per_gpu * max(settings.max_batch_size, 1)
    return min(max(4 * pods * rows, FEWEST_CONNECTIONS), MOST_CONNECTIONS)


def route(settings: Settings, region: Region, track: str, namespace: str, pods: int) -> Route:
    """Return the route to a track of a service in a region. pods: the most pods that the track may have."""
    inside = f"/api/{settings.service_name}"
    gateway, backend = region.gateway, f"{settings.service_name}.{namespace}.svc.cluster.local"
    return Route(
        host=region.host,
        hostname="" if region.host == "*" else region.host,
        gateway=f"{gateway.namespace}/{gateway.name}",
        gateway_name=gateway.name,
        gateway_namespace=gateway.namespace,
        backend=backend,
        backends=(Backend(settings.service_name, backend, 100),),
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
