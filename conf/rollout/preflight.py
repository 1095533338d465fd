"""The preflight of a release: its history is read, and what would stop it is found before anything is changed.

Changes nothing in the cluster.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from conf.base.object_references import APPLIED, DEPLOYMENT_LABEL, MANAGER, Item, Ref, dropped, is_staying, ref
from conf.base.quantities import GIB, quantity_value
from conf.observe.pod_states import has_ended
from conf.plan.own_pod import ALWAYS, FILE
from conf.plan.placement import pod_total, summed
from conf.remote.cluster import Cluster, NoRights, kubectl
from conf.render.arms import is_arm, weighted
from conf.rollout import field_owners
from conf.rollout import history as histories
from conf.rollout.diagnosis import CURES, QUOTA, create_secret
from conf.rollout.field_owners import is_ours
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.readiness import POLL_SECONDS, deployment_state, gateway_serves, resume_command
from conf.rollout.removal import AUTOSCALER, FINALIZER_CURE, SCALED_OBJECT, drain_seconds, held_by
from conf.rollout.replicas import REPLICAS_MANAGER
from conf.rollout.targets import Blocked, Say, Target

SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")  # written by the API server
QUOTA_SECONDS = 10.0
# Where a pod names an object: in the environment of a container, and in a volume.
REFERENCES = (
    ("secretRef", "Secret"),
    ("secretKeyRef", "Secret"),
    ("configMapRef", "ConfigMap"),
    ("configMapKeyRef", "ConfigMap"),
)
VOLUME_SOURCES = (
    ("secret", "secretName", "Secret"),
    ("configMap", "name", "ConfigMap"),
    ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
)
LISTED_KINDS = ("Pod", "ReplicaSet", "Event")  # what a rollout must be allowed to list

Rollout = tuple[Item | None, Item]  # a Deployment as it is, None where there is none, and as the release applies it


def load_history(target: Target, at: str) -> History:
    """Return the history of a target. at: the time now, ISO 8601.

    Where the history is missing, our objects that are there become its first release: somebody deleted the history and left
    the service. A canary's arms are in its inventory alone, so that the next release takes them away.
    Raises UnreadableHistory, ClusterError.
    """
    kept = target.cluster.get(target.history)
    if kept is not None:
        return histories.read(kept)
    deployment = next((item for name in target.names if (item := _our_object(target, "Deployment", name))), None)
    if deployment is None:
        return History()
    items = _our_objects(target, target.names)
    arms = [each for each in _our_objects(target, target.arms) if is_arm(each, target.service)]
    version = deployment["metadata"].get("labels", {}).get("version", "")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    found = Release(1, version, image, at, target.by, GOOD, "found without a history", 0, tuple(map(ref, (*items, *arms))))
    return History(None, (found,), {1: _without_arms(target, [field_owners.applied_part(item, MANAGER) for item in items])})


def settle_interrupted(target: Target, found: History) -> History:
    """Return a history in which a last release that was broken off counts as good, where it is complete and serves.

    A release is held to the same proof when it ends: each object is as it was applied, all pods are ready, and the gateway
    answers with it.
    """
    last = found.last
    items = found.objects.get(last.number) if last and last.state == BEGUN else None
    if not last or not items or not all(_is_applied(target, item) for item in items):
        return found
    return found.end(GOOD, last.inventory) if _serves(target, last) else found


def serves_already(target: Target, found: History, items: Sequence[Item]) -> bool:
    """Return whether the last release is good, consists of these very objects, and serves without any drift."""
    last = found.last
    if last is None or last.state != GOOD or found.objects.get(last.number) != list(items):
        return False
    if dropped(last.inventory, tuple(map(ref, items))) or not all(_is_applied(target, item, exactly=True) for item in items):
        return False
    return _serves(target, last)


def check_applicable(target: Target, items: Sequence[Item], before: History, say: Say) -> None:
    """Check, before anything is changed, that each object of a release can be applied.

    An object that is being deleted is waited for. A Secret, a ConfigMap or a claim
    that is missing and a quota that is spent raise Blocked, too.
    Raises Blocked, Refused, NoRights, NoNamespace.
    """
    for kind in LISTED_KINDS:
        target.cluster.find(kind, target.namespace, fields="metadata.name=monopod")
    known, rollouts = {each.uid for each in before.inventory if each.uid}, list[Rollout]()
    for item in items:
        live = _wait_for_deletion(target, ref(item), say)
        if live is not None:
            _check_obstacles(target, ref(item), live, live["metadata"]["uid"] in known)
        taken_over = replace(ref(item), kind=AUTOSCALER)
        if item["kind"] == SCALED_OBJECT and (scaler := target.cluster.get(taken_over)):
            _check_obstacles(target, taken_over, scaler, scaler["metadata"]["uid"] in known)
        then = target.cluster.apply(item, dry_run=True)
        if item["kind"] == "Deployment" and not is_arm(item, target.service):  # a canary finds out what it has room for
            rollouts.append((live, then))
        if item["kind"] == "Deployment" and live is not None:
            for manager, paths in field_owners.fields_by_hand(then, (MANAGER, REPLICAS_MANAGER)).items():
                say(f"{manager} has set what this release leaves as it is: {', '.join(paths)}")
    _check_named_objects(target, items)
    _check_quotas(target, rollouts)


def _check_named_objects(target: Target, items: Sequence[Item]) -> None:
    """Check that the objects that the pods name are there, where the rights allow to look. Raises Blocked."""
    for kind, name in named_objects(items):
        with contextlib.suppress(NoRights):
            if not has_object(target.cluster, target.namespace, kind, name):
                cure = object_cure(target.cluster.context, target.namespace, kind, name)
                raise Blocked(f"namespace {target.namespace} has no {kind} {name}, without which no pod starts: {cure}")


def named_objects(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Return the kind and the name of each Secret, ConfigMap and claim that the pods of a release name."""
    pods = [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]
    found = [each for pod in pods for volume in pod.get("volumes", ()) for each in _of_volume(volume)]
    for part in (part for pod in pods for part in (*pod.get("initContainers", ()), *pod["containers"])):
        references = [*part.get("envFrom", ()), *(each.get("valueFrom") or {} for each in part.get("env", ()))]
        found += [(kind, source[field]["name"]) for source in references for field, kind in REFERENCES if field in source]
    return list(dict.fromkeys(found))


def _of_volume(volume: Item) -> Iterator[tuple[str, str]]:
    for source, field, kind in VOLUME_SOURCES:
        if source in volume:
            yield kind, volume[source][field]


def has_object(cluster: Cluster, namespace: str, kind: str, name: str) -> bool:
    """Return whether a Secret, a ConfigMap or a claim is there. Raises NoRights, ClusterError."""
    return cluster.found(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}") is not None


def object_cure(context: str, namespace: str, kind: str, name: str) -> str:
    """Return what creates a Secret, a ConfigMap or a claim that is missing, as an imperative or a command."""
    if kind == "PersistentVolumeClaim":
        return f"create the claim there, or correct its name in data_claim of value.py or in {FILE}"
    words = f"create configmap {name} --namespace {namespace} --from-literal=KEY=VALUE"
    return kubectl(context, create_secret(namespace, name) if kind == "Secret" else words)


def _check_quotas(target: Target, rollouts: Sequence[Rollout]) -> None:
    """Check that the namespace's quotas have room for each Deployment's rollout, where the rights allow to look.

    Raises Blocked. Quotas are looked at again for QUOTA_SECONDS, since they count pods that have just gone a little longer.
    """
    end = time.monotonic() + QUOTA_SECONDS
    with contextlib.suppress(NoRights):
        while words := "; ".join(dict.fromkeys(_shortages(target, rollouts))):
            if time.monotonic() > end:
                raise Blocked(f"the namespace's quota is spent: {words}; {CURES[QUOTA]}")
            time.sleep(POLL_SECONDS)


def _shortages(target: Target, rollouts: Sequence[Rollout]) -> Iterator[str]:
    found = target.cluster.raw(f"/api/v1/namespaces/{target.namespace}/resourcequotas")["items"]
    quotas = [each for each in found if each.get("status") and not {"scopes", "scopeSelector"} & each["spec"].keys()]
    for live, then in rollouts if quotas else ():
        name, template = then["metadata"]["name"], then["spec"]["template"]
        pods = target.cluster.find("Pod", target.namespace, f"{DEPLOYMENT_LABEL} in ({','.join((name, *target.arms))})")
        own = [each for each in pods if not has_ended(each)]  # a pod that has ended uses no quota
        staying = [each["metadata"]["labels"] for each in own if is_staying(each)]
        versions = [labels.get("version") for labels in staying if labels[DEPLOYMENT_LABEL] == name]
        # Pods of a release that is returned to may be there still, and then none has to begin.
        returns = template["metadata"]["labels"].get("version") in versions
        changed = live is not None and live["spec"]["template"] != template and not returns
        wanted = of_rollout(then["spec"].get("replicas", 1), len(versions), changed, template["spec"])
        now = summed(usage(each["spec"]) for each in own)
        yield from (words for quota in quotas for words in shortages(quota, wanted, now))


def comparable(item: Item) -> Item:
    """Return the part of an object that a release decides: without its status, and what the API server notes of each change."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_METADATA}
    return {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}


def _serves(target: Target, release: Release) -> bool:
    """Return whether all pods are ready and the gateway, where it can be asked, answers with a release."""
    found = [replace(each, uid="") for each in release.inventory if each.kind == "Deployment"]
    if not all(deployment_state(target.cluster, each).done for each in found):
        return False
    return target.deployment not in found or not target.gateway or gateway_serves(target.gateway, release.content)


def _our_objects(target: Target, names: Sequence[str]) -> list[Item]:
    return [item for name in names for kind in APPLIED if (item := _our_object(target, kind, name))]


def _without_arms(target: Target, items: list[Item]) -> list[Item]:
    """Return a release's objects with a route to its own pods alone, whatever shares a canary had."""
    routes = {ref(each): each for each in weighted(items, {target.service: 100})}
    return [routes.get(ref(each), each) for each in items]


def _our_object(target: Target, kind: str, name: str) -> Item | None:
    """Return the object of a kind that we applied; None where there is none, or where its kind may not be read."""
    try:
        item = target.cluster.get(Ref(kind, target.namespace, name))
    except NoRights:
        return None
    return item if item and is_ours(item) and is_staying(item) else None


def _is_applied(target: Target, item: Item, *, exactly: bool = False) -> bool:
    """Return whether an object is there, and applying it would change nothing.

    exactly: it must be ours besides, and have no more pods than it asks for.
    """
    live = target.cluster.get(ref(item))
    if live is None or not is_staying(live):
        return False
    if exactly and not is_ours(live):
        return False
    if item["kind"] == "Deployment" and not exactly:
        count = max(live["spec"].get("replicas", 1), item["spec"].get("replicas", 1))
        item = {**item, "spec": {**item["spec"], "replicas": count}}
    return comparable(target.cluster.apply(item, dry_run=True)) == comparable(live)


def _wait_for_deletion(target: Target, each: Ref, say: Say) -> Item | None:
    """Return a live object, or None. An object that is being deleted is waited for. Raises Blocked where it stays."""
    begin, told = time.monotonic(), False
    each = replace(each, uid="")
    while (live := target.cluster.get(each)) and not is_staying(live):
        seconds = drain_seconds(target, live)
        if time.monotonic() > begin + seconds:
            words = f"{each} is being deleted and still there after {seconds:.0f} s, {held_by(live)}"
            raise Blocked(f"{words}; {FINALIZER_CURE}")
        if not told:
            say(f"waiting until {each} is gone")
            told = True
        time.sleep(POLL_SECONDS)
    return live


def _check_obstacles(target: Target, each: Ref, live: Item, known: bool) -> None:
    """Raise Blocked where the live object is somebody else's, or is paused. known: whether an inventory has its uid."""
    owners = [f"{owner['kind']} {owner['name']}" for owner in live["metadata"].get("ownerReferences", [])]
    if each.kind == AUTOSCALER and owners == [f"{SCALED_OBJECT} {each.name}"]:
        each = replace(each, kind=SCALED_OBJECT)  # KEDA's, for a ScaledObject: ours, where that is ours
        live, owners = target.cluster.get(each) or live, []
    managers = sorted({entry["manager"] for entry in live["metadata"].get("managedFields", []) if entry.get("manager")})
    if not is_ours(live) and not (known and not owners):
        whose = f"owned by {', '.join(owners)}" if owners else f"made by {', '.join(managers) or 'another'}"
        since = live["metadata"].get("creationTimestamp", "")
        raise Blocked(
            f"{each} is there already and is not ours: {whose} since {since}; take another service_name, or delete it"
        )
    if live["kind"] == "Deployment" and live["spec"].get("paused"):
        raise Blocked(f"{each} is paused by hand: {resume_command(target.cluster.context, each)}")


def usage(pod: Item) -> dict[str, float]:
    """Return what a pod uses of a quota, by the quota's own names, such as `requests.cpu`.

    pod: its spec. Amounts are in cores, bytes or counts.
    """
    first = [(_amounts(each), each.get("restartPolicy") == ALWAYS) for each in pod.get("initContainers", ())]
    return {"pods": 1, "count/pods": 1, **pod_total(map(_amounts, pod["containers"]), first)}


def _amounts(container: Item) -> dict[str, float]:
    return {
        f"{kind}.{name}": quantity_value(amount)
        for kind in ("requests", "limits")
        for name, amount in (container.get("resources", {}).get(kind) or {}).items()
    }


def of_rollout(replicas: int, there: int, changed: bool, pod: Item) -> dict[str, float]:
    """Return the least that a Deployment's pods use of a quota before its rollout can end.

    replicas: its pods at the end. there: those of now. changed: whether they are replaced, which begins with one pod more.
    pod: the spec of one.
    """
    pods = max(replicas, there + 1 if changed else 0)
    return {name: amount * pods for name, amount in usage(pod).items()}


def shortages(quota: Item, wanted: Mapping[str, float], own: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each resource that a quota has less left of than is wanted.

    wanted, own: what the service's pods will use and use now. All other use counts as others'.
    """
    hard, used = quota["status"].get("hard", {}), quota["status"].get("used", {})
    for name, allowed in hard.items():
        full = f"requests.{name}" if name in ("cpu", "memory") else name
        others = max(0.0, quantity_value(used.get(name, "0")) - own.get(full, 0))
        if full in wanted and wanted[full] > quantity_value(allowed) - others:
            amounts = [f"{each / GIB:.4g}Gi" if "memory" in name else f"{each:g}" for each in (others, wanted[full])]
            words = f"{quota['metadata']['name']} allows {allowed} {name}, others use {amounts[0]} of it"
            yield f"{words}; the pods take {amounts[1]}, with what a roll-out adds"
