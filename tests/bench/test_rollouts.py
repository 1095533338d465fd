"""make bench-rollouts: an API server's figures, their difference, and what fails a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import rollouts
from bench import rollouts_region as region
from bench.machine import Machine
from bench.rollouts_report import (
    Client,
    Command,
    Report,
    Round,
    Size,
    failures,
    section,
    summary,
)
from bench.rollouts_server import Server, read
from conf.clusters.regions import load
from conf.rules.check import check
from serving.tools.bench.load_generator import percentile

METRICS = r"""
# HELP apiserver_request_total [STABLE] Counter of apiserver requests broken out for each verb
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",dry_run="",resource="pods",scope="namespace",subresource="",verb="LIST"} 67
apiserver_request_total{code="200",dry_run="",resource="pods",scope="resource",subresource="status",verb="PATCH"} 1.7e+01
apiserver_request_total{code="200",dry_run="All",resource="pods",scope="resource",subresource="",verb="PATCH"} 3
apiserver_request_total{code="429",dry_run="",resource="pods",scope="namespace",subresource="",verb="LIST"} 2
apiserver_request_total{code="200",dry_run="",resource="",scope="",subresource="/metrics",verb="GET"} 900
apiserver_request_total_of_another_kind{verb="LIST"} 5
apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"} 3141
apiserver_flowcontrol_dispatched_requests_total{flow_schema="service-accounts",priority_level="workload-low"} 40
apiserver_flowcontrol_dispatched_requests_total{flow_schema="a \"},{ name",priority_level="service-accounts"} 7
process_cpu_seconds_total 23.9
process_resident_memory_bytes 8.44668928e+08
"""


def server() -> Server:
    return Server({("GET", "pods"): 30, ("APPLY", "services"): 60}, {"429": 1}, 80, 2.5, 700.0)


def round_of(seconds: float = 120.0, status: int = 0) -> Round:
    commands = (Command("service-0", 1.0, 0, ""), Command("service-1", 3.0, status, "eu: it is not ready"))
    return Round("upgrade", seconds, commands, server(), 800.0, 1.5, 9.0)


def report(*rounds: Round) -> Report:
    machine = Machine("2026-11-21", 2, "Some", "Linux 6", "Python 3", 0.5)
    return Report(machine, "v1.36.3", Size(20, 2, 2, 3, 4), server(), 10.0, Client(0.1, 0.2, 0.05), rounds or (round_of(),))


def test_the_figures_of_an_api_server_leave_out_the_requests_that_read_them() -> None:
    found = read(METRICS)
    assert found.requests == {("LIST", "pods"): 69, ("PATCH", "pods"): 20}
    assert found.verbs == {"LIST": 69, "PATCH": 20}
    assert (found.total, found.refused, found.deploys) == (89, {"429": 2}, 40)
    assert (found.processor, round(found.resident)) == (23.9, 845)


def test_a_difference_subtracts_the_counters_and_keeps_the_present_memory() -> None:
    before = replace(server(), requests={("GET", "pods"): 30, ("APPLY", "services"): 10}, refused={}, deploys=50, processor=0.5)
    found = server() - replace(before, resident=500.0)
    assert found == Server({("APPLY", "services"): 50}, {"429": 1}, 30, 2.0, 700.0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (0.96, 20), (1, 20), (0, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([*range(20, 0, -1)], share) == value


def test_every_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.05) == percentile([7.0], 0.95) == 7.0


def test_a_run_in_time_and_without_failures_has_nothing_to_report() -> None:
    assert failures(report(round_of(), round_of(300.0))) == []


def test_a_command_that_failed_is_named_with_what_it_said_and_so_is_a_round_that_took_too_long() -> None:
    assert failures(report(round_of(), round_of(301.0, status=28))) == [
        "upgrade: service-1 ended with 28: eu: it is not ready",
        "upgrade: 301 s, at most 300 s are allowed",
    ]
    assert summary(round_of(status=28)) == "upgrade: 2 services in 120 s, 1 failed"


def test_the_section_divides_by_the_commands_and_gives_each_processor_second_to_one() -> None:
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1].strip("| ")
        for line in section(report()).splitlines()
        if "|" in line
    }
    assert (rows["one command: median, s"], rows["one command: 95th percentile, s"]) == ("2.00", "3.00")
    assert (rows["requests of one command"], rows["everybody's requests, for one command"]) == ("40.0", "45.0")
    assert (rows["- APPLY"], rows["- GET"]) == ("30.0", "15.0")
    assert [rows[f"processor: {name}, s"] for name in ("API server", "the commands", "the rest of the machine")] == [
        "2",
        "2",
        "5",
    ]


def test_every_service_passes_the_check_and_the_pods_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "regions.yaml"
    file.write_text(region.regions("eu"))
    reports = [check(service, load(file), ("prod",)) for service in region.make(tmp_path, 25)]
    assert [each.mistakes for each in reports] == [[]] * 25
    plans = [found.plan for each in reports for found in each.rendered]
    assert {plan.region for plan in plans} == {region.REGION}
    assert (len(plans), len({plan.namespace for plan in plans})) == (25, 20)
    assert sum(each.replicas for plan in plans for each in plan.workloads) == region.pods(25)


def test_the_processor_time_of_a_command_before_its_first_request_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "TIMES", 1)
    file = tmp_path / "regions.yaml"
    file.write_text(region.regions("eu"))
    found = rollouts.parts(rollouts.Workspace(region.make(tmp_path, 1), file, tmp_path / "kubeconfig", 1))
    assert min(found.start, found.imports, found.render) > 0
