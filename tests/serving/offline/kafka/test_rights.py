"""Each right that a user lacks is told with its cure, and one that is taken away meanwhile is waited for."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from serving.base.errors import StartError
from serving.offline.backfill.opening import open_replay
from serving.offline.kafka.checks import check_reading
from serving.offline.kafka.client_configuration import Configuration, connection, reading_plan
from serving.offline.kafka.producer import TopicWriter
from tests.own_broker import WITH_RIGHTS, OwnBroker, own_broker
from tests.serving.offline import broker
from tests.serving.offline.case import Case
from tests.serving.offline.kafka.members import settings
from tests.serving.offline.offline_process import ended, numbers, running, value
from tests.waiting import until

pytestmark = pytest.mark.offline
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE, CREATE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE
COUNT, WINDOW = 4000, 100
ANSWERED = 'monopod_offline_records_total{outcome="answered"}'


@pytest.fixture(scope="module")
def own() -> Iterator[OwnBroker]:
    with own_broker(WITH_RIGHTS) as made:
        yield made


@pytest.fixture(scope="module")
def environ(own: OwnBroker) -> dict[str, str]:
    return own.secure()


@pytest.fixture
def connected(environ: dict[str, str]) -> Configuration:
    return connection(environ, "like/small/prod")


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_each_right_that_a_reader_lacks_is_named(own: OwnBroker, connected: Configuration, protocol: str) -> None:
    topic = group = f"read-{protocol}"
    broker.create_topic(own.address, topic)
    plan = reading_plan(connected, topic, group, settings(offline_protocol=protocol))
    for kind, right, cure in (
        (TOPIC, DESCRIBE, f"kafka:{topic} at .*: no right; grant this user READ on the topic$"),
        (TOPIC, READ, f"kafka:{topic} at .*: no right; grant this user READ on the topic$"),
        (GROUP, READ, f"No right to join the group {group}. Grant this user READ on the group"),
    ):
        with pytest.raises(StartError, match=cure):
            check_reading(plan)
        broker.grant(own.address, kind, topic, right)
    assert check_reading(plan) == 1


def test_a_user_who_may_only_look_at_a_group_is_told_before_or_when_it_begins(
    own: OwnBroker, environ: dict[str, str], tmp_path: Path
) -> None:
    case = Case(own.address, "looked", "looked", "looked-out", tmp_path / "small")
    for topic in (case.topic, case.answers, case.dead):
        broker.create_topic(own.address, topic)
        broker.grant(own.address, TOPIC, topic, READ, WRITE)
    case.service()
    broker.grant(own.address, GROUP, case.group, DESCRIBE)
    for commit in (False, True):  # of a group that is not there yet the broker tells no rights
        if commit:
            broker.commit(own.address, case.group, case.topic, 0)
        status, _, error = ended(case.folder, environ["KAFKA_BROKERS"], env=environ)
        assert status == 1
        assert error.splitlines()[-1].endswith("No right to join the group looked. Grant this user READ on the group.")
        assert "Traceback" not in error


def test_each_right_that_a_writer_lacks_is_named(own: OwnBroker, connected: Configuration) -> None:
    async def refusal(topic: str, may_create: bool) -> str:
        writer = TopicWriter(connected)
        try:
            with pytest.raises(StartError) as caught:
                await writer.check(topic, may_create)
            return str(caught.value)
        finally:
            await writer.close()

    broker.create_topic(own.address, "written")
    assert asyncio.run(refusal("written", False)).endswith("no right; grant this user WRITE on the topic")
    broker.grant(own.address, TOPIC, "written", DESCRIBE)
    assert asyncio.run(refusal("written", False)).endswith("no right; grant this user WRITE on the topic")
    broker.grant(own.address, TOPIC, "dead", WRITE)
    words = asyncio.run(refusal("dead", True))
    assert words.endswith("no right to make the topic; make it, or grant this user CREATE on it")
    broker.grant(own.address, TOPIC, "dead", CREATE)
    assert asyncio.run(TopicWriter(connected).check("dead", True)) == 1


def test_each_right_that_a_replay_lacks_is_named(own: OwnBroker, connected: Configuration) -> None:
    broker.create_topic(own.address, "likes-ages-dead")
    for kind, name, cure in (
        (TOPIC, "likes-ages-dead", "no right; grant this user READ on the topic"),
        (GROUP, "ages-replay", "No right to join the group ages-replay. Grant this user READ on the group"),
    ):
        with pytest.raises(StartError, match=cure):
            open_replay(connected, "likes", "ages", settings())
        broker.grant(own.address, kind, name, READ)
    open_replay(connected, "likes", "ages", settings()).source.inputs.close()


@pytest.mark.long
def test_a_right_that_is_taken_away_is_waited_for_or_ends_the_process_and_nothing_is_lost(
    own: OwnBroker, environ: dict[str, str], tmp_path: Path
) -> None:
    """A member without its group is ended for good by the client. The next start tells what is missing."""
    case = Case(own.address, "taken", "taken", "taken-out", tmp_path / "small")
    of_topics = ((TOPIC, case.topic, READ), (TOPIC, case.answers, WRITE))
    for topic in (case.topic, case.answers, case.dead):
        broker.create_topic(own.address, topic)
        broker.grant(own.address, TOPIC, topic, DESCRIBE, WRITE)
    broker.grant(own.address, TOPIC, case.topic, READ)
    broker.grant(own.address, GROUP, case.group, READ)
    case.service(f"offline_window = {WINDOW}")
    case.produce([value(number, "slow") for number in range(COUNT)])
    with running(case.folder, environ["KAFKA_BROKERS"], env=environ) as process:
        until(lambda: process.metric(ANSWERED) > 50)
        for right in of_topics:
            broker.refuse(own.address, *right)
            until(lambda: "uthorization failed" in process.log.read_text().splitlines()[-1])
            lines = process.log.read_text().count("\n")
            time.sleep(3)
            assert process.log.read_text().count("\n") <= lines + 2  # it is told now and then, and not at each try
            stood = process.metric(ANSWERED)
            broker.grant(own.address, *right)
            until(lambda: process.metric(ANSWERED) > stood + 50)  # noqa: B023
        broker.refuse(own.address, GROUP, case.group, READ)
        assert process.process.wait(240) == 1
        last = process.log.read_text().splitlines()[-1]
        assert last.endswith("No right to join the group taken. Grant this user READ on the group.")
    assert "No right to join the group taken" in ended(case.folder, environ["KAFKA_BROKERS"], env=environ)[2]
    broker.grant(own.address, GROUP, case.group, READ)
    with running(case.folder, environ["KAFKA_BROKERS"], env=environ) as process:
        until(lambda: case.is_committed(), 240, pause=0.5)
        assert process.stop() == 0
    found = numbers(broker.records(own.address, case.answers))
    assert set(found) == set(range(COUNT))
    assert len(found) - COUNT <= WINDOW
    assert case.letters() == []
