"""A sink that is away, too busy, refuses, or asks for a login, and restarts meanwhile: lines wait, and none is lost."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.opensearch import Node
from tests.charts.logs.shipper import (
    append,
    came,
    container_file,
    cri_line,
    event,
    forwarding,
    messages,
    numbered,
    shipping,
    until_counted,
)
from tests.prerequisites import missing
from tests.running import free_port
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first test of a machine fetches the node's programs


def test_a_restart_while_the_sink_is_away_loses_nothing(node: Node, tmp_path: Path) -> None:
    """rsyslog forgets the batch that it handed over. The program has it on the disk."""
    port, file = free_port(), container_file(tmp_path / "pods")
    append(file, numbered(0, 1000))
    with shipping(tmp_path, port) as first:
        until_counted(first, "sink queue", "enqueued", 1000)
        until_counted(first, "shipper", "failed_requests", 1)
        first.end()
    append(file, numbered(1000, 1500))
    with shipping(tmp_path, port) as second:
        until_counted(second, "sink queue", "enqueued", 500)
        with forwarding(port, node.port):
            came(node, "line 1499")
    assert messages(node) == [f"line {number}" for number in range(1500)]


def test_the_queue_of_a_sink_that_is_away_has_a_bound_over_which_the_oldest_are_dropped_and_counted(
    node: Node, tmp_path: Path
) -> None:
    port, file = free_port(), container_file(tmp_path / "pods")
    with shipping(tmp_path, port, queue="4m") as shipper:
        append(file, numbered(0, 20_000))
        until_counted(shipper, "sink queue", "enqueued", 20_000)
        until_counted(shipper, "shipper", "dropped", 1)
        on_disk = sum(each.stat().st_size for each in shipper.state.iterdir() if each.name.startswith("sink"))
        assert 2 * 2**20 < on_disk < 4 * 2**20 + 64 * 2**10
        assert shipper.memory() < 96 * 2**20  # of the 128 MiB that the container may take
        with forwarding(port, node.port):
            came(node, "line 19999")
            append(file, cri_line(event("afterwards")))
            came(node, "afterwards")
        dropped = shipper.counters("shipper")["dropped"]
        assert shipper.counters("sink queue")["discarded.full"] == 0
    assert messages(node) == [*(f"line {number}" for number in range(dropped, 20_000)), "afterwards"]


def test_a_sink_that_holds_a_request_while_the_queue_is_full_costs_the_newest_lines_which_are_counted(
    sink: BulkReceiver, tmp_path: Path
) -> None:
    """The program drops the oldest, and it waits for an answer here. Reading waits too, for 2 s a line."""
    released, file = threading.Event(), container_file(tmp_path / "pods")
    sink.status_of = lambda body: 200 if released.wait(60) else 503
    with shipping(tmp_path, sink.port, queue="4m") as shipper:
        append(file, numbered(0, 10_000))
        until_counted(shipper, "sink queue", "discarded.full", 1)
        released.set()
        append(file, cri_line(event("afterwards")))
        came(sink, "afterwards")


def test_a_node_that_dies_and_comes_back_has_every_line(node: Node, tmp_path: Path) -> None:
    file = container_file(tmp_path / "pods")
    with shipping(tmp_path, node.port) as shipper:
        append(file, numbered(0, 500))
        came(node, "line 499")
        append(file, numbered(500, 3000))  # it dies while it gets them
        node.kill()
        append(file, numbered(3000, 3500))
        until_counted(shipper, "sink queue", "enqueued", 3500)
        assert shipper.counters("sink queue")["size"] > 0
        node.start()
        came(node, "line 3499")
        assert sorted(messages(node)) == sorted(f"line {number}" for number in range(3500))
        assert "did not answer: ConnectionRefusedError" in shipper.out.read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB. Only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        missing("only root may mount a small disk: run the tests as root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_ends_nothing_and_the_shipper_goes_on_once_there_is_room(
    node: Node, small_disk: Path, tmp_path: Path
) -> None:
    port, file, other = free_port(), container_file(tmp_path / "pods"), small_disk / "other"
    with shipping(tmp_path, port, state=small_disk) as shipper:
        append(file, numbered(0, 10))
        until_counted(shipper, "sink queue", "enqueued", 10)
        other.write_bytes(bytes(8 * 2**20 - 512 * 2**10))
        append(file, numbered(10, 5_000))
        until(lambda: os.statvfs(small_disk).f_bavail == 0, seconds=30)
        until_counted(shipper, "sink queue", "enqueued", 5_000)
        other.unlink()
        append(file, cri_line(event("with room again")))
        with forwarding(port, node.port):
            until(lambda: (small_disk / "broken").exists(), seconds=30)  # the liveness probe asks for it
        assert shipper.process.poll() is None
        assert messages(node)[:200] == [f"line {number}" for number in range(200)]
        shipper.end()
    with shipping(tmp_path, node.port, state=small_disk) as shipper:
        append(file, cri_line(event("after the restart")))
        came(node, "after the restart")
        assert "the queue on the disk could not be read" in shipper.out.read_text()
        assert not (small_disk / "broken").exists()


def test_a_busy_sink_gets_a_record_again_and_a_refused_record_is_told(sink: BulkReceiver, tmp_path: Path) -> None:
    sink.statuses = {"busy": [429, 429, 201], "refused": [400]}
    with shipping(tmp_path, sink.port) as shipper:
        append(container_file(tmp_path / "pods"), b"".join(cri_line(event(each)) for each in ("first", "busy", "refused")))
        first, busy = came(sink, "first", "busy")
        until(lambda: "refused: " in shipper.out.read_text())
    assert busy.kept_in == first.kept_in == "macl_like_cats_2026.11.22"
    assert {**busy.fields, "message": "first"} == first.fields
    assert "refused" not in messages(sink)


def test_records_that_wait_for_a_busy_sink_are_on_the_disk_and_outlive_a_restart(sink: BulkReceiver, tmp_path: Path) -> None:
    sink.statuses = {"busy": [429] * 100_000}
    file = container_file(tmp_path / "pods")
    with shipping(tmp_path, sink.port, queue="128m") as shipper:
        append(file, b"".join(cri_line(event("busy", number=number, text="x" * 15_000)) for number in range(1500)))
        until_counted(shipper, "sink queue", "enqueued", 1500)
        until(lambda: len(sink.requests) >= 2)
        assert shipper.memory() < 110 * 2**20  # of the 128 MiB that the container may take
        shipper.end()
    assert sink.stored() == []
    sink.statuses = {}
    with shipping(tmp_path, sink.port, queue="128m"):
        until(lambda: {each.fields["number"] for each in sink.stored()} == set(range(1500)))


def test_a_busy_sink_is_asked_ever_more_seldom(sink: BulkReceiver, tmp_path: Path) -> None:
    sink.statuses = {"busy": [429] * 100_000}
    times: list[float] = []

    def noted(body: bytes) -> int:
        times.append(time.monotonic())
        return 200

    sink.status_of = noted
    with shipping(tmp_path, sink.port):
        append(container_file(tmp_path / "pods"), cri_line(event("busy")))
        until(lambda: len(times) >= 4)
    assert times[3] - times[0] > 6  # 1, 2 and 4 s; under load it takes longer, and never much less
    assert set(sink.requests) == {1}


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 502, 503, 504])
def test_lines_of_a_request_that_was_refused_as_a_whole_wait_until_it_is_taken(
    status: int, sink: BulkReceiver, tmp_path: Path
) -> None:
    sink.status_of = lambda body: status
    with shipping(tmp_path, sink.port) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 1000))
        until(lambda: sink.refusals >= 2)
        assert f"the sink refused a request as a whole: {status} " in shipper.out.read_text()
        sink.status_of = lambda body: 200
        came(sink, "line 999")
    assert messages(sink) == [f"line {number}" for number in range(1000)]


@pytest.mark.parametrize(
    ("setting", "value", "answer"),
    [
        ("network.breaker.inflight_requests.limit", "200b", "429 Too Many Requests"),
        ("cluster.blocks.read_only", "true", "403 Forbidden"),
    ],
)
def test_a_node_that_refuses_whole_requests_has_every_line_once_it_takes_them(
    setting: str, value: str, answer: str, node: Node, tmp_path: Path
) -> None:
    with shipping(tmp_path, node.port) as shipper, _set(node, setting, value):
        append(container_file(tmp_path / "pods"), numbered(0, 1000))
        until(lambda: f"the sink refused a request as a whole: {answer}" in shipper.out.read_text())
        assert messages(node) == []
        node.set(setting, None)
        came(node, "line 999")
    assert messages(node) == [f"line {number}" for number in range(1000)]


def test_a_request_that_is_too_large_for_the_sink_is_sent_in_parts(sink: BulkReceiver, tmp_path: Path) -> None:
    sink.status_of = lambda body: 413 if len(body) > 8_000 else 200
    with shipping(tmp_path, sink.port) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 300) + cri_line(event("x" * 8_000)) + numbered(300, 600))
        until(lambda: "refused: " in shipper.out.read_text())
        came(sink, "line 599")
        until_counted(shipper, "shipper", "refused", 1)
    assert messages(sink) == [f"line {number}" for number in range(600)]


def test_one_line_for_which_the_sink_refuses_a_whole_request_is_printed_and_harms_no_line_beside_it(
    sink: BulkReceiver, tmp_path: Path
) -> None:
    sink.status_of = lambda body: 400 if b"poison" in body else 200
    with shipping(tmp_path, sink.port) as shipper:
        append(container_file(tmp_path / "pods"), numbered(0, 300) + cri_line(event("poison")) + numbered(300, 600))
        came(sink, "line 599")
        until_counted(shipper, "shipper", "refused", 1)
        (printed,) = (line for line in shipper.out.read_text().splitlines() if line.startswith("refused: "))
    assert '"message": "poison"' in printed
    assert messages(sink) == [f"line {number}" for number in range(600)]


def test_a_restart_amid_lines_that_are_many_requests_loses_none(sink: BulkReceiver, tmp_path: Path) -> None:
    sink.status_of = lambda body: 503 if len(body) > 1_000_000 else 200
    lines = b"".join(cri_line(event(f"line {number}", text="x" * 40_000)) for number in range(1000))
    with shipping(tmp_path, sink.port, queue="256m") as shipper:
        append(container_file(tmp_path / "pods"), lines)
        until(lambda: sink.refusals >= 2)
        until_counted(shipper, "sink queue", "enqueued", 1000)
        shipper.end()
    sink.status_of = lambda body: 200
    with shipping(tmp_path, sink.port, queue="256m"):
        until(lambda: set(messages(sink)) == {f"line {number}" for number in range(1000)})


@contextmanager
def _set(node: Node, setting: str, value: str) -> Iterator[None]:
    """Change a setting of a node for the length of a block."""
    node.set(setting, value)
    try:
        yield
    finally:
        node.set(setting, None)


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
