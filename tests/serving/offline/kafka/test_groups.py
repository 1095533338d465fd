"""A group is moved to the earliest record, the latest or a time, but never under its members."""

import pytest

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import Configuration, connection
from serving.offline.kafka.groups import milliseconds, seek
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Member
from tests.waiting import until

MIDNIGHT = 1_700_006_400_000  # 2023-11-15


@pytest.fixture
def connected(kafka_address: str) -> Configuration:
    return connection({"KAFKA_BROKERS": kafka_address}, "like/small/prod")


def test_a_group_is_moved_to_each_start(
    kafka_address: str, connected: Configuration, make_topic_of_hours: str, group: str
) -> None:
    topic = make_topic_of_hours
    assert seek(connected, topic, group, "latest") == {0: (None, 3), 1: (None, 0)}
    assert seek(connected, topic, group, "1960-01-01") == {0: (3, 0), 1: (0, 0)}
    assert seek(connected, topic, group, "earliest") == {0: (0, 0), 1: (0, 0)}
    assert seek(connected, topic, group, "2023-11-15T00:30:00Z") == {0: (0, 1), 1: (0, 0)}
    assert seek(connected, topic, group, "2023-11-15T02:30:00+01:00") == {0: (1, 2), 1: (0, 0)}
    assert seek(connected, topic, group, "2023-11-16") == {0: (2, 3), 1: (0, 0)}  # no record is as late
    assert broker.committed(kafka_address, group, topic) == (3, "")


@pytest.fixture
def make_topic_of_hours(kafka_address: str, request: pytest.FixtureRequest) -> str:
    """A topic of two partitions, of which the first has a record at midnight, at one and at two."""
    topic = str(request.getfixturevalue("make_topic")(2))
    for hour in range(3):
        broker.produce(kafka_address, topic, [b"%d" % hour], timestamp=MIDNIGHT + hour * 3_600_000)
    return topic


def test_a_reader_goes_on_from_where_its_group_was_moved(
    kafka_address: str, connected: Configuration, topic: str, group: str
) -> None:
    broker.produce(kafka_address, topic, [b"%d" % number for number in range(10)])
    for offsets in (range(10), range(10)):
        member = Member(kafka_address, topic, group)
        until(lambda at=member, wanted=list(offsets): at.offsets() == wanted)  # type: ignore[misc]
        member.stop()
        assert seek(connected, topic, group, "earliest") == {0: (10, 0)}


def test_a_group_with_members_is_not_moved(kafka_address: str, connected: Configuration, topic: str, group: str) -> None:
    broker.produce(kafka_address, topic, [b"1"])
    member = Member(kafka_address, topic, group)
    try:
        until(lambda: broker.committed(kafka_address, group, topic)[0] == 1)
        with pytest.raises(StartError, match=f"The group {group} has members .like/small/prod"):
            seek(connected, topic, group, "earliest")
    finally:
        member.stop()
    assert broker.committed(kafka_address, group, topic)[0] == 1


def test_a_topic_that_is_not_there_is_named(connected: Configuration, group: str) -> None:
    for _ in range(2):  # to ask for it does not make it
        with pytest.raises(StartError, match=f"There is no topic {group}-topic"):
            seek(connected, f"{group}-topic", group, "earliest")


def test_a_broker_that_is_away_is_named(group: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(StartError, match=f"The group {group} cannot be moved at {address}"):
        seek(connection({"KAFKA_BROKERS": address}, "like/small/prod"), "no-matter", group, "earliest")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-11-15", MIDNIGHT),
        ("2023-11-15T00:00Z", MIDNIGHT),
        ("2023-11-15T01:00:00+01:00", MIDNIGHT),
        ("2023-11-14T19:00:00-05:00", MIDNIGHT),
    ],
)
def test_a_time_is_read_with_its_zone(text: str, time: int) -> None:
    assert milliseconds(text) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "2023-11-15T25:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(StartError, match='Write "earliest", "latest" or a time'):
        milliseconds(text)
