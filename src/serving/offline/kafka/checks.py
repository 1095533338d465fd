"""Looks, before anything is read or written, whether brokers, topics and groups allow it, and says what a person can mend.

Concurrency. Each check blocks for about ASK_SECONDS at most for each question, so it is called on a thread that may wait. It
makes a client of its own, since a client that is older than a broker's restart may fail for good.
"""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, NewTopic, ResourceType

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.groups import NO_RIGHT, describe, no_right, reason_of
from serving.offline.records import Unreachable

ASK_SECONDS = 15.0
_MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
_NO_RIGHT = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
# A client tells such an event while a question waits, and tries again for ever, though only a person can mend it.
_FOR_GOOD = {
    KafkaError._AUTHENTICATION: "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM",
    KafkaError._SSL: "name the CA of the brokers by KAFKA_CA, or correct KAFKA_SECURITY",
    KafkaError.SASL_AUTHENTICATION_FAILED: "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM",
}
CREATE = "create it, or correct its name"


class Limits(NamedTuple):
    """The bounds of a topic. batch_bytes: of one batch, 0 where the brokers do not tell it."""

    partitions: int
    batch_bytes: int


def check_topic(
    connected: Configuration,
    topic: str,
    may_create: bool = False,
    needed: AclOperation = AclOperation.WRITE,
    missing: str = CREATE,
) -> Limits:
    """Return what a topic takes.

    connected: of client_configuration.connection. may_create: makes the topic where it is missing, with the brokers' own
    settings. needed: the right that is looked for. missing: what to do where there is no such topic. Raises StartError, which
    names the cure, and Unreachable.
    """
    asking = _Asking(connected, topic, f"no right; grant this user {needed.name} on the topic")
    found = asking.described()
    if found is None and may_create:
        asking.create()
        found = asking.described()
    if found is None:
        raise StartError(f"{asking.place}: the topic does not exist; {missing}")
    if found.authorized_operations and not {needed, AclOperation.ALL} & set(found.authorized_operations):
        raise StartError(f"{asking.place}: {asking.refused}")
    return Limits(len(found.partitions), asking.batch_bytes())


def cause(events: Sequence[KafkaError]) -> str:
    """Return what a client has told last about its connections, without the milliseconds. Empty where it told nothing."""
    told = [event.str() for event in events if event.code() != KafkaError._ALL_BROKERS_DOWN]
    return re.sub(r" \(after \d+ms in state \w+\)", "", told[-1]) if told else ""


class _Asking:
    """Questions to the brokers about one topic. refused: what to say where a right is missing."""

    def __init__(self, connected: Configuration, topic: str, refused: str):
        self.place, self.refused = f"kafka:{topic} at {connected['bootstrap.servers']}", refused
        self._topic = topic
        self._events: list[KafkaError] = []
        # The events are told in the error's text, so librdkafka's own lines, ten a second, are left out.
        told: Configuration = {"error_cb": self._events.append, "log_level": 0}
        try:
            self._client = AdminClient({**connected, **told})
        except KafkaException as error:
            raise StartError(f"{self.place}: {error.args[0].str()}; correct the variable that sets it") from None

    def described(self) -> Any:
        asked = self._client.describe_topics(
            TopicCollection([self._topic]), include_authorized_operations=True, request_timeout=ASK_SECONDS
        )
        return self._answer(lambda: asked[self._topic], missing=None)

    def create(self) -> None:
        asked = self._client.create_topics([NewTopic(self._topic)], request_timeout=ASK_SECONDS)
        self._answer(lambda: asked[self._topic], words="no right to make the topic; make it, or grant this user CREATE on it")
        end = time.monotonic() + ASK_SECONDS
        while self.described() is None and time.monotonic() < end:
            time.sleep(0.1)

    def batch_bytes(self) -> int:
        """Return the topic's max.message.bytes, or 0 where this user may not read it."""
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        asked = self._client.describe_configs([resource], request_timeout=ASK_SECONDS)
        found = self._answer(lambda: asked[resource], missing={}, refused={})  # a right of its own, and not needed
        return int(found["max.message.bytes"].value) if "max.message.bytes" in found else 0

    def _answer(self, future: Callable[[], "Future[Any]"], missing: Any = ..., refused: Any = ..., words: str = "") -> Any:
        """Wait for an answer. missing, refused: returned where there is no such topic, and where a right is missing.

        words: to say where a right is missing beside the one that is checked.
        """
        waiting, end = future(), time.monotonic() + ASK_SECONDS + 5
        while not waiting.done() and time.monotonic() < end:
            self._client.poll(0.05)
            self._give_up()
        try:
            return waiting.result(0)
        except TimeoutError:
            raise Unreachable(f"{self.place}: no answer") from None
        except KafkaException as raised:
            error = raised.args[0]
        self._client.poll(0)
        self._give_up()
        if error.code() in _MISSING and missing is not ...:
            return missing
        if error.code() in _NO_RIGHT:
            if refused is ...:
                raise StartError(f"{self.place}: {words or self.refused}")
            return refused
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return None
        if error.retriable() or error.code() < 0:  # the client's own errors are those of transport
            raise Unreachable(f"{self.place}: {cause(self._events) or error.str()}")
        raise StartError(f"{self.place}: {error.str()}")

    def _give_up(self) -> None:
        """Raise StartError where the client has told an event that no waiting mends."""
        for event in self._events:
            if cure := _FOR_GOOD.get(event.code()):
                raise StartError(f"{self.place}: {event.str()}; {cure}")


def check_source(connected: Configuration, topic: str, group: str, missing: str = CREATE) -> int:
    """Return the number of a topic's partitions. missing: what to do where there is no such topic. Raises StartError."""
    try:
        partitions = check_topic(connected, topic, needed=AclOperation.READ, missing=missing).partitions
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
