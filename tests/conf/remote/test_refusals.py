"""Refusals of an API server in words. Each body below is one of a real API server."""

import json
import re

import pytest

from conf.remote.cluster import (
    BadCredentials,
    Cluster,
    ClusterError,
    NoNamespace,
    NoRights,
    Refused,
    Unreachable,
    kubectl,
    refusal,
)
from tests.running import ROOT


def body(message: str, reason: str = "", **details: str) -> str:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details})


NO_RIGHT = 'leases.coordination.k8s.io is forbidden: User "ann" cannot create resource "leases" in API group "x"'
ANONYMOUS = 'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces"'
ENDING = 'leases "x" is forbidden: unable to create new content in namespace like because it is being terminated'
QUOTA = 'pods "cats" is forbidden: exceeded quota: team, requested: cpu=2, used: cpu=3, limited: cpu=4'
POLICY = 'admission webhook "policy.example.com" denied the request: no'


@pytest.mark.parametrize(
    ("status", "text", "kind", "told"),
    [
        (0, "", Unreachable, "is the network up"),
        (401, body("Unauthorized"), BadCredentials, "expired or withdrawn"),
        (403, body(ANONYMOUS), BadCredentials, "does not know these credentials"),
        (403, body(NO_RIGHT), NoRights, "ask who runs it for this right"),
        (403, body(ENDING), NoNamespace, "wait until it is gone"),
        (403, body(QUOTA), Refused, "exceeded quota"),
        (403, body(POLICY), Refused, "denied the request"),
        (
            404,
            body('namespaces "like" not found', "NotFound", kind="namespaces", name="like"),
            NoNamespace,
            "kubectl --context hk create namespace like",
        ),
        (404, "404 page not found\n", Refused, "does not know this type of object"),
        (409, body("the object has been modified", "Conflict"), Refused, "modified"),
        (422, body('Deployment "cats" is invalid: spec.selector: field is immutable', "Invalid"), Refused, "immutable"),
        (429, body("too many requests"), Unreachable, "cannot answer \\(429\\)"),
        (500, body('failed calling webhook "x": timeout', "InternalError"), Refused, "failed calling webhook"),
        (500, body("etcdserver: leader changed"), Unreachable, "leader changed"),
        (503, "<html>no healthy upstream</html>", Unreachable, "run it again in a moment"),
        (400, "[1]", Refused, "does not accept it"),
    ],
)
def test_a_refusal_is_told_apart_in_words(status: int, text: str, kind: type[ClusterError], told: str) -> None:
    error = refusal("hk", "PATCH", "/apis/x/v1/namespaces/like/things/cats", status, text)
    assert type(error) is kind
    assert error.status == status
    with pytest.raises(kind, match=told):
        raise error


def test_a_command_to_type_goes_to_the_cluster_that_is_meant_whatever_its_context_is_called() -> None:
    assert kubectl("hk", "get pods") == "kubectl --context hk get pods"
    assert kubectl("ann's cluster", "get pods").split(" get ")[0] == """kubectl --context 'ann'"'"'s cluster'"""
    files = sorted((ROOT / "conf").rglob("*.py"))
    assert [file.name for file in files if re.search(r"kubectl (?!--context)[a-z-]", file.read_text())] == []


@pytest.mark.parametrize("text", ["", "no kubeconfig", "- a\n- b", "apiVersion: v1\nkind: Config\n"])
def test_a_file_that_is_no_kubeconfig_is_told_in_a_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("home") / "config"
    file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(file))
        with pytest.raises(BadCredentials, match="context 'hk' cannot be used.*set KUBECONFIG"):
            Cluster("hk")
