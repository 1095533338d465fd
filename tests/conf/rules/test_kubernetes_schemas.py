"""Schemas judge rendered objects as strictly as an API server does: by kind, version and every field."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from conf.base.yamls import documents
from conf.rules.kubernetes_schemas import SCHEMAS, violations
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
    assert list(violations({"apiVersion": "example.com/v1", "kind": "Thing"})) == [
        "example.com/v1 Thing has no schema here: add one to conf/rules/schemas"
    ]


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
