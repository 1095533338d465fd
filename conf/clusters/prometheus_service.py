"""The Service of the cluster that prometheus.url of regions.yaml names.

Knows how Kubernetes names a Service in DNS. Asks no cluster.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from conf.clusters.region import Prometheus

OF_A_CLUSTER: tuple[list[str], ...] = ([], ["svc"], ["svc", "cluster", "local"])  # what may follow <service>.<namespace>


@dataclass(frozen=True)
class PrometheusService:
    """A Service and its port. prefix: the path before Prometheus' own, "" for none."""

    namespace: str
    name: str
    port: int
    https: bool
    prefix: str


def prometheus_service(prometheus: Prometheus) -> PrometheusService | None:
    """Return the Service that the URL names; None where its host is outside the cluster."""
    parts = urlsplit(prometheus.url)
    https = parts.scheme == "https"
    service, *rest = str(parts.hostname).split(".")
    if rest[1:] not in OF_A_CLUSTER:
        return None
    namespace = rest[0] if rest else prometheus.namespace
    return PrometheusService(namespace, service, parts.port or (443 if https else 80), https, parts.path.rstrip("/"))
