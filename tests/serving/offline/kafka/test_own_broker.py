"""A broker that is killed, frozen or asks for a password: readers and writers wait for it, lose nothing, and name a mistake."""

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from serving.offline.kafka import producer
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.producer import TopicWriter
from serving.offline.records import SourceFailed, Unreachable
from tests.own_broker import OwnBroker, own_broker
from tests.serving.offline import broker as asked
from tests.serving.offline.kafka.members import Member, MemberProcess
from tests.waiting import on_loop, until

COUNT = 3000
PAUSED_COUNT, WINDOW = 1500, 50
PAUSE_SECONDS = 30.0  # after which a broker that was cut off names no broker for a moment


def away_seconds(member: Member) -> float:
    lines = member.registry.page().decode().splitlines()
    return float(next(line for line in lines if line.startswith("monopod_offline_brokers_away_seconds ")).split()[1])


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_reader_goes_on_after_its_broker_was_killed(own: OwnBroker, protocol: str) -> None:
    topic = group = f"killed-{protocol}"
    asked.create_topic(own.address, topic, 2)
    for partition in range(2):
        asked.produce(own.address, topic, (b"%d" % number for number in range(COUNT)), partition)
    member = Member(own.address, topic, group, work=0.05, offline_window=50, offline_protocol=protocol)
    try:
        until(lambda: len(member.handed) > 500)
        own.kill()
        until(lambda: len(member.finished) == len(member.handed))  # what was handed over ends, and no more comes
        until(lambda: away_seconds(member) > 1)  # a commit waits
        assert member.reader.stuck_seconds() == 0
        own.start()
        until(lambda: all(asked.committed(own.address, group, topic, each)[0] == COUNT for each in range(2)), 240)
    finally:
        member.stop()
    handed = Counter(member.places())
    assert set(handed) == {(partition, number) for partition in range(2) for number in range(COUNT)}
    assert sum(handed.values()) - len(handed) <= 2 * 50


@pytest.mark.offline
def test_brokers_without_the_new_protocol_end_the_reading_with_the_cure() -> None:
    with own_broker({"group.coordinator.rebalance.protocols": "classic"}) as old:  # as brokers before 4.0
        asked.create_topic(old.address, "old")
        asked.produce(old.address, "old", [b"1"] * 10)
        member = Member(old.address, "old", "old")
        with pytest.raises(SourceFailed, match=r'API version not supported. .*"classic"'):
            member.wait(member.reader.ended())
        member.stop()
        member = Member(old.address, "old", "old", offline_protocol="classic")
        until(lambda: len(member.finished) == 10)
        member.stop()


def test_while_its_broker_is_away_a_reader_without_records_says_so_and_one_that_stops_does_not_hang(own: OwnBroker) -> None:
    for topic, count in (("away", 100), ("quiet", 10)):
        asked.create_topic(own.address, topic)
        asked.produce(own.address, topic, [b"1"] * count)
    member = Member(own.address, "away", "away", work=None, offline_window=50)
    quiet = Member(own.address, "quiet", "quiet")
    try:
        until(lambda: len(member.handed) == 50)
        until(lambda: quiet.reader.figures() == ({("quiet", "0"): 0.0}, 1, 0, 0.0))
        own.kill()
        member.finish(0)
        member.stop(0.5)  # raises TimeoutError after a minute
        until(lambda: quiet.reader.figures().away > 1, 240)  # a commit may be under way, which waits for its broker
        assert quiet.reader.figures().lag == {("quiet", "0"): 0.0}
        own.start()
        until(lambda: quiet.reader.figures().away == 0)
    finally:
        quiet.stop()
    assert member.offsets() == list(range(50))


class Pod:
    """A member's process that is started again where its client has lost the broker, as Kubernetes does."""

    def __init__(self, address: str, protocol: str, file: Path):
        self.address, self.protocol, self.file, self.starts = address, protocol, file, 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        more: dict[str, Any] = {"offline_window": WINDOW, "offline_protocol": self.protocol}
        self.member = MemberProcess(self.address, self.protocol, self.protocol, self.file, work=0.05, **more)

    def has_committed(self) -> bool:
        """Return whether all is committed. A process that ended by itself has its successor."""
        if self.member.process.poll() is not None:
            assert self.member.process.returncode == 1
            self.start()
        with contextlib.suppress(KafkaException):  # the broker leads no group for a while
            return all(
                asked.committed(self.address, self.protocol, self.protocol, each)[0] == PAUSED_COUNT for each in range(2)
            )
        return False


@pytest.mark.offline
def test_readers_of_both_protocols_go_on_after_their_broker_stood_still(tmp_path: Path) -> None:
    pods: list[Pod] = []
    with own_broker() as own:
        try:
            for protocol in ("consumer", "classic"):
                asked.create_topic(own.address, protocol, 2)
                for partition in range(2):
                    asked.produce(own.address, protocol, (b"%d" % number for number in range(PAUSED_COUNT)), partition)
                pods.append(Pod(own.address, protocol, tmp_path / protocol))
            until(lambda: all(len(pod.member.places("handed")) > 100 for pod in pods))
            own.freeze()
            try:
                time.sleep(PAUSE_SECONDS)
            finally:
                own.thaw()
            until(lambda: all([pod.has_committed() for pod in pods]), 150, pause=0.5)  # noqa: C419
        finally:
            for pod in pods:
                pod.member.end()
    for pod in pods:
        handed = Counter(pod.member.places("handed"))
        assert set(handed) == {(partition, number) for partition in range(2) for number in range(PAUSED_COUNT)}
        assert sum(handed.values()) - len(handed) <= pod.starts * 2 * WINDOW


def writer_of(own: OwnBroker, delivery_second: float) -> TopicWriter:
    return TopicWriter(connection({}, "monopod-test", own.address), delivery_second)


@on_loop
async def test_each_record_is_written_once_and_in_order_though_the_broker_is_killed(own: OwnBroker) -> None:
    asked.create_topic(own.address, "killed")
    writer = writer_of(own, 400)
    waiting = []
    for number in range(3000):
        waiting.append(writer.send("killed", b"k", b"%d" % number, []))
        if number == 1000:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(own.kill)
        if number == 2000:
            await asyncio.to_thread(own.start)
    assert await asyncio.gather(*waiting) == [None] * 3000
    await writer.close()
    assert [int(message.value() or b"") for message in asked.records(own.address, "killed")] == list(range(3000))


@pytest.mark.parametrize("others_are_answered", [False, True])
@on_loop
async def test_a_frozen_broker_is_unreachable_after_the_time_of_a_delivery_and_takes_the_same_again(
    own: OwnBroker, others_are_answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that alone gets no answer has lost its brokers, and another one takes its place."""
    asked.create_topic(own.address, topic := f"frozen-{others_are_answered}")
    if others_are_answered:  # no broker can be made to cause it
        monkeypatch.setattr(producer, "others_are_answered", lambda connected, topic: True)
    writer = writer_of(own, 3)
    await writer.write(topic, b"k", b"before", [])
    own.freeze()
    try:
        for _ in range(2):
            first = writer._client(False)
            with pytest.raises(Unreachable, match=f"kafka:{topic}"):
                await asyncio.wait_for(writer.write(topic, b"k", b"after", []), 60)
            assert (writer._clients.get(False) is first) is not others_are_answered
    finally:
        own.thaw()
    for _ in range(20):
        try:
            await writer.write(topic, b"k", b"after", [])
            break
        except Unreachable:
            await asyncio.sleep(0.2)
    await writer.close()
    values = [message.value() for message in asked.records(own.address, topic)]
    assert values[0] == b"before"
    assert set(values[1:]) == {b"after"}
    assert len(values) <= 4  # each try adds one at most


@on_loop
async def test_a_close_does_not_wait_for_a_frozen_broker_and_tells_the_waiters(own: OwnBroker) -> None:
    asked.create_topic(own.address, "closed")
    writer = writer_of(own, 60)
    await writer.write("closed", b"k", b"before", [])
    own.freeze()
    try:
        waiting = writer.send("closed", b"k", b"after", [])
        await asyncio.wait_for(writer.close(1), 30)
        with pytest.raises(Unreachable):
            await asyncio.wait_for(waiting, 10)
    finally:
        own.thaw()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
@on_loop
async def test_a_user_with_its_password_and_the_brokers_authority_writes(own: OwnBroker, mechanism: str) -> None:
    topic = f"secure-{mechanism}"
    asked.create_topic(own.address, topic)
    writer = TopicWriter(connection(own.secure(KAFKA_MECHANISM=mechanism), "monopod-test"))
    assert await writer.check(topic) == 1
    await writer.write(topic, b"k", b"v", [])
    await writer.close()
    assert len(asked.records(own.address, topic)) == 1
