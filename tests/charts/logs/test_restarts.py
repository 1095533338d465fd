"""Files that change, and a shipper that is restarted: a node of OpenSearch has each line once."""

from pathlib import Path

import psutil
import pytest

from tests.charts.logs.forwarding import forwarding
from tests.charts.logs.lines import append, came, container_file, cri_line, event, messages, numbered
from tests.charts.logs.opensearch import Node
from tests.charts.logs.shipper import shipping, until_counted
from tests.running import free_port
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first test of a machine fetches the node's programs


def test_rotation_restarts_and_half_lines_lose_nothing(node: Node, tmp_path: Path) -> None:
    """The kubelet renames a file and containerd opens another; a restarted container and a new pod have new files."""
    pods = tmp_path / "pods"
    with shipping(tmp_path, node.port):
        file = container_file(pods)
        append(file, numbered(0, 500))
        came(node, "line 499")
        for turn in range(1, 4):
            file.rename(file.with_name(f"0.log.20261122-16220{turn}"))
            append(file, numbered(turn * 500, turn * 500 + 500))
            until(lambda last=turn * 500 + 499: f"line {last}" in messages(node), seconds=30)  # type: ignore[misc]
        append(container_file(pods, number=1), numbered(2000, 2100))
        append(container_file(pods, pod="cats-5d9f-other"), numbered(2100, 2200))
        whole = cri_line(event("written in two steps"))
        append(file, whole[:60])
        came(node, "line 2099", "line 2199")
        append(file, whole[60:])
        came(node, "written in two steps")
    assert sorted(messages(node)) == sorted([f"line {number}" for number in range(2200)] + ["written in two steps"])


def test_a_restarted_shipper_goes_on_where_it_was(node: Node, tmp_path: Path) -> None:
    file = container_file(tmp_path / "pods")
    with shipping(tmp_path, node.port) as first:
        append(file, numbered(0, 1000))
        came(node, "line 999")
        processes = first.processes()
        first.end()
        assert [len(processes), *psutil.wait_procs(processes, 10)[1]] == [2]
    append(file, numbered(1000, 1500))
    with shipping(tmp_path, node.port):
        came(node, "line 1499")
    assert messages(node) == [f"line {number}" for number in range(1500)]


def test_a_killed_shipper_sends_again_what_may_not_have_come_under_the_same_ids(node: Node, tmp_path: Path) -> None:
    file = container_file(tmp_path / "pods")
    with shipping(tmp_path, node.port) as first:
        append(file, numbered(0, 1500))
        came(node, "line 1499")
        first.process.kill()
        first.process.wait(30)
    append(file, numbered(1500, 1600))
    with shipping(tmp_path, node.port):
        came(node, "line 1599")
    assert {f"line {number}" for number in range(1600)} == set(messages(node))
    assert len({(each.kept_in, each.name) for each in node.stored()}) == 1600


def test_a_program_that_is_killed_is_started_anew_and_loses_nothing(node: Node, tmp_path: Path) -> None:
    port = free_port()
    with shipping(tmp_path, port) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 1500))
        until_counted(shipper, "shipper", "failed_requests", 1)
        _, program = shipper.processes()
        program.kill()
        with forwarding(port, node.port):
            came(node, "line 1499")
    assert sorted(messages(node)) == sorted(f"line {number}" for number in range(1500))


def test_a_shipper_without_a_fault_prints_no_error(node: Node, tmp_path: Path) -> None:
    with shipping(tmp_path, node.port) as shipper:
        append(container_file(tmp_path / "pods"), cri_line(event("hi")))
        came(node, "hi")
        until_counted(shipper, "shipper", "taken", 1)
        printed = [line for line in shipper.out.read_text().splitlines() if '"origin"' not in line]
    assert [line for line in printed if "error" in line or "fail" in line] == []
