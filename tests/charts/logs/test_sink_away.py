"""A sink that is away: lines wait on the disk within its bounds, and are sent once it is back."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.forwarding import forwarding
from tests.charts.logs.lines import append, came, container_file, cri_line, event, messages, numbered
from tests.charts.logs.opensearch import Node
from tests.charts.logs.shipper import shipping, until_counted
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
        assert "the sink did not answer: ConnectionRefusedError" in shipper.out.read_text()


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
        assert "the queue on the disk could not be read, and is thrown away: " in shipper.out.read_text()
        assert not (small_disk / "broken").exists()
