"""A sink that is too busy for some documents of a request: they are sent again at a measured pace, and none is lost."""

import time
from pathlib import Path

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.charts.logs.lines import append, came, container_file, cri_line, event, messages
from tests.charts.logs.shipper import shipping, until_counted
from tests.waiting import until


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
