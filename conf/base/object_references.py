"""References to Kubernetes objects: kind, namespace, name and uid, and the paths at which the API server has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]

DEPLOYMENT_LABEL = "app.kubernetes.io/name"  # the label of a pod that has the name of its Deployment
MANAGER = "monopod"  # the field manager of each change that we make, and the value of the label managed-by

# resource kind -> the path of its API, and the plural under which the API has it
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
    "TriggerAuthentication": ("apis/keda.sh/v1alpha1", "triggerauthentications"),
    "PodMonitor": ("apis/monitoring.coreos.com/v1", "podmonitors"),
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
    """A reference to an object. uid: "" while it is not known; it tells an object from a later one of the same name."""

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
    """Return the path of an object at the API server, or without a name the path of its kind in the namespace.

    Raises KeyError for a kind that KINDS does not have.
    """
    prefix, plural = KINDS[kind]
    return f"/{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def ref(item: Item) -> Ref:
    """Return the reference to an object, which is as it was rendered or as the API server returned it."""
    metadata = item["metadata"]
    return Ref(item["kind"], metadata["namespace"], metadata["name"], metadata.get("uid", ""))


def deployments(items: Iterable[Item]) -> tuple[Ref, ...]:
    """Return the Deployments among rendered objects, in their order: of online pods first, where there are any."""
    return tuple(ref(item) for item in items if item["kind"] == "Deployment")


def key(each: Ref) -> tuple[str, str, str]:
    """Return kind, namespace and name: equal for two references to objects that replace each other."""
    return each.kind, each.namespace, each.name


def dropped(old: Iterable[Ref], new: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return the objects of the old release that the new one does not hold, compared by kind, namespace and name."""
    kept = {key(each) for each in new}
    return tuple(each for each in old if key(each) not in kept)


def conditions(item: Item) -> dict[str, Item]:
    """Return the conditions in an object's status, by their type."""
    return {each["type"]: each for each in item.get("status", {}).get("conditions") or []}


def container_statuses(pod: Item) -> list[Item]:
    """Return what the kubelet says of a pod's containers, the init containers and sidecars first."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def is_ready(pod: Item) -> bool:
    """Return whether Kubernetes sends a pod requests."""
    return bool(conditions(pod).get("Ready", {}).get("status") == "True")


def is_staying(item: Item) -> bool:
    """Return whether an object is not being deleted."""
    return "deletionTimestamp" not in item["metadata"]
