"""Consumer groups: their members, their commits, and where reading begins.

Every call has a time limit. Each question makes a client of its own, since a client that is older than a broker's restart may
fail for good.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import Configuration

CALL_SECONDS = 10.0
AGAIN_SECONDS = 0.2  # between two questions to a group that has no coordinator yet
NO_COORDINATOR = {  # for a moment after a broker's start
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
NO_GROUP = {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID}
NO_RIGHT = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
log = logging.getLogger("monopod.kafka")

RESULT_SECONDS = CALL_SECONDS + 5  # the client gives up before
HAS_MEMBERS = {KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID}


def no_right(group: str) -> str:
    return f"No right to join the group {group}. Grant this user READ on the group."


def describe(connected: Configuration, group: str, seconds: float = CALL_SECONDS) -> Any:
    """Return a group's state, its members and this user's rights, None where there is no such group. Raises KafkaException.

    seconds: the most for one question, and until the group has a coordinator.
    """
    client, end = AdminClient(connected), time.monotonic() + seconds
    while True:
        try:
            asked = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=seconds)
            return asked[group].result(seconds + 1)
        except KafkaException as error:
            code = error.args[0].code()
            if code in NO_GROUP:
                return None
            if code not in NO_COORDINATOR or time.monotonic() > end:
                raise
        time.sleep(AGAIN_SECONDS)


def clients(connected: Configuration, group: str) -> list[str]:
    found = describe(connected, group)
    return sorted(member.client_id for member in found.members) if found else []


def standing_of(connected: Configuration, group: str, member: str) -> tuple[bool, Sequence[str]]:
    """Return whether a group is at rest while this member has no partition, and each client.id of others that have some.

    Where that cannot be known now, it is as in a group that moves.
    """
    try:
        found = describe(connected, group, 2.0)
    except (KafkaException, TimeoutError):
        return False, ()
    members = found.members if found else ()
    mine = any(each.member_id == member and not each.assignment.topic_partitions for each in members)
    others = sorted({each.client_id for each in members if each.member_id != member and each.assignment.topic_partitions})
    return mine and found.state == ConsumerGroupState.STABLE, others


def milliseconds(start: str) -> int:
    """Return a time of offline_start or --to as milliseconds since 1970, where no record is older. Without an offset it is UTC.

    Raises StartError.
    """
    try:
        found = datetime.fromisoformat(start.replace("Z", "+00:00"))
    except ValueError as error:
        words = 'Write "earliest", "latest" or a time as "2026-11-22T08:00:00Z".'
        raise StartError(f"{start!r} is not a start. {words}") from error
    return max(0, round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000))


def begin(connected: Configuration, topic: str, group: str, start: str) -> None:
    """Commit the start of all partitions for a group that has committed nothing.

    So a partition without a commit is known as one that the topic got later. Raises KafkaException, StartError.
    """
    client = AdminClient(connected)
    partitions = _partitions(client, topic)
    if committed_offsets(connected, topic, group, partitions):
        return
    try:
        _move(client, topic, group, _offsets(client, topic, partitions, start))
    except KafkaException as error:
        if error.args[0].code() not in HAS_MEMBERS:  # one of them has begun just now
            raise


def start_offset(connected: Configuration, topic: str, partition: int, start: str, begun: bool) -> int:
    """Return the offset at which a partition without a commit begins. begun: the group has committed others of the topic.

    A partition that the topic got later is read from its earliest record. Raises KafkaException where the broker is away.
    """
    return _offsets(AdminClient(connected), topic, [partition], "earliest" if begun else start)[partition]


def reason_of(error: KafkaException) -> str:
    inner = error.args[0] if error.args else error
    return str(inner.str()) if isinstance(inner, KafkaError) else str(inner)


def seek(connected: Configuration, topic: str, group: str, start: str) -> dict[int, tuple[int | None, int]]:
    """Commit the offsets of a start for a whole group, which has no member then. Returns each partition's old and new offset.

    Raises StartError where the group has members, since they would go on committing what they read.
    """
    client = AdminClient(connected)
    try:
        _refuse_members(connected, group)
        partitions = _partitions(client, topic)
        old = committed_offsets(connected, topic, group, partitions)
        new = _offsets(client, topic, partitions, start)
        _move(client, topic, group, new)
    except KafkaException as error:
        where = connected["bootstrap.servers"]
        raise StartError(f"The group {group} cannot be moved at {where}: {reason_of(error)}.") from error
    return {number: (old.get(number), offset) for number, offset in new.items()}


def _move(client: AdminClient, topic: str, group: str, offsets: Mapping[int, int]) -> None:
    """Commit offsets of a group without members. Raises KafkaException."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number, offset) for number, offset in offsets.items()])
    answer = client.alter_consumer_group_offsets([asked], request_timeout=CALL_SECONDS)[group].result(RESULT_SECONDS)
    for place in answer.topic_partitions:
        if place.error:
            raise KafkaException(place.error)


def committed_offsets(connected: Configuration, topic: str, group: str, partitions: Sequence[int]) -> dict[int, int]:
    """Return the committed offset of each partition that has one. Raises KafkaException.

    A consumer is asked, which joins no group. With list_consumer_group_offsets of an AdminClient, librdkafka 2.16.1 crashes
    at a broker that has just begun: it looks for the client's own group, and an AdminClient has none.
    """
    asking = Consumer({**connected, "group.id": group, "enable.auto.commit": False})
    try:
        found = asking.committed([TopicPartition(topic, number) for number in partitions], timeout=CALL_SECONDS)
    finally:
        asking.close()
    for place in found:
        if place.error:
            raise KafkaException(place.error)
    return {place.partition: place.offset for place in found if place.offset >= 0}


def _refuse_members(connected: Configuration, group: str) -> None:
    members = clients(connected, group)
    if members:
        raise StartError(
            f"The group {group} has members ({', '.join(sorted(set(members)))}), which would go on from where they read. "
            "Stop the offline pods first, by offline_replicas = 0 or `monopod stop`, and seek again."
        )


def _partitions(client: AdminClient, topic: str) -> list[int]:
    """Return the numbers of a topic's partitions. The topic is described, since a list may create what it asks for."""
    described = client.describe_topics(TopicCollection([topic]), request_timeout=CALL_SECONDS)[topic]
    try:
        return sorted(partition.id for partition in described.result(RESULT_SECONDS).partitions)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        raise StartError(f"There is no topic {topic} at these brokers. Create it, or correct offline_source.") from error


def _offsets(client: AdminClient, topic: str, partitions: Sequence[int], start: str) -> dict[int, int]:
    specs = {"earliest": OffsetSpec.earliest(), "latest": OffsetSpec.latest()}
    spec = specs.get(start) or OffsetSpec.for_timestamp(milliseconds(start))
    found = _ask_offsets(client, topic, partitions, spec)
    late = [number for number, offset in found.items() if offset < 0]  # no record is as late
    return found | (_ask_offsets(client, topic, late, specs["latest"]) if late else {})


def _ask_offsets(client: AdminClient, topic: str, partitions: Sequence[int], spec: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(topic, number): spec for number in partitions}
    found = client.list_offsets(asked, request_timeout=CALL_SECONDS)
    return {place.partition: future.result(RESULT_SECONDS).offset for place, future in found.items()}
