"""A broker that is killed, frozen or asks for a password: records are written again, and no write hangs."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.producer import TopicWriter
from serving.offline.records import Unreachable
from tests.own_broker import OwnBroker, own_broker
from tests.serving.offline import broker as asked

pytestmark = pytest.mark.offline


@pytest.fixture(scope="module")
def broker() -> Iterator[OwnBroker]:
    with own_broker() as own:
        yield own


def writer_of(broker: OwnBroker, delivery_second: float) -> TopicWriter:
    return TopicWriter(connection({}, "monopod-test", broker.address), delivery_second)


def test_each_record_is_written_once_and_in_order_though_the_broker_is_killed(broker: OwnBroker) -> None:
    asked.create_topic(broker.address, "killed")

    async def work() -> None:
        writer = writer_of(broker, 400)
        waiting = []
        for number in range(3000):
            waiting.append(writer.send("killed", b"k", b"%d" % number, []))
            if number == 1000:
                await asyncio.sleep(0.05)
                await asyncio.to_thread(broker.kill)
            if number == 2000:
                await asyncio.to_thread(broker.start)
        assert await asyncio.gather(*waiting) == [None] * 3000
        await writer.close()

    uvloop.run(work())
    assert [int(message.value() or b"") for message in asked.records(broker.address, "killed")] == list(range(3000))


def test_a_frozen_broker_is_unreachable_after_the_time_of_a_delivery_and_takes_the_same_again(broker: OwnBroker) -> None:
    asked.create_topic(broker.address, "frozen")

    async def work() -> None:
        writer = writer_of(broker, 3)
        await writer.write("frozen", b"k", b"before", [])
        broker.freeze()
        try:
            for _ in range(2):
                with pytest.raises(Unreachable, match="kafka:frozen"):
                    await asyncio.wait_for(writer.write("frozen", b"k", b"after", []), 60)
        finally:
            broker.thaw()
        for _ in range(20):
            try:
                await writer.write("frozen", b"k", b"after", [])
                break
            except Unreachable:
                await asyncio.sleep(0.2)
        await writer.close()

    uvloop.run(work())
    values = [message.value() for message in asked.records(broker.address, "frozen")]
    assert values[0] == b"before"
    assert set(values[1:]) == {b"after"}
    assert len(values) <= 4  # each try adds one at most


def test_a_close_does_not_wait_for_a_frozen_broker_and_tells_the_waiters(broker: OwnBroker) -> None:
    asked.create_topic(broker.address, "closed")

    async def work() -> None:
        writer = writer_of(broker, 60)
        await writer.write("closed", b"k", b"before", [])
        broker.freeze()
        try:
            waiting = writer.send("closed", b"k", b"after", [])
            await asyncio.wait_for(writer.close(1), 30)
            with pytest.raises(Unreachable):
                await asyncio.wait_for(waiting, 10)
        finally:
            broker.thaw()

    uvloop.run(work())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_user_with_its_password_and_the_brokers_authority_writes(broker: OwnBroker, mechanism: str) -> None:
    topic = f"secure-{mechanism}"
    asked.create_topic(broker.address, topic)

    async def work() -> None:
        writer = TopicWriter(connection(broker.secure(KAFKA_MECHANISM=mechanism), "monopod-test"))
        assert await writer.check(topic) == 1
        await writer.write(topic, b"k", b"v", [])
        await writer.close()

    uvloop.run(work())
    assert len(asked.records(broker.address, topic)) == 1


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ({"KAFKA_PASSWORD": "wrong", "KAFKA_MECHANISM": "PLAIN"}, "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM"),
        ({"KAFKA_USERNAME": "nobody"}, "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM"),
        ({"KAFKA_MECHANISM": "SCRAM-SHA-256"}, "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM"),
        ({"KAFKA_CA": ""}, "name the CA of the brokers by KAFKA_CA, or correct KAFKA_SECURITY"),
    ],
)
def test_wrong_credentials_or_authority_are_a_mistake_that_names_the_variable(
    broker: OwnBroker, wrong: dict[str, str], cure: str
) -> None:
    async def work() -> str:
        writer = TopicWriter(connection(broker.secure(**wrong), "monopod-test"))
        with pytest.raises(StartError) as error:
            await writer.check("ages")
        return str(error.value)

    text = uvloop.run(work())
    assert text.endswith(cure)
    assert "test-secret" not in text
