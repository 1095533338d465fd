"""One reader of one topic: what it hands over, when it commits, and how it stops."""

import time
from collections.abc import Callable
from threading import Event

import pytest

from serving.offline.kafka import kafka_reader
from serving.offline.kafka.consumer_thread import OffsetCommits
from serving.offline.kafka.progress import read_note
from serving.offline.records import SourceFailed
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Join
from tests.waiting import until


def values(count: int) -> list[bytes | None]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_each_record_is_handed_over_once_in_order_and_committed(
    kafka_address: str, make_topic: Callable[..., str], group: str, join: Join, protocol: str
) -> None:
    topic = make_topic(3)
    for partition in range(3):
        broker.produce(kafka_address, topic, values(2000), partition)
    member = join(topic, offline_protocol=protocol)
    until(lambda: len(member.handed) == 6000)
    for partition in range(3):
        until(lambda at=partition: broker.committed(kafka_address, group, topic, at)[0] == 2000)  # type: ignore[misc]
        assert [offset for number, offset in member.places() if number == partition] == list(range(2000))
    assert member.reader.ready()


def test_a_record_arrives_as_it_was_written(kafka_address: str, topic: str, join: Join) -> None:
    headers = [("content-type", b"image/png"), ("empty", None)]
    broker.produce(kafka_address, topic, [b"value", None], key=b"key", headers=headers, timestamp=1_700_000_000_123)
    member = join(topic)
    until(lambda: len(member.handed) == 2)
    first, second = member.handed
    assert (first.origin, first.time, first.key, first.value) == ((topic, 0, 0), 1_700_000_000_123, b"key", b"value")
    assert first.headers == (("content-type", b"image/png"), ("empty", b""))
    assert second.value is None


def test_the_commit_stays_at_the_first_unfinished_record(kafka_address: str, topic: str, group: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(10))
    member = join(topic, work=None)
    until(lambda: len(member.handed) == 10)
    for offset in (0, 1, 3, 4, 9):
        member.finish(offset)
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 2)
    assert read_note(broker.committed(kafka_address, group, topic)[1]).open
    member.stop(0.2)
    stored = broker.committed(kafka_address, group, topic)
    assert (stored[0], read_note(stored[1]).open) == (2, False)


def test_no_more_records_than_the_window_are_beyond_the_commit(kafka_address: str, topic: str, group: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(100))
    member = join(topic, work=None, offline_window=10)
    until(lambda: len(member.handed) == 10)
    for offset in range(1, 10):
        member.finish(offset)
    until(lambda: member.reader.figures().lag == {(topic, "0"): 100.0})
    assert len(member.handed) == 10  # the first one still holds the rest
    member.finish(0)
    until(lambda: len(member.handed) == 20)
    assert member.offsets() == list(range(20))


def test_a_paused_partition_goes_on_at_the_record_after_the_last(kafka_address: str, topic: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(1000))
    member = join(topic, work=None, offline_window=50)
    until(lambda: member.reader.figures().paused == 1)
    for done in range(1000):
        until(lambda at=done: len(member.handed) > at)  # type: ignore[misc]
        member.finish(done)
    assert member.offsets() == list(range(1000))


def test_a_slow_partition_does_not_hold_the_others(kafka_address: str, make_topic: Callable[..., str], join: Join) -> None:
    topic = make_topic(2)
    broker.produce(kafka_address, topic, values(500), 0)
    broker.produce(kafka_address, topic, values(500), 1)
    member = join(topic, work=None, offline_window=20)
    for done in range(500):  # of partition 1 alone
        until(lambda at=done: (1, at) in member.places())  # type: ignore[misc]
        member.finish(done, 1)
    assert sum(number == 0 for number, _ in member.places()) == 20


def test_values_in_flight_are_bounded_by_the_pods_memory(kafka_address: str, topic: str, join: Join) -> None:
    broker.produce(kafka_address, topic, [bytes(900_000)] * 20)
    member = join(topic, work=None, memory="64Mi")  # of which an eighth is in flight
    until(lambda: len(member.handed) == 9)
    member.finish(0)
    until(lambda: len(member.handed) == 10)
    for offset in range(1, 10):
        member.finish(offset)
    until(lambda: len(member.handed) == 19)


def test_reading_that_is_held_goes_on_without_a_gap(kafka_address: str, topic: str, join: Join) -> None:
    member = join(topic)
    until(member.reader.ready)
    member.call(lambda: member.reader.hold(True))
    until(lambda: member.reader.figures().paused == 1)
    broker.produce(kafka_address, topic, values(100))
    until(lambda: member.reader.figures().lag == {(topic, "0"): 100.0})
    assert member.handed == []
    member.call(lambda: member.reader.hold(False))
    until(lambda: member.offsets() == list(range(100)))


def test_a_limit_ends_reading_with_everything_committed(kafka_address: str, topic: str, group: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(100))
    member = join(topic, limit=30)
    member.wait(member.reader.ended())
    assert member.offsets() == list(range(30))
    assert broker.committed(kafka_address, group, topic)[0] == 30


def test_a_rate_bounds_the_records_of_a_second(kafka_address: str, topic: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(200))
    member = join(topic, offline_rate=20.0)
    until(lambda: len(member.handed) >= 1)
    first = member.loop.time()
    until(lambda: len(member.handed) >= 61)
    assert member.loop.time() - first > 60 / 20 * 0.9
    assert len(member.handed) < 80


def test_a_topic_without_records_is_committed_where_reading_began(
    kafka_address: str, topic: str, group: str, join: Join
) -> None:
    broker.produce(kafka_address, topic, values(7))
    member = join(topic, offline_start="latest")
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 7)
    assert not read_note(broker.committed(kafka_address, group, topic)[1]).open
    broker.produce(kafka_address, topic, values(2))
    until(lambda: member.offsets() == [7, 8])


def test_a_time_names_the_first_record(kafka_address: str, topic: str, join: Join) -> None:
    for second in range(3):
        broker.produce(kafka_address, topic, values(5), timestamp=1_700_000_000_000 + second * 1000)
    member = join(topic, offline_start="2023-11-14T22:13:21Z")
    until(lambda: member.offsets() == list(range(5, 15)))


def test_records_that_retention_deleted_are_counted_and_passed_over(
    kafka_address: str, topic: str, group: str, join: Join
) -> None:
    broker.produce(kafka_address, topic, values(10))
    member = join(topic)
    until(lambda: len(member.handed) == 10)
    member.call(lambda: member.reader.hold(True))
    until(lambda: member.reader.figures().paused == 1)
    broker.produce(kafka_address, topic, values(20))
    broker.lose_before(kafka_address, topic, 25)
    member.call(lambda: member.reader.hold(False))
    until(lambda: member.offsets() == [*range(10), *range(25, 30)])
    assert "monopod_offline_lost_records_total 15.0" in member.registry.page().decode()
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 30)


def test_a_commit_that_retention_overtook_begins_at_the_earliest(
    kafka_address: str, topic: str, group: str, join: Join
) -> None:
    broker.produce(kafka_address, topic, values(10))
    first = join(topic)
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 10)
    first.stop()
    broker.produce(kafka_address, topic, values(30))
    broker.lose_before(kafka_address, topic, 35)
    second = join(topic)
    until(lambda: second.offsets() == list(range(35, 40)))
    assert "monopod_offline_lost_records_total 25.0" in second.registry.page().decode()


def test_a_commit_beyond_the_end_begins_at_the_earliest(kafka_address: str, topic: str, group: str, join: Join) -> None:
    broker.produce(kafka_address, topic, values(10))
    broker.commit(kafka_address, group, topic, 50)
    member = join(topic)
    until(lambda: member.offsets() == list(range(10)))
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 10)


def test_a_compacted_topic_fills_the_window_across_its_gaps(
    kafka_address: str, make_topic: Callable[..., str], join: Join
) -> None:
    topic = make_topic()
    for transaction in range(30):
        broker.produce_in_transaction(kafka_address, topic, [b"%d" % transaction])  # each leaves a mark behind its record
    member = join(topic, work=None, offline_window=20)
    until(lambda: len(member.handed) == 20)
    assert member.offsets() == list(range(0, 40, 2))
    for offset in member.offsets():
        member.finish(offset)
    until(lambda: len(member.handed) == 30)
    for offset in member.offsets()[20:]:
        member.finish(offset)
    until(lambda: broker.committed(kafka_address, member.group, topic)[0] == 60)  # behind the last mark, so no lag is left


def test_a_partition_that_a_topic_gets_later_is_read_from_its_first_record(
    kafka_address: str, topic: str, group: str, join: Join
) -> None:
    first = join(topic, offline_start="latest")
    until(first.reader.ready)
    first.stop()
    broker.add_partitions(kafka_address, topic, 2)
    broker.produce(kafka_address, topic, values(5), 1)
    second = join(topic, offline_start="latest")
    until(lambda: second.places() == [(1, offset) for offset in range(5)])


def test_a_member_without_a_partition_is_ready(kafka_address: str, topic: str, group: str, join: Join) -> None:
    first = join(topic)
    until(first.reader.ready)
    second = join(topic)
    until(second.reader.ready)
    assert sorted(len(each.assignment.topic_partitions) for each in broker.members(kafka_address, group)) == [0, 1]


def test_a_commit_that_never_ends_ends_the_reading_though_its_thread_hangs(
    kafka_address: str, topic: str, join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_reader, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(kafka_reader, "LOST_SECONDS", 3.0)
    over = Event()

    def hang(self: OffsetCommits, *_: object) -> bool:
        self._bridge.waits_since = time.monotonic()
        over.wait()
        return False

    monkeypatch.setattr(OffsetCommits, "store", hang)
    broker.produce(kafka_address, topic, values(1))
    member = join(topic)
    try:
        with pytest.raises(SourceFailed, match="The client has lost the brokers"):
            member.wait(member.reader.ended(), 60)
        assert member.reader.stuck_seconds() == 0  # another process would wait as well
        assert "a commit waits for the group's broker" in caplog.text
        monkeypatch.setattr(kafka_reader, "PATIENCE_SECONDS", 0.2)
        until(lambda: member.reader.stuck_seconds() > 0)
    finally:
        over.set()
