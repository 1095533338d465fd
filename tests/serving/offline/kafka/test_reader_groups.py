"""Several readers of one group: partitions go from one to another, members freeze and are killed, and no record is lost."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.offline.kafka.progress import read_note
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Join, MemberProcess, Place
from tests.waiting import until

PROTOCOLS = pytest.mark.parametrize("protocol", ["consumer", "classic"])
COUNT = 3000
WINDOW = 50

Launch = Callable[..., MemberProcess]


@pytest.fixture
def launch(kafka_address: str, group: str, tmp_path: Path) -> Iterator[Launch]:
    """Return a function that starts a member in a process of its own. Each one is killed at the end."""
    made: list[MemberProcess] = []

    def make(topic: str, **more: Any) -> MemberProcess:
        made.append(MemberProcess(kafka_address, topic, group, tmp_path / f"member-{len(made)}", **more))
        return made[-1]

    yield make
    for each in made:
        each.end()


def fill(address: str, topic: str, partitions: int, count: int = COUNT, first: int = 0) -> set[Place]:
    """Write records to each partition, and return where they stand. first: how many each partition has already."""
    for partition in range(partitions):
        broker.produce(address, topic, (b"%d" % number for number in range(count)), partition)
    return {(partition, first + number) for partition in range(partitions) for number in range(count)}


def all_committed(address: str, group: str, topic: str, partitions: int, count: int = COUNT) -> bool:
    return all(broker.committed(address, group, topic, each)[0] == count for each in range(partitions))


@PROTOCOLS
def test_partitions_that_move_in_order_repeat_no_record(
    kafka_address: str, make_topic: Callable[..., str], group: str, join: Join, protocol: str
) -> None:
    topic = make_topic(4)
    every = fill(kafka_address, topic, 4)
    work = 0.02 if protocol == "consumer" else 0.2  # a classic group takes seconds to give partitions anew
    members = [join(topic, work=work, offline_window=WINDOW, offline_protocol=protocol)]
    for wanted in (300, 2000):
        until(lambda at=wanted: sum(len(each.handed) for each in members) > at)  # type: ignore[misc]
        members.append(join(topic, work=work, offline_window=WINDOW, offline_protocol=protocol))
    written = COUNT

    def all_read() -> bool:
        """Write more records until the last member, which may come late, has got some."""
        nonlocal written
        if found := all(each.handed for each in members):
            return found
        every.update(fill(kafka_address, topic, 4, 100, written))
        written += 100
        return False

    until(all_read, pause=0.1)
    members[0].stop()
    until(lambda: all_committed(kafka_address, group, topic, 4, written), 240)
    handed = Counter(place for each in members for place in each.places())
    assert set(handed) == every
    assert set(handed.values()) == {1}
    assert not any(read_note(broker.committed(kafka_address, group, topic, each)[1]).deaths for each in range(4))


@PROTOCOLS
def test_on_revocation_begun_records_are_finished_and_others_dropped(
    kafka_address: str, make_topic: Callable[..., str], group: str, join: Join, protocol: str
) -> None:
    topic = make_topic(2)
    fill(kafka_address, topic, 2, 10)
    first = join(topic, work=None, begins=False, offline_protocol=protocol)
    until(lambda: len(first.handed) == 20)
    for partition in range(2):
        first.begin(0, partition)
        first.begin(1, partition)
    second = join(topic, work=None, offline_protocol=protocol)
    until(lambda: len(first.withdrawn) == 1)
    gone = first.withdrawn[0]
    assert second.handed == []  # the partition waits for the records that were begun
    first.finish(0, gone)
    first.finish(1, gone)
    until(lambda: len(second.handed) == 8)
    assert second.places() == [(gone, offset) for offset in range(2, 10)]
    assert second.handed[0].origin.partition == gone


@PROTOCOLS
def test_a_reader_remembers_nothing_of_partitions_that_went(make_topic: Callable[..., str], join: Join, protocol: str) -> None:
    topic = make_topic(2)
    first = join(topic, offline_protocol=protocol)
    until(lambda: first.reader.figures().partitions == 2)
    join(topic, offline_protocol=protocol)
    until(lambda: first.reader.figures().partitions == 1)
    assert len(first.withdrawn) == 1
    thread = first.reader._thread
    assert thread
    assert thread._withdrawn == set()


@PROTOCOLS
def test_a_record_that_ends_after_its_revocation_is_not_committed(
    kafka_address: str, make_topic: Callable[..., str], group: str, join: Join, protocol: str
) -> None:
    topic = make_topic(2)
    fill(kafka_address, topic, 2, 10)
    first = join(topic, work=None, offline_revoke_second=0.5, offline_protocol=protocol)
    until(lambda: len(first.handed) == 20)
    second = join(topic, work=None, offline_protocol=protocol)
    until(lambda: len(second.handed) == 10)
    gone = first.withdrawn[0]
    for offset in range(10):
        first.finish(offset, gone)
        first.finish(offset, 1 - gone)
    until(lambda: broker.committed(kafka_address, group, topic, 1 - gone)[0] == 10)
    assert broker.committed(kafka_address, group, topic, gone)[0] == 0
    second.stop(0.2)
    until(lambda: len(first.handed) == 30)  # the partition came back, and its old records count as unfinished
    assert broker.committed(kafka_address, group, topic, gone)[0] == 0


def test_each_kill_repeats_fewer_records_than_the_windows(
    kafka_address: str, make_topic: Callable[..., str], group: str, launch: Launch
) -> None:
    topic = make_topic(2)
    broker.set_session(kafka_address, group, 6000)
    every = fill(kafka_address, topic, 2)
    members = []
    for _ in range(3):
        member = launch(topic, work=0.2, offline_window=WINDOW)  # slowly, so that records are left
        members.append(member)
        until(lambda each=member: len(each.places("handed")) > 300, 240)  # type: ignore[misc]
        member.end(signal.SIGKILL)
    last = launch(topic, work=0.0, offline_window=WINDOW)
    members.append(last)
    until(lambda: all_committed(kafka_address, group, topic, 2), 240)
    handed = Counter(place for each in members for place in each.places("handed"))
    assert set(handed) == every
    assert sum(handed.values()) - len(handed) <= 3 * 2 * WINDOW
    assert {place for each in members for place in each.places("finished")} == every
    assert last.end(signal.SIGTERM) == 0
    assert not read_note(broker.committed(kafka_address, group, topic)[1]).open


def test_a_reader_tells_that_it_waits_for_a_dead_member_and_then_its_partitions(
    kafka_address: str, topic: str, group: str, launch: Launch, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "monopod.kafka")
    broker.set_session(kafka_address, group, 6000)
    fill(kafka_address, topic, 1, 10)
    dead = launch(topic)
    until(lambda: len(dead.places("finished")) == 10)
    dead.end(signal.SIGKILL)
    join(topic)
    until(lambda: f"this process has the partitions 0 of {topic}" in caplog.text)
    waits, has = [record.getMessage() for record in caplog.records if record.name == "monopod.kafka"]
    assert waits.startswith(f"no partition of {topic} yet: the group {group} has members")
    assert "(like/small/prod)" in waits
    assert has.endswith(topic)


def test_a_frozen_member_repeats_fewer_records_than_its_windows(
    kafka_address: str, make_topic: Callable[..., str], group: str, launch: Launch
) -> None:
    topic = make_topic(2)
    broker.set_session(kafka_address, group, 6000)
    every = fill(kafka_address, topic, 2)
    frozen = launch(topic, work=0.2, offline_window=WINDOW)  # slowly, so that records are left
    until(lambda: len(frozen.places("handed")) > 300, 240)
    frozen.send(signal.SIGSTOP)
    other = launch(topic, work=0.02, offline_window=WINDOW)
    until(lambda: len(other.places("handed")) > 1000, 240)
    frozen.send(signal.SIGCONT)
    until(lambda: all_committed(kafka_address, group, topic, 2), 240)
    handed = Counter(frozen.places("handed") + other.places("handed"))
    assert set(handed) == every
    assert sum(handed.values()) - len(handed) <= 2 * WINDOW


def test_a_record_that_kills_is_handed_over_as_dead_after_three_deaths(
    kafka_address: str, topic: str, group: str, launch: Launch
) -> None:
    broker.set_session(kafka_address, group, 6000)
    broker.produce(kafka_address, topic, [b"deadly" if number == 120 else b"%d" % number for number in range(200)])
    members = []
    for _ in range(3):
        member = launch(topic, deadly="deadly", offline_window=WINDOW)
        members.append(member)
        assert member.process.wait(240) == -signal.SIGKILL
        assert (0, 120) in member.places("handed")
    assert members[2].places("handed")[-1] == (0, 120)  # alone: nothing came after it
    assert len(members[2].places("finished")) == len(members[2].places("handed")) - 1
    last = launch(topic, deadly="deadly", offline_window=WINDOW)
    until(lambda: broker.committed(kafka_address, group, topic)[0] == 200, 240)
    assert last.places("refused") == [(0, 120)]
    handed = {place for each in [*members, last] for place in each.places("handed")}
    assert handed == {(0, number) for number in range(200)}
