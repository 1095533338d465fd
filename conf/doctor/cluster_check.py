"""The way from here to running pods, checked link by link, each with the cure of what is wrong.

Knows what a deploy will need of a cluster. Changes nothing: what it writes is a dry run. Does not know how findings look.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.base.references import KINDS, Item
from conf.clusters.region import Region
from conf.doctor import gateway_check
from conf.doctor.findings import Check, Finding, Patient
from conf.doctor.quotas import short, taken, together
from conf.plan.plan import Plan
from conf.plan.pods import gpu_share
from conf.remote.cluster import Cluster, ClusterError, NoNamespace, NoRights, kubectl
from conf.rollout.preflight import LISTED_KINDS
from serving.settings import Settings

OLDEST = (1, 30)  # of Kubernetes: preStop.sleep
MOST_SECONDS_APART = 30  # clocks: a lease or a token of a minute still works
MADE = ("get", "create", "patch", "delete")  # what is done to a release's objects
KEPT = ("get", "create", "update", "delete")  # to the history and the lease, which are written whole


def examine(region: Region, plan: Plan, settings: Settings) -> list[Finding]:
    """Check everything in one region. A cluster that cannot be reached has nothing more to check."""
    try:
        patient = Patient(region, plan, settings, Cluster(region.context))
        found = list(_server(patient))
    except ClusterError as error:
        return [Finding(region.name, "API server", str(error), "mend that first; nothing else could be checked")]
    for check in CHECKS:
        subject = check.__name__.strip("_").replace("_", " ").replace("gpu", "GPU")
        try:
            found += check(patient)
        except NoRights:
            found.append(patient.closed(subject, "these rights do not allow to look; a deploy does not need them"))
        except ClusterError as error:
            found.append(patient.bad(subject, str(error), "mend that first; this could not be checked"))
    return found


def _server(patient: Patient) -> Iterator[Finding]:
    version = patient.cluster.raw("/version")
    number = tuple(int("".join(c for c in version[part] if c.isdigit()) or 0) for part in ("major", "minor"))
    if number < OLDEST:
        yield patient.bad("API server", f"Kubernetes {version['gitVersion']}", "pods need 1.30 or newer: upgrade the cluster")
    else:
        yield patient.good("API server", f"context {patient.cluster.context}: Kubernetes {version['gitVersion']}")


def _namespace(patient: Patient) -> Iterator[Finding]:
    name = patient.plan.namespace
    try:
        found = patient.cluster.raw(f"/api/v1/namespaces/{name}")
    except NoRights:
        _write_nothing(patient)
        yield patient.closed("namespace", f"{name} is there; these rights do not allow to look at its labels")
        return
    except ClusterError as error:
        if error.status != 404:
            raise
        yield patient.bad(
            "namespace", f"there is no namespace {name}", kubectl(patient.cluster.context, f"create namespace {name}")
        )
        return
    if found["status"]["phase"] != "Active":
        yield patient.bad("namespace", f"namespace {name} is being deleted", "wait until it is gone, and create it again")
        return
    labels = found["metadata"].get("labels", {})
    standard = labels.get("pod-security.kubernetes.io/enforce", "privileged")
    if any(port.host_port for port in patient.plan.pod.ports) and standard != "privileged":
        label = f"label --overwrite namespace {name} pod-security.kubernetes.io/enforce=privileged"
        cure = f"{kubectl(patient.cluster.context, label)}, or do without use_srv"
        yield patient.bad("namespace", f"{name} enforces the {standard} standard, which takes no host port", cure)
    elif patient.region.sidecars and labels.get("istio-injection") != "enabled" and "istio.io/rev" not in labels:
        cure = kubectl(patient.cluster.context, f"label namespace {name} istio-injection=enabled")
        yield patient.bad("namespace", f"{name} gets no sidecars, and regions.yaml says that pods have them", cure)
    else:
        yield patient.good("namespace", f"{name} is there")


def _resource_types(patient: Patient) -> Iterator[Finding]:
    wanted = {*patient.plan.objects}
    missing = []
    for kind, (prefix, plural) in KINDS.items():
        if kind.lower() in wanted and not _serves(patient.cluster, prefix, plural):
            missing.append(f"{kind} ({prefix.removeprefix('apis/')})")
    if missing:
        cure = "install what brings them: the Gateway API and Envoy Gateway, Istio, the Prometheus operator, KEDA"
        yield patient.bad("resource types", f"the cluster does not know {', '.join(missing)}", cure)
    else:
        yield patient.good("resource types", f"all {len(wanted)} are known")


def _serves(cluster: Cluster, prefix: str, plural: str) -> bool:
    try:
        return any(each["name"] == plural for each in cluster.raw(f"/{prefix}")["resources"])
    except ClusterError as error:
        if error.status != 404:
            raise
        return False


def _rights(patient: Patient) -> Iterator[Finding]:
    made = [kind for kind in KINDS if kind.lower() in patient.plan.objects]
    wanted = [(verb, kind, "") for kind in made for verb in MADE]
    wanted += [(verb, kind, "") for kind in ("ConfigMap", "Lease") for verb in KEPT]
    wanted += [("list", kind, "") for kind in LISTED_KINDS] + [("get", "Pod", "log")]
    asked = ((each, patient.cluster.may(*each[:2], patient.plan.namespace, each[2])) for each in wanted)
    lacking = [f"{verb} {kind}{' ' if part else ''}{part}" for (verb, kind, part), allowed in asked if not allowed]
    if lacking:
        words = f"not allowed in {patient.plan.namespace}: {', '.join(lacking)}"
        yield patient.bad("rights", words, "have a Role with these bound to whoever deploys; docs/deploy.md lists it")
    else:
        yield patient.good("rights", f"all {len(wanted)} that a deploy needs in {patient.plan.namespace}")


def _clocks(patient: Patient) -> Iterator[Finding]:
    try:
        made = _write_nothing(patient)
    except NoNamespace:
        return  # which is told already
    apart = abs((datetime.now(UTC) - made).total_seconds())
    if apart > MOST_SECONDS_APART:
        yield patient.bad("clocks", f"this machine and the cluster are {apart:.0f} s apart", "set this machine's clock by NTP")
    else:
        yield patient.good("clocks", "agree")


def _write_nothing(patient: Patient) -> datetime:
    """Create as a dry run what a deploy may create anyway, and return when that was, by the cluster's clock."""
    metadata = {"name": "monopod-doctor-writes-nothing", "namespace": patient.plan.namespace}
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return datetime.fromisoformat(patient.cluster.create(probe, dry_run=True)["metadata"]["creationTimestamp"])


def _metrics(patient: Patient) -> Iterator[Finding]:
    scaled = "horizontalpodautoscaler" in patient.plan.objects
    if scaled and not _serves(patient.cluster, "apis/metrics.k8s.io/v1beta1", "pods"):
        yield patient.bad("metrics", "no metrics server: the autoscaler cannot see cpu", "install metrics-server")
    else:
        yield patient.good("metrics", "the autoscaler's metrics are there" if scaled else "no autoscaler asks for any")


def _gpu(patient: Patient) -> Iterator[Finding]:
    share = gpu_share(patient.settings, patient.region)
    if not share:
        return
    if patient.region.gpu is None:
        cure = "add gpu to the region, or set gpu_memory to 0 there"
        yield patient.bad("GPU", "regions.yaml says of no GPU here", cure)
        return
    resource = patient.region.gpu.resource
    nodes = patient.cluster.raw("/api/v1/nodes")["items"]
    offering = [each for each in nodes if float(each["status"]["allocatable"].get(resource, 0)) > 0]
    if offering:
        yield patient.good("GPU", f"{len(offering)} of {len(nodes)} nodes offer {resource}")
    else:
        yield patient.bad("GPU", f"no node offers {resource}", "install its device plugin, or correct gpu in regions.yaml")


def _quotas(patient: Patient) -> Iterator[Finding]:
    plan = patient.plan
    items = patient.cluster.raw(f"/api/v1/namespaces/{plan.namespace}/resourcequotas")["items"]
    selector = ",".join(f"{key}={value}" for key, value in plan.selector)
    own = [each for each in patient.cluster.find("Pod", plan.namespace, selector) if _counts(each)]
    one = taken([{"requests": dict(plan.pod.requests), "limits": dict(plan.pod.limits)}])
    pods = max(plan.replicas, len(own))
    wanted = {name: amount * (pods + 1) for name, amount in one.items()}  # a roll-out has one pod more
    now = together(taken([part.get("resources", {}) for part in each["spec"]["containers"]]) for each in own)
    said = [words for each in items for words in short(each, wanted, now)]
    if said:
        yield patient.bad("quotas", "; ".join(said), "ask for less, stop another service, or have the quota raised")
    else:
        yield patient.good("quotas", f"room for {pods} pods and one more in a roll-out" if items else "none in the namespace")


def _counts(pod: Item) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


CHECKS: Sequence[Check] = (_namespace, _resource_types, _rights, _clocks, *gateway_check.CHECKS, _metrics, _gpu, _quotas)
