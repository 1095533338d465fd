"""The way from outside to the pods, examined: the Gateway, its proxies, what they keep of a request, and where they answer.

Knows what both kinds of gateways need. Changes nothing. Does not know what is behind the pods.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

from conf.base.quantities import binary
from conf.base.references import Item
from conf.doctor.findings import Check, Finding, Patient
from conf.plan.gateway import GatewayPlan, buffer_limit, gateway_plan
from conf.remote.cluster import ClusterError
from serving.settings import size_in_bytes

GATEWAYS = {"istio": "networking.istio.io/v1", "gateway-api": "gateway.networking.k8s.io/v1"}
SETTERS = {
    "EnvoyFilter": "networking.istio.io/v1alpha3/namespaces/{}/envoyfilters",
    "ClientTrafficPolicy": "gateway.envoyproxy.io/v1alpha1/namespaces/{}/clienttrafficpolicies",
}


def _gateway(patient: Patient) -> Iterator[Finding]:
    gateway, kind = patient.region.gateway, patient.region.routing
    name = f"{gateway.namespace}/{gateway.name}"
    found = _object(patient, f"{GATEWAYS[kind]}/namespaces/{gateway.namespace}/gateways/{gateway.name}")
    if found is None:
        yield patient.bad("gateway", f"there is no Gateway {name}", "create it, or correct gateway in regions.yaml")
        return
    words, cure = _without_pods(patient, found) if kind == "istio" else _not_programmed(found)
    if words:
        yield patient.bad("gateway", f"Gateway {name} leads nowhere: {words}", cure)
    else:
        yield patient.good("gateway", f"{name} is there")


def _not_programmed(gateway: Item) -> tuple[str, str]:
    programmed = _condition(gateway.get("status", {}), "Programmed")
    if programmed and programmed["status"] == "True":
        return "", ""
    return (programmed["message"] if programmed else "no controller has taken it"), "look at its controller and its class"


def _without_pods(patient: Patient, gateway: Item) -> tuple[str, str]:
    """Return what is wrong with the proxies that Istio's Gateway selects, which Istio says nowhere."""
    namespace, labels = patient.region.gateway.pods, gateway["spec"].get("selector", {})
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    pods = patient.cluster.find("Pod", namespace, selector)
    if not pods:
        cure = "correct the Gateway's selector, or gateway.pods in regions.yaml, or install the proxies"
        return f"no pod in {namespace} has the labels that it selects, {selector or 'any'}", cure
    ready = [pod for pod in pods if (_condition(pod.get("status", {}), "Ready") or {}).get("status") == "True"]
    return ("", "") if ready else (f"none of its {len(pods)} pods in {namespace} is ready", "look at those pods")


def _gateway_buffer(patient: Patient) -> Iterator[Finding]:
    """Judge whether the proxies keep as much of a request as regions.yaml says."""
    subject, wanted = "gateway buffer", gateway_plan(patient.region)
    if wanted is None:
        own = binary(buffer_limit(patient.region))
        yield patient.good(subject, f"regions.yaml sets no buffer_limit: the proxies send again what has {own} at most")
        return
    found = (_object(patient, SETTERS[wanted.kind].format(wanted.namespace)) or {"items": []})["items"]
    enough = [each for each in found if _kept(wanted, each["spec"]) >= wanted.limit]
    refusals = [_refused(each) for each in enough]
    if "" in refusals:
        yield patient.good(subject, f"requests of up to {binary(wanted.limit)} are sent again")
    elif enough:
        name = f"{wanted.kind} {wanted.namespace}/{enough[0]['metadata']['name']}"
        cure = "take away what is in its way, or set its fields there"
        yield patient.bad(subject, f"{name} has no effect: {refusals[0]}", cure)
    else:
        most = max((_kept(wanted, each["spec"]) for each in found), default=0)
        region = patient.region
        cure = f"monopod gateway --region {region.name} | kubectl --context {region.context} apply -f -"
        yield patient.bad(subject, _too_little(wanted, most), cure)


def _too_little(wanted: GatewayPlan, most: int) -> str:
    own = f"; one keeps {binary(most)}" if most else ""
    lost = "of a larger request, none that meets a pod which went away is saved"
    return f"no {wanted.kind} in {wanted.namespace} has the proxies keep {binary(wanted.limit)}{own}: {lost}"


def _kept(wanted: GatewayPlan, spec: Item) -> int:
    """Return the bytes that an object lets the proxies keep; 0 where it says nothing of it, or is another Gateway's."""
    if wanted.kind == "EnvoyFilter":
        values = [each.get("patch", {}).get("value", {}) for each in spec.get("configPatches", [])]
        return max((_bytes(value.get("request_body_buffer_limit", 0)) for value in values), default=0)
    targets = [*spec.get("targetRefs", []), spec.get("targetRef", {})]
    if wanted.gateway not in [each.get("name") for each in targets]:
        return 0
    http1, http2 = spec.get("connection", {}).get("bufferLimit", 0), spec.get("http2", {}).get("initialStreamWindowSize", 0)
    return min(_bytes(http1), _bytes(http2))


def _bytes(said: object) -> int:
    try:
        return size_in_bytes(str(said))
    except ValueError:  # no quantity that a person writes of memory
        return 0


def _refused(policy: Item) -> str:
    """Return why Envoy Gateway does not follow a policy, "" where it does or says nothing."""
    ancestors = policy.get("status", {}).get("ancestors", [])
    judged = [_condition(each, "Accepted") for each in ancestors]
    return "; ".join(each["message"] for each in judged if each and each["status"] == "False")


def _way_in(patient: Patient) -> Iterator[Finding]:
    if not patient.region.way_in:
        return
    try:
        with urllib.request.urlopen(patient.region.way_in, timeout=5):
            pass
    except urllib.error.HTTPError as error:
        error.close()  # it answers
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield patient.bad("way in", f"{patient.region.way_in} does not answer: {reason}", "correct way_in in regions.yaml")
        return
    yield patient.good("way in", f"{patient.region.way_in} answers")


def _object(patient: Patient, where: str) -> Item | None:
    """Return an object by its address below /apis, or None."""
    try:
        return patient.cluster.raw(f"/apis/{where}")
    except ClusterError as error:
        if error.status != 404:
            raise
        return None


def _condition(status: Item, kind: str) -> Item | None:
    found: list[Item] = status.get("conditions", [])
    return next((each for each in found if each["type"] == kind), None)


CHECKS: Sequence[Check] = (_gateway, _gateway_buffer, _way_in)
