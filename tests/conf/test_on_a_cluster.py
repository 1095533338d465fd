"""What a real API server says of the renders: server-side dry run, strict field validation, pod security."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from conf.plan import NAMESPACES
from conf.schemas import violations
from conf.yamls import documents
from tests.conf.cluster import Cluster, clusters
from tests.conf.golden import ROOT, regions, renders

pytestmark = pytest.mark.cluster

NAMES = ["like", "test-team", *NAMESPACES.values()]
RESTRICTED = "monopod-test-restricted"
ENFORCE = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Cluster]]:
    found = clusters(list(regions().regions))
    with ExitStack() as stack:
        for server in dict.fromkeys(found.values()):
            stack.enter_context(server.namespaces(NAMES))
            stack.enter_context(server.namespaces([RESTRICTED], ENFORCE))
        yield found


def pods(text: str) -> Iterator[dict[str, Any]]:
    """Yield the pods that a render's Deployments make, in the restricted namespace."""
    for item in documents(text):
        if item["kind"] == "Deployment":
            spec = {**item["spec"]["template"]["spec"], "serviceAccountName": "default"}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x", "namespace": RESTRICTED},
                "spec": spec,
            }


def test_every_golden_file_is_accepted_by_the_api_server_with_strict_fields(servers: dict[str, Cluster]) -> None:
    refused = []
    for path, _ in renders():
        server = servers[path.stem.split("-")[0]]
        refused += [f"{path.name}: {words}" for item in documents(path.read_text()) if (words := server.refusal(item))]
    assert refused == []


def test_our_schemas_refuse_an_unknown_field_just_as_the_api_server_does(servers: dict[str, Cluster]) -> None:
    seen = set()
    for path, text in renders():
        for item in documents(text):
            if item["kind"] not in seen:
                seen.add(item["kind"])
                item["spec" if "spec" in item else "metadata"]["surprise"] = 1
                assert "surprise" in servers[path.stem.split("-")[0]].refusal(item)
                assert "surprise" in " ".join(violations(item))
    assert len(seen) == len(list((ROOT / "templates").glob("*.yaml")))


def test_the_api_servers_restricted_standard_takes_every_pod_but_one_with_a_host_port(servers: dict[str, Cluster]) -> None:
    server = next(iter(servers.values()))
    for path, text in renders():
        for pod in pods(text):
            opens = any("hostPort" in port for port in pod["spec"]["containers"][0]["ports"])
            refusal = server.refusal(pod)
            assert ("hostPort" in refusal) if opens else refusal == "", f"{path.name}: {refusal}"
