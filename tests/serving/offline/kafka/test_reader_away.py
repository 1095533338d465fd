"""A broker that is killed and started again is waited for. A broker too old for the group's protocol ends the reading."""

from collections import Counter
from collections.abc import Iterator

import pytest

from serving.offline.records import SourceFailed
from tests.own_broker import OwnBroker, own_broker
from tests.serving.offline import broker as asked
from tests.serving.offline.kafka.members import Member
from tests.waiting import until

pytestmark = pytest.mark.offline
COUNT = 3000


@pytest.fixture(scope="module")
def own() -> Iterator[OwnBroker]:
    with own_broker() as broker:
        yield broker


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


def test_brokers_without_the_new_protocol_end_the_reading_with_the_cure() -> None:
    with own_broker({"group.coordinator.rebalance.protocols": "classic"}) as old:  # as brokers before 4.0
        asked.create_topic(old.address, "old")
        asked.produce(old.address, "old", [b"1"] * 10)
        member = Member(old.address, "old", "old")
        with pytest.raises(SourceFailed, match=r'API version not supported. .* offline_protocol = "classic"'):
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
