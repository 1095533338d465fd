"""Each rule about rendered objects is broken by a harmful change, as an edit of a template could make it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from conf.base.yamls import documents
from conf.rules.rendered_objects import RULES
from tests.conf.golden import renders

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
