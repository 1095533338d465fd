"""Checks of a cluster: its API server, namespace, rights, clock, resource kinds, gateway, GPUs and quotas.

Knows what a deploy needs of a cluster. Changes nothing: its one write is a dry run. Does not know how findings look.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.base.object_references import KINDS, Item
from conf.clusters.region import Region
from conf.doctor import gateway_check
from conf.doctor.findings import Check, CheckContext, Finding
from conf.doctor.quotas import shortages, summed, usage
from conf.plan.plan import Plan
from conf.plan.pods import gpu_share
from conf.remote.cluster import Cluster, ClusterError, NoNamespace, NoRights, kubectl
from conf.rollout.preflight import LISTED_KINDS
from serving.settings import Settings

OLDEST_VERSION = (1, 30)  # Kubernetes has preStop.sleep since this version
MAX_CLOCK_SKEW = 30  # seconds: a lease or a token that lasts a minute still works
OBJECT_VERBS = ("get", "create", "patch", "delete")  # a release applies its objects
RECORD_VERBS = ("get", "create", "update", "delete")  # a release replaces its history and its lease as a whole


def cluster_findings(region: Region, plan: Plan, settings: Settings) -> list[Finding]:
    """Return the findings of all checks in one region. Where its API server does not answer, that is the only finding."""
    try:
        context = CheckContext(region, plan, settings, Cluster(region.context))
        found = list(_server(context))
    except ClusterError as error:
        return [Finding(region.name, "API server", str(error), "fix that first; nothing else could be checked")]
    for check in CHECKS:
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
        found = context.cluster.raw(f"/api/v1/namespaces/{name}")
    except NoRights:
        _dry_run(context)
        yield context.skipped("namespace", f"{name} is there; your rights do not allow to look at its labels")
        return
    except ClusterError as error:
        if error.status != 404:
            raise
        yield context.failed(
            "namespace", f"there is no namespace {name}", kubectl(context.cluster.context, f"create namespace {name}")
        )
        return
    if found["status"]["phase"] != "Active":
        yield context.failed("namespace", f"namespace {name} is being deleted", "wait until it is gone, and create it again")
        return
    labels = found["metadata"].get("labels", {})
    standard = labels.get("pod-security.kubernetes.io/enforce", "privileged")
    if any(port.host_port for port in context.plan.pod.ports) and standard != "privileged":
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
    try:
        return any(each["name"] == plural for each in cluster.raw(f"/{prefix}")["resources"])
    except ClusterError as error:
        if error.status != 404:
            raise
        return False


def _rights(context: CheckContext) -> Iterator[Finding]:
    kinds = [kind for kind in KINDS if kind.lower() in context.plan.objects]
    wanted = [(verb, kind, "") for kind in kinds for verb in OBJECT_VERBS]
    wanted += [(verb, kind, "") for kind in ("ConfigMap", "Lease") for verb in RECORD_VERBS]
    wanted += [("list", kind, "") for kind in LISTED_KINDS] + [("get", "Pod", "log")]
    asked = ((each, context.cluster.may(*each[:2], context.plan.namespace, each[2])) for each in wanted)
    lacking = [f"{verb} {kind}{' ' if part else ''}{part}" for (verb, kind, part), allowed in asked if not allowed]
    if lacking:
        words = f"not allowed in {context.plan.namespace}: {', '.join(lacking)}"
        yield context.failed(
            "rights", words, "bind a Role with these rights to the account that deploys; docs/deploy.md lists it"
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
    scaled = "horizontalpodautoscaler" in context.plan.objects
    if scaled and not _serves(context.cluster, "apis/metrics.k8s.io/v1beta1", "pods"):
        yield context.failed("metrics", "no metrics server: the autoscaler cannot see cpu", "install metrics-server")
    else:
        yield context.passed("metrics", "the autoscaler's metrics are there" if scaled else "no autoscaler asks for any")


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
    selector = ",".join(f"{key}={value}" for key, value in plan.selector)
    own = [each for each in context.cluster.find("Pod", plan.namespace, selector) if _uses_quota(each)]
    one = usage([{"requests": dict(plan.pod.requests), "limits": dict(plan.pod.limits)}])
    pods = max(plan.replicas, len(own))
    wanted = {name: amount * (pods + 1) for name, amount in one.items()}  # a roll-out has one pod more
    now = summed(usage([part.get("resources", {}) for part in each["spec"]["containers"]]) for each in own)
    found = [words for each in items for words in shortages(each, wanted, now)]
    if found:
        yield context.failed("quotas", "; ".join(found), "ask for less, stop another service, or have the quota raised")
    else:
        yield context.passed("quotas", f"room for {pods} pods and one more in a roll-out" if items else "none in the namespace")


def _uses_quota(pod: Item) -> bool:
    """Return whether a pod uses a quota. A pod that has ended does not."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


CHECKS: Sequence[Check] = (_namespace, _resource_types, _rights, _clocks, *gateway_check.CHECKS, _metrics, _gpu, _quotas)
