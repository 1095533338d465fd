"""Makes topics, writes records, and reads topics, groups and commits for tests.

Each call makes a client of its own, since a client that is older than a broker's restart may fail for good.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from tests.own_broker import USER
from tests.waiting import until

SECONDS = 60.0
NO_COORDINATOR = {"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"}
NO_LEADER = {"INVALID_REPLICATION_FACTOR", "_UNKNOWN_PARTITION", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE"}


def admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address})


def create_topic(address: str, name: str, partitions: int = 1, **settings: str) -> None:
    """Create a topic, and wait until the broker lists its partitions."""
    client = admin(address)  # a future fails once nothing holds its client
    new = NewTopic(name, partitions, 1, config=settings)
    _again(lambda: client.create_topics([new])[name].result(SECONDS))
    until(lambda: _partitions(address, name) == partitions)


def _again(ask: Callable[[], Any]) -> Any:
    """Return an answer, asked for again while a broker that stood still for seconds leads no partition yet."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return ask()
        except KafkaException as raised:
            if raised.args[0].name() not in NO_LEADER or time.monotonic() > end:
                raise
            time.sleep(0.2)


def _partitions(address: str, name: str) -> int:
    client = admin(address)
    topic = client.list_topics(name, timeout=SECONDS).topics[name]
    return 0 if topic.error else len(topic.partitions)


def add_partitions(address: str, name: str, partitions: int) -> None:
    """Let a topic have more partitions."""
    client = admin(address)
    client.create_partitions([NewPartitions(name, partitions)])[name].result(SECONDS)
    until(lambda: _partitions(address, name) == partitions)


def exists(address: str, name: str) -> bool:
    client = admin(address)
    return name in client.list_topics(timeout=SECONDS).topics


def produce(address: str, topic: str, values: Iterable[bytes | None], partition: int = 0, **more: Any) -> None:
    """Write records to a partition, in order, and wait until all are acknowledged. more: such as key, headers, timestamp."""
    producer = Producer({"bootstrap.servers": address, "acks": "all", "enable.idempotence": True, "linger.ms": 5})
    failed: list[Any] = []
    for value in values:
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    partition=partition,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                    **more,
                )
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(SECONDS) == 0
    assert failed == []


def records(address: str, topic: str) -> list[Message]:
    """Return all records that a topic holds now, in each partition's order."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "nobody", "enable.auto.commit": False})
    found: list[Message] = []
    try:
        for partition in consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions:
            place = TopicPartition(topic, partition)
            first, end = _again(partial(consumer.get_watermark_offsets, place, timeout=SECONDS))
            consumer.assign([TopicPartition(topic, partition, first)])
            last, deadline = first, time.monotonic() + SECONDS
            while last < end:
                assert time.monotonic() < deadline, f"{topic} [{partition}] ends at {end}, and was read up to {last}"
                for message in consumer.consume(1000, timeout=0.2):
                    assert message.error() is None, message.error()
                    found.append(message)
                    last = (message.offset() or 0) + 1
    finally:
        consumer.close()
    return found


def committed(address: str, group: str, topic: str, partition: int = 0) -> tuple[int | None, str]:
    """Return a partition's committed offset (None: there is none), and the commit's metadata.

    A consumer is asked, since librdkafka crashes where an AdminClient asks a broker that has just begun. It asks again while
    the group has no coordinator.
    """
    asking = Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False})
    places: list[TopicPartition] = []

    def is_told() -> bool:
        try:
            places[:] = asking.committed([TopicPartition(topic, partition)], timeout=SECONDS)
        except KafkaException as error:
            if error.args[0].name() not in NO_COORDINATOR:
                raise
        return bool(places)

    try:
        until(is_told, SECONDS, pause=0.2)
    finally:
        asking.close()
    (place,) = places
    assert place.error is None, place.error
    return (place.offset if place.offset >= 0 else None), place.metadata or ""


def commit(address: str, group: str, topic: str, offset: int, partition: int = 0) -> None:
    """Commit an offset of a group that has no member."""
    client, asked = admin(address), ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
    client.alter_consumer_group_offsets([asked])[group].result(SECONDS)


def produce_in_transaction(address: str, topic: str, values: Iterable[bytes]) -> None:
    """Write records in a transaction, which leaves a mark behind them that is no record."""
    producer = Producer({"bootstrap.servers": address, "transactional.id": f"monopod-test-{topic}"})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    producer.commit_transaction(SECONDS)


def end_offset(address: str, topic: str, partition: int = 0) -> int:
    client, place = admin(address), TopicPartition(topic, partition)
    return int(client.list_offsets({place: OffsetSpec.latest()})[place].result(SECONDS).offset)


def members(address: str, group: str) -> list[Any]:
    """Return the members of a group, each with client_id and assignment."""
    client = admin(address)
    try:
        return list(client.describe_consumer_groups([group])[group].result(SECONDS).members)
    except KafkaException as error:
        if error.args[0].name() == "GROUP_ID_NOT_FOUND":
            return []
        raise


def delete_topics(address: str, names: list[str]) -> None:
    """Delete topics, of which some may be gone."""
    client = admin(address)
    for deleted in client.delete_topics(names).values():
        with contextlib.suppress(KafkaException):
            deleted.result(SECONDS)


def delete_group(address: str, name: str) -> None:
    """Delete a group, which may never have had a member or a commit."""
    client = admin(address)
    with contextlib.suppress(KafkaException):
        client.delete_consumer_groups([name])[name].result(SECONDS)


def set_session(address: str, group: str, milliseconds: int) -> None:
    """Let the broker drop a member of a KIP-848 group that it has not heard of for so long."""
    entry = ConfigEntry("consumer.session.timeout.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    client = admin(address)
    client.incremental_alter_configs([resource])[resource].result(SECONDS)


def lose_before(address: str, topic: str, offset: int, partition: int = 0) -> None:
    """Delete the records before an offset, as retention does."""
    client, place = admin(address), TopicPartition(topic, partition, offset)
    client.delete_records([place])[place].result(SECONDS)


def grant(address: str, kind: ResourceType, name: str, *rights: AclOperation) -> None:
    """Give the user of a broker with rights some rights on a topic or a group."""
    client = admin(address)
    for made in client.create_acls([AclBinding(*_acl(kind, name, right)) for right in rights]).values():
        made.result(SECONDS)


def refuse(address: str, kind: ResourceType, name: str, right: AclOperation) -> None:
    """Take a right away."""
    client = admin(address)
    for taken in client.delete_acls([AclBindingFilter(*_acl(kind, name, right))]).values():
        taken.result(SECONDS)


def _acl(kind: ResourceType, name: str, right: AclOperation) -> tuple[Any, ...]:
    return kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", right, AclPermissionType.ALLOW
