"""A real API server accepts the renders: by server-side dry run, strict field validation and pod security."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from conf.base.yaml_nodes import documents
from conf.plan.plan import NAMESPACES
from conf.render.arms import BASELINE, CANARY, arm_items, arm_shares, canary_watch, kept_from_scaling_in, weighted
from conf.rules.rendered_objects import violations
from tests.conf import strategies
from tests.conf.cluster import Cluster, clusters
from tests.conf.golden import SERVICES, regions, renders
from tests.conf.rules.test_random import check_files
from tests.running import ROOT

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
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": RESTRICTED}, "spec": spec}


def test_every_golden_file_is_accepted_by_the_api_server_with_strict_fields(servers: dict[str, Cluster]) -> None:
    refused = []
    for path, _ in renders():
        server = servers[path.stem.split("-")[0]]
        refused += [f"{path.name}: {words}" for item in documents(path.read_text()) if (words := server.refusal(item))]
    assert refused == []


def test_everything_that_a_canary_applies_is_accepted_with_strict_fields(servers: dict[str, Cluster]) -> None:
    """A weight that a field of the API cannot hold, or a label that is none, is refused by the API server alone."""
    refused = []
    for path, text in renders():
        if "-prod-" in path.name:
            items, service = documents(text), path.parent.name
            made = [item for suffix in (CANARY, BASELINE) for item in arm_items(items, service, suffix, 2)]
            made += weighted(items, arm_shares(service, 5, has_baseline=True))
            made += [*kept_from_scaling_in(items, service, 4), canary_watch(items, service, time.time(), "5 %")]
            server = servers[path.stem.split("-")[0]]
            refused += [f"{path.name}: {words}" for item in made if (words := server.refusal(item))]
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


def test_fifty_random_services_that_pass_the_check_are_accepted_by_the_api_server(
    servers: dict[str, Cluster], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "same.onnx").write_bytes((SERVICES["gpu"] / "model" / "same.onnx").read_bytes())
    server = next(iter(servers.values()))
    accepted: set[tuple[str, str]] = set()

    @settings(max_examples=2000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(value=strategies.values(), regions=strategies.regions())
    def sample(value: str, regions: str) -> None:
        if len(accepted) >= 50 or (value, regions) in accepted:
            return
        report = check_files(tmp_path, value, regions)
        if report.mistakes:
            return
        for each in report.rendered:
            for item in each.items:
                item["metadata"]["namespace"] = "test-team"
                assert server.refusal(item) == ""
        accepted.add((value, regions))

    sample()
    assert len(accepted) == 50
