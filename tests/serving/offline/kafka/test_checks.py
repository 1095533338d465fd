"""A check tells what keeps a topic from being read or written, and a right that is taken away later is waited for."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from serving.base.errors import StartError
from serving.offline.backfill.opening import open_replay
from serving.offline.kafka.checks import check_source
from serving.offline.kafka.client_configuration import Configuration, connection
from serving.offline.kafka.groups import clients
from serving.offline.kafka.producer import TopicWriter
from tests.own_broker import WITH_RIGHTS, OwnBroker, own_broker
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Member, settings
from tests.serving.offline.offline_process import Case, ended, numbers, running, value
from tests.waiting import until

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE, CREATE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE
COUNT, WINDOW = 4000, 100
ANSWERED = 'monopod_offline_records_total{outcome="answered"}'


def check(environment: dict[str, str], topic: str, group: str, client: str = "like/small/prod") -> int:
    return check_source(connection(environment, client), topic, group)


def refusal(*given: Any, **more: Any) -> str:
    with pytest.raises(StartError) as caught:
        check(*given, **more)
    return str(caught.value)


def test_a_topic_that_can_be_read_tells_its_partitions(kafka_address: str, topic: str, group: str) -> None:
    assert check({"KAFKA_BROKERS": kafka_address}, topic, group) == 1


def test_a_broker_that_is_away_is_named(group: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    words = refusal({"KAFKA_BROKERS": address}, "no-matter", group)
    assert address in words
    assert "Correct KAFKA_BROKERS" in words


def test_a_host_that_has_no_address_is_named(group: str) -> None:
    words = refusal({"KAFKA_BROKERS": "kafka.invalid:9092"}, "no-matter", group)
    assert "kafka.invalid:9092" in words
    assert "Correct KAFKA_BROKERS" in words


def test_a_topic_that_is_not_there_is_named(kafka_address: str, group: str) -> None:
    words = refusal({"KAFKA_BROKERS": kafka_address}, "monopod-test-no-such-topic", group)
    assert "kafka:monopod-test-no-such-topic" in words
    assert "does not exist" in words


def test_a_group_of_another_service_is_refused(kafka_address: str, topic: str, group: str) -> None:
    member = Member(kafka_address, topic, group)
    try:
        until(member.reader.ready)
        words = refusal({"KAFKA_BROKERS": kafka_address}, topic, group, client="like/other/prod")
        assert f"The group {group} is read by like/small/prod" in words
        assert "Set offline_group" in words
        assert check({"KAFKA_BROKERS": kafka_address}, topic, group) == 1
    finally:
        member.stop()


@pytest.mark.offline
def test_a_group_is_looked_up_as_soon_as_a_new_broker_answers() -> None:
    with own_broker() as own:
        assert clients(connection({"KAFKA_BROKERS": own.address}, "like/small/prod"), "new") == []


@pytest.fixture(scope="module")
def secure(own: OwnBroker) -> dict[str, str]:
    """The environment of a client with credentials and TLS, of a broker that has the topic "secure"."""
    broker.create_topic(own.address, "secure")
    return own.secure()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_credentials_open_the_secure_listener(secure: dict[str, str], group: str, mechanism: str) -> None:
    assert check({**secure, "KAFKA_MECHANISM": mechanism}, "secure", group) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_wrong_credentials_are_refused_without_showing_them(secure: dict[str, str], group: str, mechanism: str) -> None:
    words = refusal({**secure, "KAFKA_MECHANISM": mechanism, "KAFKA_PASSWORD": "not-it"}, "secure", group)
    assert "correct KAFKA_USERNAME, KAFKA_PASSWORD" in words
    assert "not-it" not in words


def test_brokers_of_an_untrusted_ca_are_refused(secure: dict[str, str], group: str) -> None:
    assert "KAFKA_CA" in refusal({name: value for name, value in secure.items() if name != "KAFKA_CA"}, "secure", group)


def test_a_plain_client_at_the_secure_listener_is_told_of_it(secure: dict[str, str], group: str) -> None:
    assert "KAFKA_SECURITY" in refusal({"KAFKA_BROKERS": secure["KAFKA_BROKERS"]}, "secure", group)


def test_a_file_that_is_no_certificate_is_refused(secure: dict[str, str], group: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    assert "KAFKA_CA" in refusal({**secure, "KAFKA_CA": str(tmp_path / "ca.pem")}, "secure", group)


@pytest.fixture(scope="module")
def guarded() -> Iterator[OwnBroker]:
    """A broker that looks at rights."""
    with own_broker(WITH_RIGHTS) as made:
        yield made


@pytest.fixture(scope="module")
def environ(guarded: OwnBroker) -> dict[str, str]:
    return guarded.secure()


@pytest.fixture
def connected(environ: dict[str, str]) -> Configuration:
    return connection(environ, "like/small/prod")


def test_each_right_that_a_reader_lacks_is_named(guarded: OwnBroker, connected: Configuration) -> None:
    topic = group = "read"
    broker.create_topic(guarded.address, topic)
    for kind, right, cure in (
        (TOPIC, DESCRIBE, f"kafka:{topic} at .*: no right; grant this user READ on the topic$"),
        (TOPIC, READ, f"kafka:{topic} at .*: no right; grant this user READ on the topic$"),
        (GROUP, READ, f"No right to join the group {group}. Grant this user READ on the group"),
    ):
        with pytest.raises(StartError, match=cure):
            check_source(connected, topic, group)
        broker.grant(guarded.address, kind, topic, right)
    assert check_source(connected, topic, group) == 1


def test_a_user_who_may_only_look_at_a_group_is_told_before_or_when_it_begins(
    guarded: OwnBroker, environ: dict[str, str], tmp_path: Path
) -> None:
    case = Case(guarded.address, "looked", "looked", "looked-out", tmp_path / "small")
    for topic in (case.topic, case.answers, case.dead):
        broker.create_topic(guarded.address, topic)
        broker.grant(guarded.address, TOPIC, topic, READ, WRITE)
    case.service()
    broker.grant(guarded.address, GROUP, case.group, DESCRIBE)
    for commit in (False, True):  # of a group that is not there yet the broker tells no rights
        if commit:
            broker.commit(guarded.address, case.group, case.topic, 0)
        status, _, error = ended(case.folder, environ["KAFKA_BROKERS"], env=environ)
        assert status == 1
        assert "No right to join the group looked" in error.splitlines()[-1]
        assert "Traceback" not in error


def test_each_right_that_a_writer_lacks_is_named(guarded: OwnBroker, connected: Configuration) -> None:
    async def refusal(topic: str, may_create: bool) -> str:
        writer = TopicWriter(connected)
        try:
            with pytest.raises(StartError) as caught:
                await writer.check(topic, may_create)
            return str(caught.value)
        finally:
            await writer.close()

    broker.create_topic(guarded.address, "written")
    assert asyncio.run(refusal("written", False)).endswith("grant this user WRITE on the topic")
    broker.grant(guarded.address, TOPIC, "written", DESCRIBE)
    assert asyncio.run(refusal("written", False)).endswith("grant this user WRITE on the topic")
    broker.grant(guarded.address, TOPIC, "dead", WRITE)
    words = asyncio.run(refusal("dead", True))
    assert words.endswith("or grant this user CREATE on it")
    broker.grant(guarded.address, TOPIC, "dead", CREATE)
    assert asyncio.run(TopicWriter(connected).check("dead", True)) == 1


def test_each_right_that_a_replay_lacks_is_named(guarded: OwnBroker, connected: Configuration) -> None:
    broker.create_topic(guarded.address, "likes-ages-dead")
    for kind, name, cure in (
        (TOPIC, "likes-ages-dead", "no right; grant this user READ on the topic"),
        (GROUP, "ages-replay", "No right to join the group ages-replay. Grant this user READ on the group"),
    ):
        with pytest.raises(StartError, match=cure):
            open_replay(connected, "likes", "ages", settings())
        broker.grant(guarded.address, kind, name, READ)
    open_replay(connected, "likes", "ages", settings()).source.inputs.close()


@pytest.mark.long
def test_a_right_that_is_taken_away_is_waited_for_or_ends_the_process_and_nothing_is_lost(
    guarded: OwnBroker, environ: dict[str, str], tmp_path: Path
) -> None:
    """A member without its group is ended for good by the client. The next start tells what is missing."""
    case = Case(guarded.address, "taken", "taken", "taken-out", tmp_path / "small")
    of_topics = ((TOPIC, case.topic, READ), (TOPIC, case.answers, WRITE))
    for topic in (case.topic, case.answers, case.dead):
        broker.create_topic(guarded.address, topic)
        broker.grant(guarded.address, TOPIC, topic, DESCRIBE, WRITE)
    broker.grant(guarded.address, TOPIC, case.topic, READ)
    broker.grant(guarded.address, GROUP, case.group, READ)
    case.service(f"offline_window = {WINDOW}")
    case.produce([value(number, "slow") for number in range(COUNT)])
    with running(case.folder, environ["KAFKA_BROKERS"], env=environ) as process:
        until(lambda: process.metric(ANSWERED) > 50)
        for right in of_topics:
            broker.refuse(guarded.address, *right)
            until(lambda: "uthorization failed" in process.log.read_text().splitlines()[-1])
            lines = process.log.read_text().count("\n")
            time.sleep(3)
            assert process.log.read_text().count("\n") <= lines + 2  # it is told now and then, and not at each try
            stood = process.metric(ANSWERED)
            broker.grant(guarded.address, *right)
            until(lambda: process.metric(ANSWERED) > stood + 50)  # noqa: B023
        broker.refuse(guarded.address, GROUP, case.group, READ)
        assert process.process.wait(240) == 1
        last = process.log.read_text().splitlines()[-1]
        assert "No right to join the group taken" in last
    assert "No right to join the group taken" in ended(case.folder, environ["KAFKA_BROKERS"], env=environ)[2]
    broker.grant(guarded.address, GROUP, case.group, READ)
    with running(case.folder, environ["KAFKA_BROKERS"], env=environ) as process:
        until(lambda: case.is_committed(), 240, pause=0.5)
        assert process.stop() == 0
    found = numbers(broker.records(guarded.address, case.answers))
    assert set(found) == set(range(COUNT))
    assert len(found) - COUNT <= WINDOW
    assert case.letters() == []
