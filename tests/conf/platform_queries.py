"""The judge of the platform's own queries: each metric of Kubernetes, the gateways and Prometheus must be one of these, too.

A query that asks for another metric of others adds its line here, and a test finds lines that no query needs.
Sources: kube-state-metrics' documentation of its metrics, and Envoy's documentation of statistics.
Istio's own metrics are left out on purpose, since not every gateway has them.
"""

from collections.abc import Mapping

from conf.rules.own_alerts import Labels, judge_query, own_series
from serving.settings.exported_metrics import SCRAPE_LABELS

TARGET = frozenset({*SCRAPE_LABELS, "node", "metrics_path"})  # what a scrape of pods adds
DEPLOYMENT, POD = ("deployment",), ("uid",)
CONTAINER = (*POD, "container")
# A PodMonitor of charts/monitoring makes the first two of a cluster's name, which each way to route writes in its own form.
CLUSTER = ("destination_namespace", "destination_service", "envoy_cluster_name", "cluster_name")
CLASS = (*CLUSTER, "envoy_response_code_class")

GAUGES_AND_COUNTERS: Mapping[str, tuple[str, ...]] = {
    "up": (),
    "kube_deployment_spec_replicas": DEPLOYMENT,
    "kube_deployment_status_replicas_ready": DEPLOYMENT,
    "kube_deployment_status_replicas_unavailable": DEPLOYMENT,
    "kube_deployment_status_replicas_updated": DEPLOYMENT,
    "kube_pod_info": (*POD, "node", "pod_ip", "host_ip"),
    "kube_pod_status_phase": (*POD, "phase"),
    "kube_pod_container_status_restarts_total": CONTAINER,
    "envoy_cluster_membership_healthy": CLUSTER,
    "envoy_cluster_membership_total": CLUSTER,
    "envoy_cluster_outlier_detection_ejections_active": CLUSTER,
    "envoy_cluster_outlier_detection_ejections_enforced_total": CLUSTER,
    "envoy_cluster_retry_or_shadow_abandoned": CLUSTER,
    "envoy_cluster_upstream_cx_connect_fail": CLUSTER,
    "envoy_cluster_upstream_rq_retry": CLUSTER,
    "envoy_cluster_upstream_rq_retry_limit_exceeded": CLUSTER,
    "envoy_cluster_upstream_rq_retry_overflow": CLUSTER,
    "envoy_cluster_upstream_rq_total": CLUSTER,
    "envoy_cluster_upstream_rq_xx": CLASS,
}
HISTOGRAMS: Mapping[str, tuple[str, ...]] = {
    "envoy_cluster_upstream_rq_time": CLUSTER,
    "envoy_cluster_upstream_rq_body_size": CLUSTER,
    "envoy_cluster_upstream_rs_body_size": CLUSTER,
}
OF_ANY_LABELS = ("ALERTS", "ALERTS_FOR_STATE")  # each has its alert's own


def foreign_series() -> dict[str, Labels]:
    """Return the labels of each series that others export, by its name in a query."""
    found: dict[str, Labels] = dict.fromkeys(OF_ANY_LABELS)
    for name, labels in GAUGES_AND_COUNTERS.items():
        found[name] = TARGET.union(labels)
    for name, labels in HISTOGRAMS.items():
        found[f"{name}_bucket"] = TARGET.union(labels, ("le",))
        found[f"{name}_sum"] = found[f"{name}_count"] = TARGET.union(labels)
    return found


def known_series() -> Mapping[str, Labels]:
    """Return the labels of every series of the platform and of the others that it asks for."""
    return {**foreign_series(), **own_series()}


def mistakes_of(query: str, recorded: Mapping[str, Labels] | None = None) -> list[str]:
    """Return what is wrong with a query. recorded: the labels of each series that a recording rule makes, None for any."""
    return judge_query(query, {**foreign_series(), **(recorded or {})})[0]


def labels_of(query: str, recorded: Mapping[str, Labels] | None = None) -> Labels:
    return judge_query(query, {**foreign_series(), **(recorded or {})})[1]
