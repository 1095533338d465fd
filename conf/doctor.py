"""The way from here to running pods, checked link by link, each with the cure of what is wrong.

Knows what a deploy will need of a cluster. Changes nothing: what it writes is a dry run. Does not know how findings look.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conf.cluster import Cluster, ClusterError, NoNamespace, NoRights
from conf.clusters import Region, Regions
from conf.plan import Plan
from conf.pods import gpu_share
from conf.quotas import short, taken, together
from conf.refs import KINDS, Item
from conf.rollout.present import READ
from serving.schema import Settings

OLDEST = (1, 30)  # of Kubernetes: preStop.sleep
MOST_SECONDS_APART = 30  # clocks: a lease or a token of a minute still works
MADE = ("get", "create", "patch", "delete")  # what is done to a release's objects
KEPT = ("get", "create", "update", "delete")  # to the history and the lease, which are written whole


@dataclass(frozen=True)
class Finding:
    """One link of the way. words: what was seen. cure: what to do, "" where all is well. seen: whether one may look at it."""

    region: str
    subject: str
    words: str
    cure: str = ""
    seen: bool = True


Check = Callable[["Patient"], Iterator[Finding]]


@dataclass(frozen=True)
class Patient:
    """One track of a service in one region, and the cluster that it goes to."""

    region: Region
    plan: Plan
    settings: Settings
    cluster: Cluster

    def good(self, subject: str, words: str) -> Finding:
        return Finding(self.region.name, subject, words)

    def bad(self, subject: str, words: str, cure: str) -> Finding:
        return Finding(self.region.name, subject, words, cure)

    def closed(self, subject: str, words: str) -> Finding:
        """Return what may not be looked at. A deploy does not look there either, so nothing is wrong yet."""
        return Finding(self.region.name, subject, words, seen=False)


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


def registry(regions: Regions) -> Finding:
    """Check that the registry answers; it may well ask for a password."""
    host = regions.registry.partition("/")[0]
    scheme = "http" if host.startswith(("localhost", "127.")) else "https"
    try:
        with urllib.request.urlopen(f"{scheme}://{host}/v2/", timeout=5) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding("", "registry", f"{host} does not answer: {reason}", "check registry in regions.yaml, and the network")
    if status in (200, 401, 403):
        return Finding("", "registry", f"{host} answers")
    return Finding(
        "", "registry", f"{host} answers with status {status}", "check that registry in regions.yaml names a registry"
    )


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
        yield patient.bad("namespace", f"there is no namespace {name}", f"kubectl create namespace {name}")
        return
    if found["status"]["phase"] != "Active":
        yield patient.bad("namespace", f"namespace {name} is being deleted", "wait until it is gone, and create it again")
        return
    labels = found["metadata"].get("labels", {})
    standard = labels.get("pod-security.kubernetes.io/enforce", "privileged")
    if any(port.host for port in patient.plan.pod.ports) and standard != "privileged":
        cure = (
            f"kubectl label --overwrite namespace {name} pod-security.kubernetes.io/enforce=privileged, or do without use_srv"
        )
        yield patient.bad("namespace", f"{name} enforces the {standard} standard, which takes no host port", cure)
    elif patient.region.sidecars and labels.get("istio-injection") != "enabled" and "istio.io/rev" not in labels:
        cure = f"kubectl label namespace {name} istio-injection=enabled"
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
    wanted += [("list", kind, "") for kind in READ] + [("get", "Pod", "log")]
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


def _gateway(patient: Patient) -> Iterator[Finding]:
    gateway, kind = patient.region.gateway, patient.region.routing
    group = "networking.istio.io/v1" if kind == "istio" else "gateway.networking.k8s.io/v1"
    name = f"{gateway.namespace}/{gateway.name}"
    try:
        found = patient.cluster.raw(f"/apis/{group}/namespaces/{gateway.namespace}/gateways/{gateway.name}")
    except ClusterError as error:
        if error.status != 404:
            raise
        yield patient.bad("gateway", f"there is no Gateway {name}", "create it, or correct gateway in regions.yaml")
        return
    conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
    programmed = conditions.get("Programmed")
    if kind == "gateway-api" and (programmed is None or programmed["status"] != "True"):
        words = programmed["message"] if programmed else "no controller has taken it"
        yield patient.bad("gateway", f"Gateway {name} leads nowhere: {words}", "look at its controller and its class")
    else:
        yield patient.good("gateway", f"{name} is there")


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


CHECKS: Sequence[Check] = (_namespace, _resource_types, _rights, _clocks, _gateway, _way_in, _metrics, _gpu, _quotas)
