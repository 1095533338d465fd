"""The objects of a canary: two sets of pods beside a service's own, which are the arms that a canary compares.

`<service>-canary` runs the new version, and `<service>-baseline` the old one again. Each is made from a release's objects,
rendered or stored in a history, under another name and other labels. So no selector of the service finds their pods, whose
series are the service's and have a label `arm`. Offline pods answer no request and have no arms.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

from conf.base.object_references import DEPLOYMENT_LABEL, SCALERS, Item
from conf.plan.alerts import ARM, ARM_SERIES_LABEL, CANARY_DRIVEN

CANARY, BASELINE = "-canary", "-baseline"
# An arm has objects of these kinds. Envoy Gateway's policy is of the route, and so of all its backends.
ARM_KINDS = (
    "ServiceAccount",
    "NetworkPolicy",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
    "DestinationRule",
    "ServiceMonitor",
)
ROUTE_KINDS = ("HTTPRoute", "VirtualService")
NAME_LABELS = ("app", DEPLOYMENT_LABEL)
ARM_OF = "monopod/arm-of"  # the label of an arm's objects that names the service, which may have a neighbour of the arm's name
# KEDA's annotation since 2.18, which keeps it from taking pods away. Older ones keep to the minimum alone.
PAUSED_SCALE_IN = "autoscaling.keda.sh/paused-scale-in"
WATCH_SECONDS = 300  # Seconds after which a command tells the alert's rule again that it drives the canary.


def arm_name(service: str, suffix: str) -> str:
    """Return the name of an arm's objects. suffix: CANARY or BASELINE."""
    return f"{service}{suffix}"


def arm_names(service: str) -> tuple[str, str]:
    """Return the names of the canary and of the baseline."""
    return arm_name(service, CANARY), arm_name(service, BASELINE)


def arm_pods(pods: int, share: int) -> int:
    """Return how many pods an arm needs at a share of the requests. pods: those that serve all requests. share: in %."""
    return max(1, math.ceil(pods * share / 100))


def arm_shares(service: str, share: int, *, has_baseline: bool) -> dict[str, int]:
    """Return the share of each Service in %, where the canary gets `share`. A Service that gets nothing is left out."""
    canary, baseline = arm_names(service)
    compared = min(share, 100 - share) if has_baseline else 0
    found = {service: 100 - share - compared, canary: share, baseline: compared}
    return {name: each for name, each in found.items() if each}


def is_arm(item: Item, service: str) -> bool:
    """Return whether an object, as the API server has it, is of a service's arm. Another service may have the arm's name."""
    return bool(item["metadata"].get("labels", {}).get(ARM_OF) == service)


def arm_items(items: Iterable[Item], service: str, suffix: str, pods: int) -> list[Item]:
    """Return an arm's objects in the order of their apply, none where a release has no online pods.

    items: of the release whose version the arm runs. suffix: CANARY or BASELINE. The ports of nodes stay the service's own: one
    port of a node cannot lead to two Deployments.
    """
    own = [each for each in items if each["kind"] in ARM_KINDS and each["metadata"]["name"] == service]
    if not any(each["kind"] == "Deployment" for each in own):
        return []
    found = [_arm(each, service, arm_name(service, suffix), pods) for each in own]
    return [each for each in found if pods >= 2 or each["kind"] != "PodDisruptionBudget"]


def weighted(items: Iterable[Item], shares: Mapping[str, int]) -> list[Item]:
    """Return a release's routes with Services as their backends. A route to the one that is to get all stays as it was.

    shares: in % by Service, which are of the release's namespace. Raises ValueError where they are not 100 together.
    """
    if sum(shares.values()) != 100 or min(shares.values()) < 0:
        raise ValueError(f"shares are {dict(shares)}; together they must be 100")
    routes = [each for each in items if each["kind"] in ROUTE_KINDS]
    return [_with_backends(each, shares) for each in routes]


def kept_from_scaling_in(items: Iterable[Item], service: str, pods: int) -> list[Item]:
    """Return the autoscaler of a service's online pods, none where it has none, changed so that `pods` of them stay.

    An apply of the release's own objects ends it. During a canary the old pods have less to do, and taking it back must start
    no pod.
    """
    own = [each for each in items if each["kind"] in SCALERS and each["metadata"]["name"] == service]
    return [_kept(each, pods) for each in own]


def canary_watch(items: Iterable[Item], service: str, driven_at: float, words: str) -> Item:
    """Return the PrometheusRule that records when a command drove a canary last, for an alert of the service's own rules.

    The alert is not here: Prometheus ends no alert whose rule is removed, and Alertmanager holds it for minutes. Without this
    rule the series ends, and the alert with it. It needs no pod, so that a canary whose pods never came up is told, too.
    Prometheus' clock and the command's are taken to differ by seconds.

    items: of the new release, whose own rules have the labels by which Prometheus and people find it.
    driven_at: as time.time has it. words: how far the canary is, for a person.
    """
    own = next(each for each in items if each["kind"] == "PrometheusRule" and each["metadata"]["name"] == service)
    alerts = [rule for group in own["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    labels = {name: alerts[0]["labels"][name] for name in ("namespace", "service", "track")}
    name = arm_name(service, CANARY)
    rule = {"record": CANARY_DRIVEN, "expr": f"vector({int(driven_at)})", "labels": {**labels, "step": words}}
    return {**_beside(own, service, name), "spec": {"groups": [{"name": name, "interval": "15s", "rules": [rule]}]}}


def _beside(item: Item, service: str, name: str) -> Item:
    """Return a copy of an object under an arm's name."""
    made: Item = _renamed(item, service, name)
    made["metadata"]["name"] = name
    made["metadata"]["labels"][ARM_OF] = service
    return made


def _arm(item: Item, service: str, name: str, pods: int) -> Item:
    made = _beside(item, service, name)
    if item["kind"] == "Deployment":
        _rename_pods(made["spec"], name, name.removeprefix(service), pods)
    if item["kind"] == "DestinationRule":
        made["spec"]["host"] = _host(item["spec"]["host"], name)
    if item["kind"] == "ServiceMonitor":  # an arm's series have its service's name, and a label of their own
        labels = {"service": service, ARM: name.removeprefix(f"{service}-"), ARM_SERIES_LABEL: service}
        made_labels = [{"action": "replace", "targetLabel": key, "replacement": value} for key, value in labels.items()]
        made["spec"]["endpoints"] = [{**each, "relabelings": made_labels} for each in made["spec"]["endpoints"]]
    if item["kind"] == "NetworkPolicy":  # networks may call the ports of nodes alone, which an arm does not have
        rules = made["spec"]["ingress"]
        made["spec"]["ingress"] = [rule for rule in rules if not any("ipBlock" in peer for peer in rule["from"])]
    return made


def _renamed(value: Any, service: str, name: str) -> Any:
    """Return a copy of a value in which each label and each selector names the arm. Labels of nodes stay as they are."""
    if isinstance(value, dict):
        named = {key: name for key, each in value.items() if key in NAME_LABELS and each == service}
        kept = {key: each for key, each in value.items() if key == "nodeSelector"}
        return {key: _renamed(each, service, name) for key, each in value.items()} | named | kept
    return [_renamed(each, service, name) for each in value] if isinstance(value, list) else value


def _rename_pods(spec: Item, name: str, suffix: str, pods: int) -> None:
    """Give an arm's pods its name and number. Their container keeps the service's, whose lines theirs are."""
    template = spec["template"]
    container = template["spec"]["containers"][0]
    spec["replicas"] = pods
    template["spec"]["serviceAccountName"] = name
    container["env"] = [*container["env"], {"name": "MONOPOD_ARM", "value": suffix.removeprefix("-")}]
    container["ports"] = [{key: each for key, each in port.items() if key != "hostPort"} for port in container["ports"]]


def _with_backends(route: Item, shares: Mapping[str, int]) -> Item:
    made = copy.deepcopy(route)
    for rule in made["spec"].get("rules", []):
        rule["backendRefs"] = _of_a_gateway(rule["backendRefs"], shares)
    for rule in made["spec"].get("http", []):
        rule["route"] = _of_istio(rule["route"], shares)
    return made


def _of_a_gateway(backends: list[Item], shares: Mapping[str, int]) -> list[Item]:
    if len(shares) == 1 and [each["name"] for each in backends] == list(shares):
        return backends
    return [{**backends[0], "name": name, "weight": share} for name, share in shares.items()]


def _of_istio(backends: list[Item], shares: Mapping[str, int]) -> list[Item]:
    first = backends[0]["destination"]
    hosts = {_host(first["host"], name): share for name, share in shares.items()}
    if len(hosts) == 1 and [each["destination"]["host"] for each in backends] == list(hosts):
        return backends
    return [{"destination": {**first, "host": host}, "weight": share} for host, share in hosts.items()]


def _host(host: str, name: str) -> str:
    return f"{name}.{host.partition('.')[2]}"


def _kept(item: Item, pods: int) -> Item:
    least, most = {
        "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
        "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
    }[item["kind"]]
    spec = item["spec"]
    made = {**item, "spec": {**spec, least: min(max(spec[least], pods), spec[most])}}
    if item["kind"] == "ScaledObject":
        annotations = {**item["metadata"].get("annotations", {}), PAUSED_SCALE_IN: "true"}
        made["metadata"] = {**item["metadata"], "annotations": annotations}
    return made
