"""Each thing that keeps a topic from being read is told before reading begins, with what to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.base.errors import StartError
from serving.offline.kafka.checks import check_reading
from serving.offline.kafka.client_configuration import ReadingPlan, connection, reading_plan
from serving.offline.kafka.groups import clients
from tests.own_broker import own_broker
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.kafka.members import Member, settings
from tests.waiting import until


def plan(environment: dict[str, str], topic: str, group: str, client: str = "like/small/prod") -> ReadingPlan:
    return reading_plan(connection(environment, client), topic, group, settings())


def refusal(*given: Any, **more: Any) -> str:
    with pytest.raises(StartError) as caught:
        check_reading(plan(*given, **more))
    return str(caught.value)


def test_a_topic_that_can_be_read_tells_its_partitions(kafka_address: str, topic: str, group: str) -> None:
    assert check_reading(plan({"KAFKA_BROKERS": kafka_address}, topic, group)) == 1


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
        assert check_reading(plan({"KAFKA_BROKERS": kafka_address}, topic, group)) == 1
    finally:
        member.stop()


@pytest.mark.offline
def test_a_group_is_looked_up_as_soon_as_a_new_broker_answers() -> None:
    with own_broker() as own:
        assert clients(connection({"KAFKA_BROKERS": own.address}, "like/small/prod"), "new") == []


@pytest.fixture(scope="module")
def secure() -> Iterator[dict[str, str]]:
    """The environment of a client with credentials and TLS, of a broker that has the topic "secure"."""
    with own_broker() as own:
        broker.create_topic(own.address, "secure")
        yield own.secure()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_credentials_open_the_secure_listener(secure: dict[str, str], group: str, mechanism: str) -> None:
    assert check_reading(plan({**secure, "KAFKA_MECHANISM": mechanism}, "secure", group)) == 1


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
