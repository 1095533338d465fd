"""Schemas judge rendered objects as strictly as an API server does, and each rule refuses a harmful change."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf.base.yaml_nodes import documents
from conf.rules.rendered_objects import RULES, SCHEMAS, violations
from tests.conf.golden import renders

# Kinds that the charts may hold, beside those of services. Their objects are judged where the charts are rendered.
IN_CHARTS = {
    "clienttrafficpolicy", "configmap", "daemonset", "envoyfilter",
    "gateway", "namespace", "resourcequota", "role", "rolebinding", "secret",
}  # fmt: skip
OBJECTS = {item["kind"]: item for _, text in renders() for item in documents(text)}


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_is_rendered_is_valid_and_an_unknown_field_is_not(kind: str) -> None:
    item = copy.deepcopy(OBJECTS[kind])
    assert list(violations(item)) == []
    item["spec" if "spec" in item else "metadata"]["surprise"] = 1
    assert ["surprise" in words for words in violations(item)] == [True]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.replicas", "two"),
        ("Service", "spec.ports", {}),
        ("VirtualService", "spec.http", "x"),
        ("HTTPRoute", "spec.rules", [{"timeouts": {"request": "soon"}}]),
        ("BackendTrafficPolicy", "spec.loadBalancer.type", "Fastest"),
        ("ScaledObject", "spec.minReplicaCount", "2"),
        ("PrometheusRule", "spec.groups", [{}]),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_its_path(kind: str, path: str, value: object) -> None:
    item: Any = copy.deepcopy(OBJECTS[kind])
    *parents, last = path.split(".")
    place = item
    for parent in parents:
        place = place[parent]
    place[last] = value
    (words, *_) = violations(item)
    assert words.startswith(f"{kind}.{path}")


def test_a_kind_without_a_schema_is_told() -> None:
    (wrong,) = violations({"apiVersion": "example.com/v1", "kind": "Thing"})
    assert wrong.startswith("example.com/v1 Thing has no schema")


def test_two_kinds_of_one_name_have_a_schema_each() -> None:
    named = {"metadata": {"name": "x", "namespace": "y"}, "kind": "Gateway"}
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    standard = {"apiVersion": "gateway.networking.k8s.io/v1", "spec": {"gatewayClassName": "envoy", "listeners": [listener]}}
    istio = {"apiVersion": "networking.istio.io/v1", "spec": {"selector": {"istio": "ingress"}}}
    assert [*violations({**named, **standard}), *violations({**named, **istio})] == []
    assert list(violations({**named, **istio, "spec": standard["spec"]}))


def test_only_kinds_that_are_rendered_have_a_schema_here_and_the_note_names_each() -> None:
    files = {path.name for path in SCHEMAS.glob("*.json")}
    note = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    assert {name.partition("-")[0] for name in files} <= {kind.lower() for kind in OBJECTS} | IN_CHARTS
    assert [name for name in files if name not in note] == []


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_holds_no_prose(path: Path) -> None:
    assert '"description"' not in json.dumps(json.loads(path.read_text(encoding="utf-8")))


ITEMS = documents(next(text for path, text in renders() if path.parent.name == "gpu"))
Change = Callable[[dict[str, Any]], object]


def broken(change: Change) -> list[str]:
    """Return the violations of a render after a change. change: gets the objects by kind."""
    items = copy.deepcopy(ITEMS)
    change({item["kind"]: item for item in items})
    return [words for rule in RULES for words in rule(items)]


def pod(items: dict[str, Any]) -> Any:
    return items["Deployment"]["spec"]["template"]["spec"]


def container(items: dict[str, Any]) -> Any:
    return pod(items)["containers"][0]


CHANGES: dict[str, tuple[Change, str]] = {
    "the node's network": (lambda items: pod(items).update(hostNetwork=True), "hostNetwork must not be set"),
    "a token": (lambda items: pod(items).pop("automountServiceAccountToken"), "automountServiceAccountToken must be false"),
    "a folder of the node": (
        lambda items: pod(items)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "volume x must be one of",
    ),
    "sysctls": (lambda items: pod(items)["securityContext"].update(sysctls=[{}]), "sysctls must not be set"),
    "root": (lambda items: pod(items)["securityContext"].update(runAsUser=0), "runAsNonRoot must be true and runAsUser not 0"),
    "no seccomp": (lambda items: pod(items)["securityContext"].pop("seccompProfile"), "seccompProfile must be RuntimeDefault"),
    "privileges": (
        lambda items: container(items)["securityContext"].update(privileged=True),
        "allowPrivilegeEscalation must be",
    ),
    "a root that is written to": (
        lambda items: container(items)["securityContext"].pop("readOnlyRootFilesystem"),
        "readOnlyRootFilesystem must be true",
    ),
    "capabilities": (
        lambda items: container(items)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        "capabilities must drop ALL and add none",
    ),
    "memory without end": (lambda items: container(items)["resources"]["limits"].pop("memory"), "no memory limit"),
    "a disk without end": (lambda items: pod(items)["volumes"][0]["emptyDir"].clear(), "emptyDir has no sizeLimit"),
    "no policy": (lambda items: items["NetworkPolicy"].update(kind="Other"), "no NetworkPolicy: every pod"),
    "any caller": (lambda items: items["NetworkPolicy"]["spec"]["ingress"][0].update({"from": []}), "lets everyone in"),
    "any namespace": (
        lambda items: items["NetworkPolicy"]["spec"]["ingress"][0].update({"from": [{"namespaceSelector": {}}]}),
        "lets everyone in",
    ),
    "any port": (lambda items: items["NetworkPolicy"]["spec"]["ingress"][0].pop("ports"), "lets everyone in"),
    "a selector that finds nothing": (
        lambda items: items["Service"]["spec"]["selector"].update(app="other"),
        "Service selects {'app.kubernetes.io/name': 'gpu', 'app': 'other'}",
    ),
    "a grace period that is none": (
        lambda items: pod(items).update(terminationGracePeriodSeconds=1),
        "terminationGracePeriodSeconds must be above preStop",
    ),
    "a name that is too long": (lambda items: items["Service"]["metadata"].update(name="x" * 41), "40 characters at most"),
    "two namespaces": (lambda items: items["Service"]["metadata"].update(namespace="x"), "objects stand in the namespaces"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_harmful_object_is_told(name: str) -> None:
    change, told = CHANGES[name]
    assert any(told in words for words in broken(change)), broken(change)


def test_every_golden_render_keeps_every_rule() -> None:
    found = {path.name: [words for rule in RULES for words in rule(documents(text))] for path, text in renders()}
    assert {name: words for name, words in found.items() if words} == {}
