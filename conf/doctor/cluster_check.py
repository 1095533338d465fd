"""Checks of a cluster: its API server, namespace, rights, clock, resource kinds, gateway, GPUs and quotas.

Changes nothing: its one write is a dry run.
"""

import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.base.object_references import DEPLOYMENT_LABEL, KINDS, NOT_APPLIED, Item, conditions, is_ready
from conf.base.quantities import binary_quantity
from conf.clusters.regions import Region
from conf.clusters.rights import DEPLOY
from conf.doctor.findings import Check, CheckContext, Finding
from conf.observe.pod_states import has_ended
from conf.plan.placement import summed
from conf.plan.plan import Plan
from conf.plan.pods import gpu_share
from conf.plan.routes import GatewayPlan, buffer_limit, gateway_plan
from conf.remote import safe_http
from conf.remote.cluster import Cluster, ClusterError, NoNamespace, NoRights, kubectl
from conf.remote.safe_http import NoAnswer
from conf.render.arms import arm_names
from conf.render.templates import Rendered
from conf.rollout.preflight import has_object, named_objects, object_cure, shortages, usage
from serving.settings import Settings, size_in_bytes

OLDEST_VERSION = (1, 30)  # Kubernetes has preStop.sleep since this version
MAX_CLOCK_SKEW = 30  # seconds: a lease or a token that lasts a minute still works
GATEWAYS = {"istio": "networking.istio.io/v1", "gateway-api": "gateway.networking.k8s.io/v1"}
BUFFER_OBJECTS = {
    "EnvoyFilter": "networking.istio.io/v1alpha3/namespaces/{}/envoyfilters",
    "ClientTrafficPolicy": "gateway.envoyproxy.io/v1alpha1/namespaces/{}/clienttrafficpolicies",
}
MAX_PAGE_BYTES = 10_000_000  # of the page at a gateway's URL


def cluster_findings(region: Region, plan: Plan, settings: Settings) -> list[Finding]:
    """Return the findings of all checks in one region. Where its API server does not answer, that is the only finding."""
    try:
        context = CheckContext(region, plan, settings, Cluster(region.context))
        found = list(_server(context))
    except ClusterError as error:
        return [Finding(region.name, "API server", str(error), "fix that first; nothing else could be checked")]
    for check in CHECKS:
        if check in GATEWAY_CHECKS and plan.online is None:
            continue  # no request comes to offline pods alone
        subject = check.__name__.strip("_").replace("_", " ").replace("gpu", "GPU")
        try:
            found += check(context)
        except NoRights:
            found.append(context.skipped(subject, "your rights do not allow to look; a deploy does not need them"))
        except ClusterError as error:
            found.append(context.failed(subject, str(error), "fix that first; this could not be checked"))
    return found


def _server(context: CheckContext) -> Iterator[Finding]:
    version = context.cluster.raw("/version")
    number = tuple(int("".join(c for c in version[part] if c.isdigit()) or 0) for part in ("major", "minor"))
    if number < OLDEST_VERSION:
        yield context.failed(
            "API server", f"Kubernetes {version['gitVersion']}", "pods need 1.30 or newer: upgrade the cluster"
        )
    else:
        yield context.passed("API server", f"context {context.cluster.context}: Kubernetes {version['gitVersion']}")


def _namespace(context: CheckContext) -> Iterator[Finding]:
    name = context.plan.namespace
    try:
        found = context.cluster.found(f"/api/v1/namespaces/{name}")
    except NoRights:
        _dry_run(context)
        yield context.skipped("namespace", f"{name} is there; your rights do not allow to look at its labels")
        return
    if found is None:
        listed = "list its user in regions.yaml and install charts/cluster (docs/cluster.md)"
        cure = f"{listed}, or: {kubectl(context.cluster.context, f'create namespace {name}')}"
        yield context.failed("namespace", f"there is no namespace {name}", cure)
        return
    if found["status"]["phase"] != "Active":
        yield context.failed("namespace", f"namespace {name} is being deleted", "wait until it is gone, and create it again")
        return
    labels = found["metadata"].get("labels", {})
    standard = labels.get("pod-security.kubernetes.io/enforce", "privileged")
    if any(port.host_port for each in context.plan.workloads for port in each.pod.ports) and standard != "privileged":
        label = f"label --overwrite namespace {name} pod-security.kubernetes.io/enforce=privileged"
        cure = f"{kubectl(context.cluster.context, label)}, or do without use_srv"
        yield context.failed("namespace", f"{name} enforces the {standard} standard, which takes no host port", cure)
    elif context.region.sidecars and labels.get("istio-injection") != "enabled" and "istio.io/rev" not in labels:
        cure = kubectl(context.cluster.context, f"label namespace {name} istio-injection=enabled")
        yield context.failed("namespace", f"{name} gets no sidecars, and regions.yaml says that pods have them", cure)
    else:
        yield context.passed("namespace", f"{name} is there")


def _resource_types(context: CheckContext) -> Iterator[Finding]:
    wanted = {*context.plan.objects}
    missing = []
    for kind, (prefix, plural) in KINDS.items():
        if kind.lower() in wanted and not _serves(context.cluster, prefix, plural):
            missing.append(f"{kind} ({prefix.removeprefix('apis/')})")
    if missing:
        cure = "install what defines them: the Gateway API and Envoy Gateway, Istio, the Prometheus operator, KEDA"
        yield context.failed("resource types", f"the cluster does not know {', '.join(missing)}", cure)
    else:
        yield context.passed("resource types", f"all {len(wanted)} are known")


def _serves(cluster: Cluster, prefix: str, plural: str) -> bool:
    group = cluster.found(f"/{prefix}")
    return group is not None and any(each["name"] == plural for each in group["resources"])


def _rights(context: CheckContext) -> Iterator[Finding]:
    needed = [each for each in DEPLOY if each.kind in NOT_APPLIED or each.kind.lower() in context.plan.objects]
    wanted = [(verb, each.kind, each.part) for each in needed for verb in each.verbs]
    asked = ((each, context.cluster.may(*each[:2], context.plan.namespace, each[2])) for each in wanted)
    lacking = [f"{verb} {kind}{' ' if part else ''}{part}" for (verb, kind, part), allowed in asked if not allowed]
    if lacking:
        words = f"not allowed in {context.plan.namespace}: {', '.join(lacking)}"
        yield context.failed(
            "rights", words, "install charts/cluster, which binds them to the account that deploys (docs/cluster.md)"
        )
    else:
        yield context.passed("rights", f"all {len(wanted)} that a deploy needs in {context.plan.namespace}")


def _clocks(context: CheckContext) -> Iterator[Finding]:
    try:
        created = _dry_run(context)
    except NoNamespace:
        return  # _namespace tells it already
    skew = abs((datetime.now(UTC) - created).total_seconds())
    if skew > MAX_CLOCK_SKEW:
        yield context.failed(
            "clocks", f"this machine and the cluster are {skew:.0f} s apart", "set this machine's clock by NTP"
        )
    else:
        yield context.passed("clocks", "agree")


def _dry_run(context: CheckContext) -> datetime:
    """Create a ConfigMap as a dry run, which a deploy may do too, and return the time by the cluster's clock.

    Raises NoNamespace where the namespace is missing, and ClusterError.
    """
    metadata = {"name": "monopod-doctor-writes-nothing", "namespace": context.plan.namespace}
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return datetime.fromisoformat(context.cluster.create(probe, dry_run=True)["metadata"]["creationTimestamp"])


def _metrics(context: CheckContext) -> Iterator[Finding]:
    objects, cluster = context.plan.objects, context.cluster
    triggers = [trigger for each in context.plan.workloads for trigger in each.scaling.triggers]
    by_cores = any(trigger.type == "cpu" for trigger in triggers) and "scaledobject" in objects
    if (by_cores or "horizontalpodautoscaler" in objects) and not _serves(cluster, "apis/metrics.k8s.io/v1beta1", "pods"):
        yield context.failed("metrics", "no metrics server: the autoscaler cannot see cpu", "install metrics-server")
    elif "scaledobject" in objects and not _serves(cluster, "apis/external.metrics.k8s.io/v1beta1", "externalmetrics"):
        words = "KEDA's metrics API does not answer: the autoscaler cannot see waiting rows, busy time or lag"
        yield context.failed("metrics", words, "install KEDA, with its operator and its metrics API server")
    else:
        scales = {"horizontalpodautoscaler", "scaledobject"} & {*objects}
        yield context.passed("metrics", "the autoscaler's metrics are there" if scales else "no autoscaler asks for any")


def _gpu(context: CheckContext) -> Iterator[Finding]:
    share = gpu_share(context.settings, context.region)
    if not share:
        return
    if context.region.gpu is None:
        cure = "add gpu to the region, or set gpu_memory to 0 there"
        yield context.failed("GPU", "regions.yaml names no GPU here", cure)
        return
    resource = context.region.gpu.resource
    nodes = context.cluster.raw("/api/v1/nodes")["items"]
    offering = [each for each in nodes if float(each["status"]["allocatable"].get(resource, 0)) > 0]
    if offering:
        yield context.passed("GPU", f"{len(offering)} of {len(nodes)} nodes offer {resource}")
    else:
        yield context.failed("GPU", f"no node offers {resource}", "install its device plugin, or correct gpu in regions.yaml")


def _quotas(context: CheckContext) -> Iterator[Finding]:
    plan = context.plan
    items = context.cluster.raw(f"/api/v1/namespaces/{plan.namespace}/resourcequotas")["items"]
    counts = {each.name: each.replicas for each in plan.workloads}
    names = (*counts, *arm_names(plan.name))
    found = context.cluster.find("Pod", plan.namespace, f"{DEPLOYMENT_LABEL} in ({','.join(names)})")
    own = [each for each in found if not has_ended(each)]  # a pod that has ended uses no quota
    running = Counter(each["metadata"]["labels"][DEPLOYMENT_LABEL] for each in own)
    pod = next(each for each in Rendered(plan).items if each["kind"] == "Deployment")  # offline pods ask for the same
    one = usage(pod["spec"]["template"]["spec"])
    now = summed(usage(each["spec"]) for each in own)

    def short(pods: int) -> str:
        wanted = {name: amount * (pods + len(counts)) for name, amount in one.items()}  # a roll-out has one more of each
        return "; ".join(words for each in items for words in shortages(each, wanted, now))

    pods = max(sum(counts.values()), sum(running[name] for name in counts))
    has_canary = plan.track == "prod" and plan.online and context.settings.canary
    canary = max(counts[plan.name], running[plan.name]) if has_canary else 0
    if words := short(pods):
        yield context.failed("quotas", words, "ask for less, stop another service, or have the quota raised")
    elif words := short(pods + canary):
        cure = "ask for less, stop another service, have the quota raised, or set canary = []"
        yield context.failed("quotas", f"no room for a canary to take over: {words}", cure)
    else:
        more = "one" if len(counts) == 1 else "two"
        beside = f", {canary} of a canary" if canary else ""
        words = f"room for {pods} pods{beside} and {more} more in a roll-out" if items else "none in the namespace"
        yield context.passed("quotas", words)


def _named_objects(context: CheckContext) -> Iterator[Finding]:
    namespace, refusal = context.plan.namespace, None
    names = named_objects(Rendered(context.plan).items)
    for kind, name in names:
        try:
            if has_object(context.cluster, namespace, kind, name):
                continue
        except NoRights as error:  # the others are looked at first
            refusal = error
            continue
        cure = object_cure(context.cluster.context, namespace, kind, name)
        yield context.failed("named objects", f"namespace {namespace} has no {kind} {name}, and its pods cannot start", cure)
        return
    if refusal:
        raise refusal
    listed = ", ".join(f"{kind} {name}" for kind, name in names)
    yield context.passed("named objects", f"there: {listed}" if names else "none is named")


def _gateway(context: CheckContext) -> Iterator[Finding]:
    gateway, kind = context.region.gateway, context.region.routing
    name = f"{gateway.namespace}/{gateway.name}"
    found = context.cluster.found(f"/apis/{GATEWAYS[kind]}/namespaces/{gateway.namespace}/gateways/{gateway.name}")
    if found is None:
        yield context.failed("gateway", f"there is no Gateway {name}", "create it, or correct gateway in regions.yaml")
        return
    words, cure = _without_pods(context, found) if kind == "istio" else _not_programmed(found)
    if words:
        yield context.failed("gateway", f"Gateway {name} leads nowhere: {words}", cure)
    else:
        yield context.passed("gateway", f"{name} is there")


def _not_programmed(gateway: Item) -> tuple[str, str]:
    programmed = conditions(gateway).get("Programmed")
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
    return (
        ("", "")
        if any(map(is_ready, pods))
        else (f"none of its {len(pods)} pods in {namespace} is ready", "look at those pods")
    )


def _gateway_buffer(context: CheckContext) -> Iterator[Finding]:
    subject, wanted = "gateway buffer", gateway_plan(context.region)
    if wanted is None:
        own = binary_quantity(buffer_limit(context.region))
        yield context.passed(subject, f"regions.yaml sets no buffer_limit: the proxies send requests of up to {own} again")
        return
    found = (context.cluster.found("/apis/" + BUFFER_OBJECTS[wanted.kind].format(wanted.namespace)) or {"items": []})["items"]
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
    except ValueError:  # not a size in bytes
        return 0


def _refused(policy: Item) -> str:
    ancestors = policy.get("status", {}).get("ancestors", [])
    accepted = [conditions({"status": each}).get("Accepted") for each in ancestors]
    return "; ".join(each["message"] for each in accepted if each and each["status"] == "False")


def _gateway_url(context: CheckContext) -> Iterator[Finding]:
    if not context.region.way_in:
        return
    url = context.region.way_in
    try:  # any status is an answer, and so is a redirect
        plain = {urllib.parse.urlsplit(url).netloc}
        safe_http.ask(urllib.request.Request(url), plain, MAX_PAGE_BYTES, seconds=5, redirects=False)
    except (NoAnswer, ValueError) as error:
        words = f"{url} does not answer: {getattr(error, 'reason', None) or error}"
        yield context.failed("gateway URL", words, "correct way_in in regions.yaml")
        return
    yield context.passed("gateway URL", f"{url} answers")


GATEWAY_CHECKS: Sequence[Check] = (_gateway, _gateway_buffer, _gateway_url)
CHECKS: Sequence[Check] = (
    _namespace,
    _resource_types,
    _rights,
    _clocks,
    *GATEWAY_CHECKS,
    _metrics,
    _gpu,
    _quotas,
    _named_objects,
)
