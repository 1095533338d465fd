"""Records reach a real broker once each, in order, or it is told why they do not."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import uvloop
from confluent_kafka import KafkaError, KafkaException

from serving.base.errors import StartError
from serving.offline.kafka import checks
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.producer import Refused, TopicWriter
from serving.offline.records import Unreachable
from tests.running import free_port
from tests.serving.offline import broker

Work = Callable[[TopicWriter], Awaitable[object]]


def run(address: str, work: Work, environ: dict[str, str] | None = None, delivery_second: float = 60) -> object:
    """Run some work with a writer, and return what it returns."""

    async def ran() -> object:
        writer = TopicWriter(connection(environ or {}, "monopod-test", address), delivery_second)
        try:
            return await work(writer)
        finally:
            await writer.close()

    return uvloop.run(ran())


def send(topic: str, values: Sequence[bytes], key: Callable[[int], bytes | None] = lambda number: b"k") -> Work:
    """Return work that writes values at once and returns for each None or its error's text. key: of a value's number."""

    async def sent(writer: TopicWriter) -> object:
        waiting = [writer.send(topic, key(number), value, []) for number, value in enumerate(values)]
        return [found and str(found) for found in await asyncio.gather(*waiting, return_exceptions=True)]

    return sent


def test_a_record_arrives_with_its_key_value_and_headers(kafka_address: str, topic: str) -> None:
    headers = [("origin-topic", b"videos"), ("origin-topic", b"twice"), ("\u00fc", b"\xff")]
    run(kafka_address, lambda writer: writer.write(topic, b"\x00key", b"\xffvalue", headers))
    run(kafka_address, lambda writer: writer.write(topic, None, None, []))
    first, second = broker.records(kafka_address, topic)
    assert (first.key(), first.value(), first.headers()) == (b"\x00key", b"\xffvalue", headers)
    assert (second.key(), second.value(), second.headers()) == (None, None, None)


def test_records_of_one_key_keep_their_order_in_one_partition(kafka_address: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(4)
    values = [b"%d" % number for number in range(5000)]
    assert run(kafka_address, send(topic, values, lambda number: b"%d" % (number % 20))) == [None] * 5000
    found: dict[bytes | None, list[tuple[int | None, int]]] = {}
    for message in broker.records(kafka_address, topic):
        found.setdefault(message.key(), []).append((message.partition(), int(message.value() or b"")))
    assert len(found) == 20
    for key, places in found.items():
        assert len({partition for partition, _ in places}) == 1
        assert [number for _, number in places] == list(range(int(key or b""), 5000, 20))


@pytest.mark.parametrize("checks", [True, False])
def test_a_record_over_the_topics_bound_is_refused_alone(
    kafka_address: str, make_topic: Callable[..., str], checks: bool
) -> None:
    topic = make_topic(1, **{"max.message.bytes": "20000"})
    values = [b"%04d" % number * 250 for number in range(200)]
    values[100] *= 30

    async def work(writer: TopicWriter) -> object:
        if checks:
            await writer.check(topic)
        return await send(topic, values)(writer)

    outcomes = run(kafka_address, work)
    assert isinstance(outcomes, list)
    assert "raise the topic's max.message.bytes" in outcomes.pop(100)
    assert outcomes == [None] * 199
    found = [message.value() for message in broker.records(kafka_address, topic)]
    expected = values[:100] + values[101:]
    assert (found if checks else sorted(found, key=bytes)) == expected  # type: ignore[arg-type]


def test_a_record_of_any_size_that_the_topic_allows_is_written(kafka_address: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(1, **{"max.message.bytes": "6000000"})
    run(kafka_address, lambda writer: writer.write(topic, None, b"v" * 5_000_000, []))
    assert [len(message.value() or b"") for message in broker.records(kafka_address, topic)] == [5_000_000]


def test_a_record_without_a_key_in_a_compacted_topic_is_refused_alone(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(1, **{"cleanup.policy": "compact"})
    values = [b"%d" % number for number in range(50)]
    outcomes = run(kafka_address, send(topic, values, lambda number: None if number == 20 else b"%d" % number))
    assert isinstance(outcomes, list)
    assert outcomes.pop(20)
    assert outcomes == [None] * 49
    assert {message.value() for message in broker.records(kafka_address, topic)} == {*values} - {b"20"}


def test_a_refusal_has_a_reason_for_metrics(kafka_address: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(1, **{"max.message.bytes": "1000"})
    with pytest.raises(Refused) as error:
        run(kafka_address, lambda writer: writer.write(topic, b"k", b"v" * 2000, []))
    assert error.value.refusal.reason == "too_large"


def test_a_topic_that_is_deleted_meanwhile_is_waited_for(kafka_address: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic()

    async def work(writer: TopicWriter) -> None:
        await writer.write(topic, b"k", b"before", [])
        broker.delete_topics(kafka_address, [topic])
        for _ in range(60):
            try:
                await writer.write(topic, b"k", b"after", [])
                return
            except Unreachable:
                if not topic_exists(kafka_address, topic):
                    broker.create_topic(kafka_address, topic)
        raise AssertionError("the topic was not written to again")

    run(kafka_address, work, delivery_second=3)
    assert {message.value() for message in broker.records(kafka_address, topic)} == {b"after"}


def topic_exists(address: str, topic: str) -> bool:
    return topic in broker.admin(address).list_topics(timeout=broker.SECONDS).topics


def test_a_producer_that_has_failed_for_good_is_replaced(
    kafka_address: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL, "it fails", fatal=True))

    async def work(writer: TopicWriter) -> None:
        await writer.write(topic, b"k", b"before", [])
        monkeypatch.setattr(writer._clients[False], "produce", fail)  # no broker can be made to cause it
        with pytest.raises(Unreachable, match="it fails"):
            await writer.write(topic, b"k", b"failed", [])
        await writer.write(topic, b"k", b"after", [])

    run(kafka_address, work)
    assert [message.value() for message in broker.records(kafka_address, topic)] == [b"before", b"after"]


def test_a_waiter_that_goes_away_leaves_the_others(kafka_address: str, topic: str) -> None:
    async def work(writer: TopicWriter) -> None:
        gone = asyncio.create_task(writer.write(topic, b"k", b"gone", []))
        await asyncio.sleep(0)
        gone.cancel()
        await writer.write(topic, b"k", b"stays", [])

    run(kafka_address, work)
    assert [message.value() for message in broker.records(kafka_address, topic)] == [b"gone", b"stays"]


def test_what_was_sent_is_written_before_a_close_ends(kafka_address: str, topic: str) -> None:
    async def work(writer: TopicWriter) -> None:
        waiting = [writer.send(topic, b"k", b"v", []) for _ in range(1000)]
        await writer.close()
        assert await asyncio.gather(*waiting) == [None] * 1000
        await writer.write(topic, b"k", b"again", [])  # a closed writer connects again

    run(kafka_address, work)
    assert len(broker.records(kafka_address, topic)) == 1001


def test_a_refused_batch_is_written_record_by_record_before_a_close_ends(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(1, **{"max.message.bytes": "20000"})

    async def work(writer: TopicWriter) -> None:
        waiting = [writer.send(topic, b"k", b"v" * 1000, []) for _ in range(100)]
        await writer.close()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [None] * 100

    run(kafka_address, work)
    assert len(broker.records(kafka_address, topic)) == 100


def test_a_check_tells_the_partitions_or_that_there_is_no_such_topic(
    kafka_address: str, make_topic: Callable[..., str]
) -> None:
    assert run(kafka_address, lambda writer: writer.check(make_topic(3))) == 3
    missing = f"monopod-test-{uuid.uuid4().hex[:12]}"
    with pytest.raises(StartError, match=f"kafka:{missing} at {kafka_address}: the topic does not exist; create it"):
        run(kafka_address, lambda writer: writer.check(missing))
    assert not topic_exists(kafka_address, missing)  # asking makes no topic
    try:
        assert isinstance(run(kafka_address, lambda writer: writer.check(missing, may_create=True)), int)
        run(kafka_address, lambda writer: writer.write(missing, None, b"v", []))
    finally:
        broker.delete_topics(kafka_address, [missing])


@pytest.mark.parametrize("name", ["a/b", "a b", "."])
def test_a_topic_that_no_broker_takes_is_a_mistake(kafka_address: str, name: str) -> None:
    with pytest.raises(StartError, match=f"kafka:{name}"):
        run(kafka_address, lambda writer: writer.check(name, may_create=True))


def test_a_configuration_that_the_client_refuses_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    refused = {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "ca.pem")}
    with pytest.raises(StartError, match="kafka:ages at 127.0.0.1:1: .*ca.location"):
        checks.check_topic(refused, "ages")


@pytest.mark.parametrize(("host", "words"), [("127.0.0.1", "Connection refused"), ("nowhere.invalid", "resolve")])
def test_brokers_that_are_away_are_unreachable_with_the_cause(host: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ASK_SECONDS", 2.0)
    address = f"{host}:{free_port()}"
    for work in (lambda writer: writer.check("ages"), lambda writer: writer.write("ages", None, b"v", [])):
        with pytest.raises(Unreachable, match=f"kafka:ages.*{words}"):
            run(address, work, delivery_second=1)
