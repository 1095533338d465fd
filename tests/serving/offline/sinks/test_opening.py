"""Names of sinks become sinks, with the track's suffix and what the environment says; a topic is one of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.producer import TopicWriter
from serving.offline.records import Refusal, Unreachable
from serving.offline.sinks.opening import KafkaTopic, open_sinks
from serving.settings import Settings
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.answers import answer
from tests.waiting import on_loop

ENVIRON = {"KAFKA_BROKERS": "kafka-1.example:9092", "POSTGRESQL_URL": "postgresql://a:secret@db.example/likes"}
SETTINGS = Settings(
    service_name="demo",
    username="like",
    offline_source="kafka:videos",
    offline_sinks=("kafka:ages", "postgresql:likes.ages", "stdout"),
)


@pytest.mark.parametrize(
    ("track", "names"),
    [
        ("", ["kafka:ages", "postgresql:likes.ages", "stdout"]),
        ("prod", ["kafka:ages", "postgresql:likes.ages", "stdout"]),
        ("grey", ["kafka:ages-grey", "postgresql:likes.ages_grey", "stdout"]),
        ("ab", ["kafka:ages-ab", "postgresql:likes.ages_ab", "stdout"]),
    ],
)
def test_a_tracks_sinks_are_those_of_value_py_with_its_suffix(track: str, names: list[str]) -> None:
    sinks = open_sinks(SETTINGS, {**ENVIRON, "MONOPOD_TRACK": track})
    assert [sink.name for sink in sinks] == names


def test_a_command_names_other_sinks_and_each_once() -> None:
    names = ["stdout", "file:out/answers.jsonl", "stdout", "postgresql:b"]
    sinks = open_sinks(SETTINGS, {**ENVIRON, "MONOPOD_TRACK": "grey"}, names)
    assert {sink.name for sink in sinks} == {"stdout", "file:out/answers.jsonl", "postgresql:b_grey"}


@pytest.mark.parametrize("name", ["", "ages", "kafka:", "postgresql:", "file:", "mysql:ages", "stdout:"])
def test_what_names_no_sink_is_told_with_the_kinds(name: str) -> None:
    with pytest.raises(StartError, match='sinks are "kafka:<topic>"'):
        open_sinks(SETTINGS, ENVIRON, [name])


def test_no_sink_at_all_is_a_mistake() -> None:
    with pytest.raises(StartError, match="name one by offline_sinks .* --to"):
        open_sinks(replace(SETTINGS, offline_sinks=()), ENVIRON)


def test_the_source_is_no_sink() -> None:
    with pytest.raises(StartError, match="kafka:videos is the source"):
        open_sinks(SETTINGS, ENVIRON, ["kafka:videos"])


@pytest.mark.parametrize("variable", ENVIRON)
def test_a_variable_that_a_sink_needs_is_named(variable: str) -> None:
    with pytest.raises(StartError, match=f"{variable} is not set"):
        open_sinks(SETTINGS, {**ENVIRON, variable: ""})
    assert len(open_sinks(SETTINGS, {}, ["stdout"])) == 1


def sink_of(address: str, topic: str, delivery_second: float = 60) -> KafkaTopic:
    return KafkaTopic(f"kafka:{topic}", topic, TopicWriter(connection({}, "monopod-test", address), delivery_second))


@on_loop
async def test_an_answer_is_a_record_with_the_records_key_and_its_origin_in_headers(kafka_address: str, topic: str) -> None:
    sink = sink_of(kafka_address, topic)
    await sink.open()
    assert list(await sink.write([answer(7, topic="videos", partition=3, version="v2")])) == [None]
    await sink.close()
    [message] = broker.records(kafka_address, topic)
    assert (message.key(), message.value()) == (b"key", b'{"results": {"age": 7}, "msg": ""}')
    assert message.headers() == [
        ("origin-topic", b"videos"),
        ("origin-partition", b"3"),
        ("origin-offset", b"7"),
        ("model-version", b"v2"),
    ]


def test_an_answer_over_the_topics_bound_is_refused_and_the_others_are_written(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(1, **{"max.message.bytes": "20000"})

    async def work() -> list[Refusal | None]:
        sink = sink_of(kafka_address, topic)
        await sink.open()
        outcomes = list(await sink.write([answer(0), answer(1, text="x" * 30_000), answer(2)]))
        await sink.close()
        return outcomes

    first, refused, last = uvloop.run(work())
    assert (first, last) == (None, None)
    assert refused
    assert refused.reason == "too_large"
    assert len(broker.records(kafka_address, topic)) == 2


@on_loop
async def test_brokers_that_are_away_are_unreachable() -> None:
    sink = sink_of(f"127.0.0.1:{free_port()}", "ages", 1)
    with pytest.raises(Unreachable, match="kafka:ages"):
        await sink.write([answer(0), answer(1)])
    await sink.close()
