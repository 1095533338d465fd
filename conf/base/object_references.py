"""Kubernetes objects by name: their kinds, their addresses, and which of them a release holds.

Knows the kinds that templates/ makes, and those that a rollout reads. A pure module: asks no cluster.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]

MANAGER = "monopod"  # the field manager of each change that we make, and the value of the label managed-by

# kind -> the API's path and the kind's plural there.
KINDS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "BackendTrafficPolicy": ("apis/gateway.envoyproxy.io/v1alpha1", "backendtrafficpolicies"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "PrometheusRule": ("apis/monitoring.coreos.com/v1", "prometheusrules"),
    "ServiceMonitor": ("apis/monitoring.coreos.com/v1", "servicemonitors"),
    "DestinationRule": ("apis/networking.istio.io/v1", "destinationrules"),
    "VirtualService": ("apis/networking.istio.io/v1", "virtualservices"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
}
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
NOT_APPLIED = ("ConfigMap", "Event", "Lease", "Pod", "ReplicaSet")  # no template makes these, and a rollout reads them
APPLIED = tuple(kind for kind in KINDS if kind not in NOT_APPLIED)


@dataclass(frozen=True, order=True)
class Ref:
    """An object's name. uid: the very object's, or "" while it is not known."""

    kind: str
    namespace: str
    name: str
    uid: str = ""

    @property
    def path(self) -> str:
        return path(self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def path(kind: str, namespace: str, name: str = "") -> str:
    """Return an object's address at the API server, or its kind's in the namespace. Raises KeyError for an unknown kind."""
    prefix, plural = KINDS[kind]
    return f"/{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def ref(item: Item) -> Ref:
    """Return the name of an object, as it is rendered or as it came from the API server."""
    metadata = item["metadata"]
    return Ref(item["kind"], metadata["namespace"], metadata["name"], metadata.get("uid", ""))


def key(each: Ref) -> tuple[str, str, str]:
    """Return a name without its uid, for asking whether two are the same object's."""
    return each.kind, each.namespace, each.name


def dropped(old: Iterable[Ref], new: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return what was in the old release and is not in the new one, by name."""
    kept = {key(each) for each in new}
    return tuple(each for each in old if key(each) not in kept)
