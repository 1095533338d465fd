"""Answers become records of a real topic."""

from collections.abc import Callable

import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.producer import TopicWriter
from serving.offline.records import Refusal, Unreachable
from serving.offline.sinks.opening import KafkaTopic
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.answers import answer


def sink_of(address: str, topic: str, delivery_second: float = 60) -> KafkaTopic:
    return KafkaTopic(f"kafka:{topic}", topic, TopicWriter(connection({}, "monopod-test", address), delivery_second))


def test_an_answer_is_a_record_with_the_records_key_and_its_origin_in_headers(kafka_address: str, topic: str) -> None:
    async def work() -> None:
        sink = sink_of(kafka_address, topic)
        await sink.open()
        assert list(await sink.write([answer(7, topic="videos", partition=3, version="v2")])) == [None]
        await sink.close()

    uvloop.run(work())
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


def test_a_topic_that_is_not_there_is_a_mistake_at_the_start(kafka_address: str) -> None:
    with pytest.raises(StartError, match="the topic does not exist"):
        uvloop.run(sink_of(kafka_address, "monopod-test-nowhere").open())


def test_brokers_that_are_away_are_unreachable() -> None:
    async def work() -> None:
        sink = sink_of(f"127.0.0.1:{free_port()}", "ages", 1)
        with pytest.raises(Unreachable, match="kafka:ages"):
            await sink.write([answer(0), answer(1)])
        await sink.close()

    uvloop.run(work())
