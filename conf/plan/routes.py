"""The route to a service, and the object that a cluster's gateway needs once.

The latter sets how much of a request the proxies keep to send it again. Envoy can retry a request only while it has kept all
of the body. It gives up the retry of a larger one in silence, and only the counter `retry_or_shadow_abandoned` shows that.
Sources: Envoy's `Route.request_body_buffer_limit` and `Listener.per_connection_buffer_limit_bytes`. Envoy Gateway's
ClientTrafficPolicy sets the latter by `connection.bufferLimit`. With HTTP/2 each stream has a buffer of its own, which
`http2.initialStreamWindowSize` limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from conf.base.quantities import rounded_up
from conf.clusters.regions import Region
from serving.settings import Settings, size_in_bytes

ROUTE_MARGIN = 5  # Seconds by which a route's timeout is above the service's, so that the pod's own 504 comes first.
IDLE = 60  # Seconds until a proxy closes an idle connection: fewer than the pod's 120, so that no request meets a closing one.
MIN_CONNECTIONS = 1024
MAX_CONNECTIONS = 2**31 - 1
BUFFER_LIMIT_NAME = "monopod-buffer-limit"
OWN_LIMITS: Mapping[str, int] = {"istio": 2**20, "gateway-api": 32 * 2**10}  # bytes that the proxies keep where nothing is set


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
    connections: int
    connect_timeout: str = "2s"
    idle_timeout: str = f"{IDLE}s"
    retries: int = 2
    retry_on: str = "connect-failure"
    ejection_failures: int = 1
    ejection_percent: int = 50
    ejection_time: str = "5s"
    ejection_interval: str = "1s"


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
    return min(max(4 * pods * rows, MIN_CONNECTIONS), MAX_CONNECTIONS)


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
        connections=connections(settings, pods),
    )


@dataclass(frozen=True)
class GatewayPlan:
    """The object that sets a gateway's limit. gateway: the Gateway object's name. limit: bytes of one request's body."""

    kind: str
    name: str
    namespace: str
    gateway: str
    limit: int


def buffer_limit(region: Region) -> int:
    """Return how much of a body a region's gateway keeps to send a request again, in bytes."""
    limit = region.gateway.buffer_limit
    return size_in_bytes(limit) if limit else OWN_LIMITS[region.routing]


def gateway_plan(region: Region) -> GatewayPlan | None:
    """Return the object that sets the limit; None where regions.yaml leaves the limit to the proxies.

    Envoy Gateway reads a policy in the namespace of the Gateway object, Istio a filter in the namespace of the proxies.
    """
    gateway = region.gateway
    if not gateway.buffer_limit:
        return None
    kind, namespace = {"istio": ("EnvoyFilter", gateway.pods), "gateway-api": ("ClientTrafficPolicy", gateway.namespace)}[
        region.routing
    ]
    return GatewayPlan(kind, BUFFER_LIMIT_NAME, namespace, gateway.name, buffer_limit(region))
