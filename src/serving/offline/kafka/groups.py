"""Tells the members of a consumer group.

Knows groups. Reads and commits nothing. Each question makes a client of its own, since one that is older than a broker's
restart may fail for good.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from serving.offline.kafka.client_configuration import Configuration

CALL_SECONDS = 10.0
PAUSE_SECONDS = 0.2
NO_COORDINATOR = {  # for a moment after a broker's start
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
NO_GROUP = {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID}
NO_RIGHT = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}


def no_right(group: str) -> str:
    """Return what to do where a user may not join a group."""
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
        time.sleep(PAUSE_SECONDS)


def clients(connected: Configuration, group: str) -> list[str]:
    """Return each member's client.id, in order. Raises KafkaException."""
    found = describe(connected, group)
    return sorted(member.client_id for member in found.members) if found else []


class Standing(NamedTuple):
    """settled: whether the group is at rest and this member has no partition. others: each client.id that has some."""

    settled: bool = False
    others: Sequence[str] = ()


def standing_of(connected: Configuration, group: str, member: str) -> Standing:
    """Return how a member stands in its group. Where that cannot be known now, it is as in a group that moves."""
    try:
        found = describe(connected, group, 2.0)
    except (KafkaException, TimeoutError):
        return Standing()
    if found is None:
        return Standing()
    mine = [each for each in found.members if each.member_id == member and not each.assignment.topic_partitions]
    others = sorted({each.client_id for each in found.members if each.member_id != member and each.assignment.topic_partitions})
    return Standing(bool(mine) and found.state == ConsumerGroupState.STABLE, others)
