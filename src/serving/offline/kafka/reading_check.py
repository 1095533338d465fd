"""Looks, before a topic is read, whether brokers, topic and group allow it.

Knows what a person can mend, and says it. Joins no group.

Concurrency. `check_reading` blocks for some seconds at most, so it is called on a thread that may wait.
"""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.groups import NO_RIGHT, describe, no_right
from serving.offline.kafka.positions import reason_of
from serving.offline.kafka.reading.reading_plan import ReadingPlan
from serving.offline.kafka.topic_check import check
from serving.offline.records import Unreachable

CREATE = "create it, or correct its name"


def check_reading(plan: ReadingPlan) -> int:
    """Return the number of the topic's partitions. Raises StartError, which says what is wrong and what to do."""
    return check_source(plan.connected, plan.topic, plan.group)


def check_source(connected: Configuration, topic: str, group: str, missing: str = CREATE) -> int:
    """Return the number of a topic's partitions. missing: what to do where there is no such topic. Raises StartError."""
    try:
        partitions = check(connected, topic, needed=AclOperation.READ, missing=missing).partitions
    except Unreachable as error:
        raise StartError(f"{error}. Correct KAFKA_BROKERS or KAFKA_SECURITY, or start again once a broker answers.") from error
    _check_group(connected, group)
    return partitions


def _check_group(connected: Configuration, group: str) -> None:
    """Raise StartError where the group is another service's, or where this user may not join it."""
    try:
        found = describe(connected, group)
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() in NO_RIGHT:
            raise StartError(no_right(group)) from error
        reason = reason_of(error) if isinstance(error, KafkaException) else "no answer"
        raise StartError(f"The group {group} cannot be looked up: {reason}. Start again once its broker answers.") from error
    rights = set(found.authorized_operations or ()) if found else set()
    if rights and not {AclOperation.READ, AclOperation.ALL} & rights:
        raise StartError(no_right(group))
    foreign = sorted({member.client_id for member in found.members} - {connected["client.id"]}) if found else []
    if foreign:
        raise StartError(
            f"The group {group} is read by {', '.join(foreign)}, and two services would take each other's records. "
            "Set offline_group to a name that no other service has."
        )
