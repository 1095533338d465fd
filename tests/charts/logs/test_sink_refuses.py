"""A sink that refuses a request as a whole: its lines wait, and none is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.lines import append, came, container_file, cri_line, event, messages, numbered
from tests.charts.logs.opensearch import Node
from tests.charts.logs.shipper import shipping, until_counted
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first test of a machine fetches the node's programs


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
