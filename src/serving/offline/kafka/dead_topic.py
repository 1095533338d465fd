"""The partitions of a topic of dead letters as inputs that end, and a group's commits as the note of what was replayed.

Knows consumers that join no group. Does not know what becomes of a record. A replay ends where the topic ended when it began.
A record that dies again waits for the next one.

Concurrency. One thread reads and commits. Another one may call `interrupt`.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from serving.base.errors import StartError
from serving.offline.dead_letter_headers import NotDead, record_of
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.reading_check import check_source
from serving.offline.records import Origin, Record, Refusal, SourceFailed, Unreachable
from serving.offline.refill.items import Item, Place

CALL_SECOND = 15.0
LOOK_SECOND = 0.5
SILENT_SECOND = 10.0  # without an answer, until the brokers count as away
MISSING = "the group has given up no record, or offline_source or offline_group is another one"
GONE = "gone"  # the reason of a record that is not where its dead letter says

log = logging.getLogger("monopod.replay")


class DeadPartition:
    """An Input. The name of a dead letter is its offset, and its place is the one behind it."""

    def __init__(self, consumer: Consumer, origins: "Origins", topic: str, partition: int):
        """Raises KafkaException."""
        self._consumer, self._origins, self._topic, self._partition = consumer, origins, topic, partition
        self._first, self.end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=CALL_SECOND)
        self.name, self.passed_over = str(partition), 0
        self.size = float(self.end - self._first)
        self._interrupted = threading.Event()

    def identity(self) -> Mapping[str, object]:
        return {}  # offsets stay what they are

    def interrupt(self) -> None:
        self._interrupted.set()

    def read(self, after: Place | None) -> Iterator[Item]:
        offset = max(self._first, after if isinstance(after, int) else 0)
        for message in _messages(
            self._consumer, TopicPartition(self._topic, self._partition, offset), self.end, self._interrupted
        ):
            number = int(message.offset() or 0)
            try:
                dead = record_of(message.headers() or (), message.key(), message.value())  # type: ignore[arg-type]
            except NotDead as error:
                self.passed_over += 1
                log.warning("%s [%d] at offset %d is passed over: %s", self._topic, self._partition, number, error)
                continue
            record = self._origins.with_value(dead.record) if dead.by_reference else dead.record
            yield Item(record, number, number + 1, float(number + 1 - self._first))


class Origins:
    """Reads records again where they came from. connected: as of client_configuration.connection."""

    def __init__(self, connected: Configuration, group: str):
        self._consumer = Consumer(_configuration(connected, group))
        self._never = threading.Event()

    def with_value(self, record: Record) -> Record:
        """Return a record with its value, or with the reason why that is gone. Raises Unreachable."""
        origin = record.origin
        place = TopicPartition(origin.topic, origin.partition, origin.offset)
        try:
            first, end = self._consumer.get_watermark_offsets(place, timeout=CALL_SECOND)
        except KafkaException as error:
            if error.args[0].code() in (
                KafkaError.UNKNOWN_TOPIC_OR_PART,
                KafkaError._UNKNOWN_PARTITION,
                KafkaError._UNKNOWN_TOPIC,
            ):
                return _gone(record, "there is no such topic or partition")
            raise Unreachable(f"{origin.topic} [{origin.partition}]: {error.args[0].str()}") from None
        if first <= origin.offset < end:
            for message in _messages(self._consumer, place, origin.offset + 1, self._never):
                if message.offset() == origin.offset:
                    return record._replace(value=message.value())
        return _gone(record, f"the topic holds the offsets {first} to {end - 1} now")

    def close(self) -> None:
        self._consumer.close()


class Commits:
    """The note of a replay: commits of a group that has no member. ends: of the partitions, by their names."""

    def __init__(self, consumer: Consumer, origins: Origins, topic: str, ends: Mapping[str, int]):
        self.path = f"the commits of {topic}"
        self._consumer, self._origins, self._topic, self._ends = consumer, origins, topic, ends

    def close(self) -> None:
        """Disconnect. Nothing is read after it."""
        self._origins.close()
        self._consumer.close()

    def read(self) -> dict[str, Any]:
        """Return the committed offset of each partition. Raises StartError."""
        places = [TopicPartition(self._topic, int(name)) for name in self._ends]
        try:
            found = self._consumer.committed(places, timeout=CALL_SECOND)
        except KafkaException as error:
            raise StartError(f"{self.path} cannot be read: {error.args[0].str()}") from None
        return {str(place.partition): {"is": {}, "after": place.offset} for place in found if place.offset >= 0}

    def write(self, done: Mapping[str, Any]) -> None:
        """Commit how far each partition is done. Raises SourceFailed."""
        offsets = {name: self._ends[name] if state.get("complete") else state["after"] for name, state in done.items()}
        places = [TopicPartition(self._topic, int(name), offset) for name, offset in offsets.items() if offset is not None]
        try:
            if places:
                self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            words = f"{self.path} failed: {error.args[0].str()}; what was replayed since is replayed again by the next run"
            raise SourceFailed(words) from None


def open_partitions(connected: Configuration, topic: str, group: str) -> tuple[list[DeadPartition], Commits]:
    """Return the partitions of a topic of dead letters, and the note of a group. Raises StartError."""
    count = check_source(connected, topic, group, MISSING)
    consumer = Consumer(_configuration(connected, group))
    try:
        origins = Origins(connected, group)
        partitions = [DeadPartition(consumer, origins, topic, number) for number in range(count)]
    except KafkaException as error:
        raise StartError(f"{topic} at {connected['bootstrap.servers']} cannot be read: {error.args[0].str()}") from None
    return partitions, Commits(consumer, origins, topic, {each.name: each.end for each in partitions})


def _messages(consumer: Consumer, place: TopicPartition, end: int, interrupted: threading.Event) -> Iterator[Message]:
    """Yield the messages of a partition from an offset up to an end, or to the topic's. Raises Unreachable, SourceFailed."""
    if place.offset >= end:
        return
    consumer.assign([place])
    heard = time.monotonic()
    while True:
        for message in consumer.consume(100, timeout=LOOK_SECOND):
            heard = time.monotonic()
            error = message.error()
            if error is None and int(message.offset() or 0) < end:
                yield message
            elif error is None or error.code() == KafkaError._PARTITION_EOF:
                return
            elif not error.retriable() and error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                raise SourceFailed(f"{place.topic} [{place.partition}] cannot be read: {error.str()}")
            if error is None and int(message.offset() or 0) == end - 1:
                return
        if interrupted.is_set() or time.monotonic() - heard > SILENT_SECOND:
            raise Unreachable(f"{place.topic} [{place.partition}]: no answer from the brokers")


def _configuration(connected: Configuration, group: str) -> Configuration:
    return {
        **connected,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "queued.max.messages.kbytes": 16 * 1024,
    }


def _gone(record: Record, why: str) -> Record:
    origin: Origin = record.origin
    words = f"the record is no longer at offset {origin.offset} of {origin.topic} [{origin.partition}]: {why}"
    return record._replace(refusal=Refusal(GONE, words))
