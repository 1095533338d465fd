"""The environment and the settings become librdkafka's configuration, and each mistake names its variable."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import client_id, connection, consumer
from serving.settings import Settings


def test_a_client_whose_brokers_are_away_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    client = Consumer({**connection({"KAFKA_BROKERS": "127.0.0.1:1"}, "x"), "group.id": "x"})
    try:
        client.subscribe(["x"])
        client.poll(3)
    finally:
        client.close()
    told = [record.getMessage() for record in caplog.records if "127.0.0.1:1" in record.getMessage()]
    assert 1 <= len(told) <= 3, told
    assert "Connection refused" in told[0]


PLAIN = {"KAFKA_BROKERS": "127.0.0.1:1"}
SECRET = {"KAFKA_SECURITY": "sasl_ssl", "KAFKA_USERNAME": "test", "KAFKA_PASSWORD": "hidden"}


def settings(**more: object) -> Settings:
    return Settings(service_name="small", username="like", **more)  # type: ignore[arg-type]


def refusal(environment: dict[str, str], brokers: str = "") -> str:
    with pytest.raises(StartError) as caught:
        connection(environment, "like/small/prod", brokers)
    return str(caught.value)


def test_without_brokers_the_message_says_where_they_are_named() -> None:
    assert refusal({}).startswith("KAFKA_BROKERS is not set")


@pytest.mark.parametrize(
    "text", ["kafka", "kafka:", "kafka:90920", "kafka:0", "kafka;9092", "http://kafka:9092", "a:1,b b:2", "-a:1"]
)
def test_an_address_with_a_typo_is_named(text: str) -> None:
    assert "KAFKA_BROKERS holds" in refusal({"KAFKA_BROKERS": text})
    assert "--brokers holds" in refusal({}, text)


@pytest.mark.parametrize("text", ["kafka:9092", "127.0.0.1:9092, 127.0.0.1:9192", "[::1]:9092", "a-1.b_c.example:65535,"])
def test_an_address_is_taken(text: str) -> None:
    assert connection({"KAFKA_BROKERS": text}, "x")["bootstrap.servers"] == text.replace(" ", "").rstrip(",")


@pytest.mark.parametrize(("track", "name"), [("", "like/small/prod"), ("prod", "like/small/prod"), ("grey", "like/small/grey")])
def test_a_client_is_known_by_its_user_service_and_track(track: str, name: str) -> None:
    assert client_id(settings(), {"MONOPOD_TRACK": track}) == name


def test_the_flag_replaces_the_variable() -> None:
    assert connection(PLAIN, "x", "b:2")["bootstrap.servers"] == "b:2"


def test_an_unknown_protocol_or_mechanism_lists_the_known_ones() -> None:
    assert "plaintext, ssl, sasl_plaintext, sasl_ssl" in refusal({**PLAIN, "KAFKA_SECURITY": "SASL"})
    assert "SCRAM-SHA-512" in refusal({**PLAIN, **SECRET, "KAFKA_MECHANISM": "GSSAPI"})


@pytest.mark.parametrize("name", ["KAFKA_USERNAME", "KAFKA_PASSWORD"])
def test_half_of_the_credentials_is_refused(name: str) -> None:
    assert refusal({**PLAIN, **SECRET, name: ""}).startswith(f"{name} is not set")


def test_credentials_that_nothing_would_send_are_refused() -> None:
    words = refusal({**PLAIN, "KAFKA_PASSWORD": "hidden"})
    assert words.startswith("KAFKA_PASSWORD is set, but ")
    assert "hidden" not in words


def test_a_ca_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refusal({**PLAIN, "KAFKA_SECURITY": "ssl", "KAFKA_CA": str(tmp_path / "ca.pem")})


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_the_client_takes_the_configuration_of_either_protocol(protocol: str) -> None:
    made = consumer(connection({**PLAIN, **SECRET}, "like/small/prod"), settings(offline_protocol=protocol), "like-small")
    assert (made["group.id"], made["sasl.mechanism"]) == ("like-small", "SCRAM-SHA-512")
    Consumer(made).close()


@pytest.mark.parametrize(("memory", "kilobytes"), [("64Mi", 4096), ("1Gi", 32768), ("64Gi", 65536)])
def test_what_is_fetched_ahead_is_a_part_of_the_pods_memory(memory: str, kilobytes: int) -> None:
    assert consumer(connection(PLAIN, "x"), settings(memory=memory), "g")["queued.max.messages.kbytes"] == kilobytes


def test_a_long_revocation_does_not_end_the_membership() -> None:
    made = consumer(connection(PLAIN, "x"), settings(offline_revoke_second=600.0), "g")
    assert made["max.poll.interval.ms"] == 660_000
