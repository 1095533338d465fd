"""The object that a cluster's gateway needs once. It says how much of a request its proxies keep to send it again.

Envoy sends a request again only while it has kept all of it. A body above the buffer's limit ends that without a word, and the
counter `retry_or_shadow_abandoned` alone tells. Source: Envoy's `Route.request_body_buffer_limit` and
`Listener.per_connection_buffer_limit_bytes`; Envoy Gateway's ClientTrafficPolicy, whose `connection.bufferLimit` is the latter,
and for HTTP/2, where each stream has a buffer of its own, `http2.initialStreamWindowSize`.

Knows limits and names. Does not ask a cluster, and does not know services.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from conf.clusters.region import Region
from serving.settings import size_in_bytes

NAME = "monopod-buffer-limit"
OWN: Mapping[str, int] = {"istio": 2**20, "gateway-api": 32 * 2**10}  # bytes: what the proxies keep where nothing is set


@dataclass(frozen=True)
class GatewayPlan:
    """The object that sets a gateway's limit. gateway: whose. limit: bytes of one request's body."""

    kind: str
    name: str
    namespace: str
    gateway: str
    limit: int


def buffer_limit(region: Region) -> int:
    """Return the bytes of a body that a region's gateway keeps to send a request again."""
    said = region.gateway.buffer_limit
    return size_in_bytes(said) if said else OWN[region.routing]


def gateway_plan(region: Region) -> GatewayPlan | None:
    """Plan what sets the limit; None where regions.yaml leaves it to the proxies.

    Envoy Gateway follows a policy beside the Gateway object. Istio follows a filter beside the proxies.
    """
    gateway = region.gateway
    if not gateway.buffer_limit:
        return None
    kind, namespace = {
        "istio": ("EnvoyFilter", gateway.pods),
        "gateway-api": ("ClientTrafficPolicy", gateway.namespace),
    }[region.routing]
    return GatewayPlan(kind, NAME, namespace, gateway.name, buffer_limit(region))
