"""The check of the rendered objects, which hold whatever a template says: their published schemas, then rules of the platform.

The only module that imports jsonschema_rs.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from conf.base.object_references import Item

SCHEMAS = Path(__file__).parent / "schemas"


def violations(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each violation of an object's schema."""
    validator = _validator(item.get("apiVersion", ""), item.get("kind", ""))
    if validator is None:
        yield f"{item.get('apiVersion')} {item.get('kind')} has no schema here: add one to conf/rules/schemas"
    elif not validator.is_valid(item):
        for error in validator.iter_errors(item):
            yield f"{item['kind']}.{'.'.join(map(str, error.instance_path))}: {error.message[:300]}"


@cache
def _validator(version: str, kind: str) -> Draft202012Validator | None:
    group, _, number = version.rpartition("/")
    names = (
        f"{kind.lower()}-{number}.json",
        f"{kind.lower()}-{group}-{number}.json",
    )  # the latter where two groups have a kind
    found = next((path for name in names if (path := SCHEMAS / name).exists()), None)
    return Draft202012Validator(json.loads(found.read_text(encoding="utf-8"))) if found else None


LABEL = re.compile("[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
# Kubernetes adds to a name: "-", 10 letters, "-" and 5 letters.
MAX_SUFFIX = 23  # characters, with room for more
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def names_are_labels_and_leave_room(items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        name = item["metadata"]["name"]
        if not LABEL.fullmatch(name) or len(name) + MAX_SUFFIX > 63:
            longest = 63 - MAX_SUFFIX
            yield f"{item['kind']} {name!r}: a name is a DNS label of {longest} characters at most: shorten service_name"


def objects_share_a_namespace(items: Sequence[Item]) -> Iterator[str]:
    found = sorted({item["metadata"]["namespace"] for item in items})
    if len(found) > 1:
        yield f"objects stand in the namespaces {', '.join(found)}: a track has one; correct the template"


def selectors_find_the_pods(items: Sequence[Item]) -> Iterator[str]:
    """Each selector finds the pods of the Deployment of its object's name, and of no other one."""
    pods = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"] for item in _kind(items, "Deployment")}
    for item in items:
        spec = item.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector") or {}
        wanted = selector.get("matchLabels", selector)
        if item["kind"] == "ServiceMonitor" or not wanted:
            continue
        for name, labels in pods.items():
            own = name == item["metadata"]["name"]
            if own != (wanted.items() <= labels.items()):
                words = "" if own else f" of {name}"
                yield f"{item['kind']} selects {wanted}, and the pods{words} carry {labels}: correct the template"


def pods_are_restricted(items: Sequence[Item]) -> Iterator[str]:
    """The restricted pod security standard in full, but for host ports, which have a rule of their own."""
    for deployment in _kind(items, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield f"{field} must not be set"
        if pod.get("automountServiceAccountToken") is not False:
            yield "automountServiceAccountToken must be false"
        if pod.get("securityContext", {}).get("sysctls"):
            yield "sysctls must not be set"
        for volume in pod.get("volumes", []):
            if not (set(volume) - {"name"}) <= VOLUMES:
                yield f"volume {volume['name']} must be one of {', '.join(sorted(VOLUMES))}"
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield from _restricted(container, pod.get("securityContext", {}))


def _restricted(container: Item, pod_context: Item) -> Iterator[str]:
    own = container.get("securityContext", {})
    context = {**pod_context, **own}
    name = f"container {container['name']}"
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation must be false, and privileged not set"
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield f"{name}: runAsNonRoot must be true and runAsUser not 0"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: readOnlyRootFilesystem must be true"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name}: capabilities must drop ALL and add none"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"{name}: seccompProfile must be RuntimeDefault"
    if own.get("procMount", "Default") != "Default" or context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{name}: procMount and appArmorProfile must stay as they are by default"


def memory_is_bounded(items: Sequence[Item]) -> Iterator[str]:
    for deployment in _kind(items, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        if any("memory" not in each["resources"]["limits"] for each in (*pod.get("initContainers", ()), *pod["containers"])):
            yield "a container has no memory limit: it could take the node's"
        if any("emptyDir" in volume and "sizeLimit" not in volume["emptyDir"] for volume in pod.get("volumes", [])):
            yield "an emptyDir has no sizeLimit: it could fill the node's disk"


def callers_are_named(items: Sequence[Item]) -> Iterator[str]:
    """An empty list of peers lets everyone in, and so does an empty selector."""
    policies = list(_kind(items, "NetworkPolicy"))
    if not policies:
        yield "no NetworkPolicy: every pod of the cluster could call the service"
    for policy in policies:
        for rule in policy["spec"]["ingress"]:
            peers = rule.get("from") or [{}]
            named = [peer.get("ipBlock") or peer.get("namespaceSelector", {}).get("matchLabels") for peer in peers]
            if not rule.get("ports") or not all(named):
                yield "NetworkPolicy has a rule without a port or a caller, which lets everyone in: correct the template"


def times_agree(items: Sequence[Item]) -> Iterator[str]:
    for deployment in _kind(items, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        pre_stop = pod["containers"][0].get("lifecycle", {}).get("preStop")
        before = pre_stop["sleep"]["seconds"] if pre_stop else 0
        if pod["terminationGracePeriodSeconds"] <= before:
            yield "terminationGracePeriodSeconds must be above preStop, or the pod is killed before it may drain"


def _kind(items: Sequence[Item], kind: str) -> Iterator[Item]:
    return (item for item in items if item["kind"] == kind)


RULES = (
    names_are_labels_and_leave_room,
    objects_share_a_namespace,
    selectors_find_the_pods,
    pods_are_restricted,
    memory_is_bounded,
    callers_are_named,
    times_agree,
)
