"""Checks of a region's gateway: the Gateway object, its proxies, the request bytes that they buffer, and its URL.

Knows both kinds of gateways, Istio's and the Gateway API's. Changes nothing.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

from conf.base.object_references import Item
from conf.base.quantities import binary_quantity
from conf.doctor.findings import Check, CheckContext, Finding
from conf.plan.routes import GatewayPlan, buffer_limit, gateway_plan
from conf.remote.cluster import ClusterError
from serving.settings import size_in_bytes

GATEWAYS = {"istio": "networking.istio.io/v1", "gateway-api": "gateway.networking.k8s.io/v1"}
BUFFER_OBJECTS = {
    "EnvoyFilter": "networking.istio.io/v1alpha3/namespaces/{}/envoyfilters",
    "ClientTrafficPolicy": "gateway.envoyproxy.io/v1alpha1/namespaces/{}/clienttrafficpolicies",
}


def _gateway(context: CheckContext) -> Iterator[Finding]:
    gateway, kind = context.region.gateway, context.region.routing
    name = f"{gateway.namespace}/{gateway.name}"
    found = _object(context, f"{GATEWAYS[kind]}/namespaces/{gateway.namespace}/gateways/{gateway.name}")
    if found is None:
        yield context.failed("gateway", f"there is no Gateway {name}", "create it, or correct gateway in regions.yaml")
        return
    words, cure = _without_pods(context, found) if kind == "istio" else _not_programmed(found)
    if words:
        yield context.failed("gateway", f"Gateway {name} leads nowhere: {words}", cure)
    else:
        yield context.passed("gateway", f"{name} is there")


def _not_programmed(gateway: Item) -> tuple[str, str]:
    programmed = _condition(gateway.get("status", {}), "Programmed")
    if programmed and programmed["status"] == "True":
        return "", ""
    return (programmed["message"] if programmed else "no controller has taken it"), "look at its controller and its class"


def _without_pods(context: CheckContext, gateway: Item) -> tuple[str, str]:
    """Return what is wrong with the proxies that Istio's Gateway selects, and the cure. Istio itself reports it nowhere."""
    namespace, labels = context.region.gateway.pods, gateway["spec"].get("selector", {})
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    pods = context.cluster.find("Pod", namespace, selector)
    if not pods:
        cure = "correct the Gateway's selector, or gateway.pods in regions.yaml, or install the proxies"
        return f"no pod in {namespace} has the labels that it selects, {selector or 'any'}", cure
    ready = [pod for pod in pods if (_condition(pod.get("status", {}), "Ready") or {}).get("status") == "True"]
    return ("", "") if ready else (f"none of its {len(pods)} pods in {namespace} is ready", "look at those pods")


def _gateway_buffer(context: CheckContext) -> Iterator[Finding]:
    """Check that the proxies buffer as much of a request as regions.yaml says."""
    subject, wanted = "gateway buffer", gateway_plan(context.region)
    if wanted is None:
        own = binary_quantity(buffer_limit(context.region))
        yield context.passed(subject, f"regions.yaml sets no buffer_limit: the proxies send requests of up to {own} again")
        return
    found = (_object(context, BUFFER_OBJECTS[wanted.kind].format(wanted.namespace)) or {"items": []})["items"]
    enough = [each for each in found if _buffered(wanted, each["spec"]) >= wanted.limit]
    refusals = [_refused(each) for each in enough]
    if "" in refusals:
        yield context.passed(subject, f"requests of up to {binary_quantity(wanted.limit)} are sent again")
    elif enough:
        name = f"{wanted.kind} {wanted.namespace}/{enough[0]['metadata']['name']}"
        cure = "remove the policy that it conflicts with, or set its fields there"
        yield context.failed(subject, f"{name} has no effect: {refusals[0]}", cure)
    else:
        most = max((_buffered(wanted, each["spec"]) for each in found), default=0)
        region = context.region
        cure = f"monopod gateway --region {region.name} | kubectl --context {region.context} apply -f -"
        yield context.failed(subject, _too_little(wanted, most), cure)


def _too_little(wanted: GatewayPlan, most: int) -> str:
    own = f"; one has them buffer {binary_quantity(most)}" if most else ""
    lost = "a larger request whose pod has just gone is not sent again"
    return f"no {wanted.kind} in {wanted.namespace} has the proxies buffer {binary_quantity(wanted.limit)}{own}: {lost}"


def _buffered(wanted: GatewayPlan, spec: Item) -> int:
    """Return how many bytes an object lets the proxies buffer; 0 where it does not say, or is another Gateway's."""
    if wanted.kind == "EnvoyFilter":
        values = [each.get("patch", {}).get("value", {}) for each in spec.get("configPatches", [])]
        return max((_bytes(value.get("request_body_buffer_limit", 0)) for value in values), default=0)
    targets = [*spec.get("targetRefs", []), spec.get("targetRef", {})]
    if wanted.gateway not in [each.get("name") for each in targets]:
        return 0
    http1, http2 = spec.get("connection", {}).get("bufferLimit", 0), spec.get("http2", {}).get("initialStreamWindowSize", 0)
    return min(_bytes(http1), _bytes(http2))


def _bytes(value: object) -> int:
    try:
        return size_in_bytes(str(value))
    except ValueError:  # no size in bytes
        return 0


def _refused(policy: Item) -> str:
    """Return why Envoy Gateway does not accept a policy; "" where it does, or says nothing yet."""
    ancestors = policy.get("status", {}).get("ancestors", [])
    accepted = [_condition(each, "Accepted") for each in ancestors]
    return "; ".join(each["message"] for each in accepted if each and each["status"] == "False")


def _gateway_url(context: CheckContext) -> Iterator[Finding]:
    if not context.region.way_in:
        return
    try:  # without safe_http: a redirect to plain HTTP is no fault here, since no password is sent
        with urllib.request.urlopen(context.region.way_in, timeout=5):
            pass
    except urllib.error.HTTPError as error:
        error.close()  # any status is an answer
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield context.failed(
            "gateway URL", f"{context.region.way_in} does not answer: {reason}", "correct way_in in regions.yaml"
        )
        return
    yield context.passed("gateway URL", f"{context.region.way_in} answers")


def _object(context: CheckContext, where: str) -> Item | None:
    """Return an object by its path below /apis, None where there is none. Raises ClusterError."""
    try:
        return context.cluster.raw(f"/apis/{where}")
    except ClusterError as error:
        if error.status != 404:
            raise
        return None


def _condition(status: Item, kind: str) -> Item | None:
    found: list[Item] = status.get("conditions", [])
    return next((each for each in found if each["type"] == kind), None)


CHECKS: Sequence[Check] = (_gateway, _gateway_buffer, _gateway_url)
