"""The object that a cluster's gateway needs once. It sets how much of a request the proxies keep to send it again.

Envoy can retry a request only while it has kept all of the body. It gives the retry of a larger one up in silence, and only the
counter `retry_or_shadow_abandoned` shows that. Sources: Envoy's `Route.request_body_buffer_limit` and
`Listener.per_connection_buffer_limit_bytes`. Envoy Gateway's ClientTrafficPolicy sets the latter by `connection.bufferLimit`.
With HTTP/2 each stream has a buffer of its own, which `http2.initialStreamWindowSize` limits.

Knows limits and names. Does not know services.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from conf.clusters.region import Region
from serving.settings import size_in_bytes

NAME = "monopod-buffer-limit"
OWN: Mapping[str, int] = {"istio": 2**20, "gateway-api": 32 * 2**10}  # bytes that the proxies keep where nothing is set


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
    return size_in_bytes(limit) if limit else OWN[region.routing]


def gateway_plan(region: Region) -> GatewayPlan | None:
    """Return the object that sets the limit; None where regions.yaml leaves the limit to the proxies.

    Envoy Gateway reads a policy in the namespace of the Gateway object, Istio a filter in the namespace of the proxies.
    """
    gateway = region.gateway
    if not gateway.buffer_limit:
        return None
    kind, namespace = {
        "istio": ("EnvoyFilter", gateway.pods),
        "gateway-api": ("ClientTrafficPolicy", gateway.namespace),
    }[region.routing]
    return GatewayPlan(kind, NAME, namespace, gateway.name, buffer_limit(region))
