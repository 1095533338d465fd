"""Dead letters in a topic: how they are written, their headers, and how a replay reads them.

A dead letter has the record's key and value, or an empty value and the header `by-reference`. The record's own headers come
first, then MARK, then what is known of its death.

A replay reads each partition as an input that ends where the topic ended when the replay began. A group without members
commits what was replayed. A record that dies again waits for the next replay.

Concurrency. One thread reads and commits. Another one may call `interrupt`.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from serving.base.errors import StartError
from serving.offline.backfill.input_progress import Item, Place
from serving.offline.kafka.checks import check_source
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.producer import Refused, TopicWriter
from serving.offline.records import DEAD, DeadLetter, Origin, Record, Refusal, SourceFailed, Unreachable

Headers = Sequence[tuple[str, bytes]]

MARK = "dead-letter"  # a record's own headers may have any other name, and this one too
REPLAYS = "replays"  # of the record's own headers: how often a replay has tried it
BY_REFERENCE = "by-reference"
CALL_SECONDS = 15.0
LOOK_SECONDS = 0.5
SILENT_SECONDS = 10.0  # without an answer, until the brokers count as away
MISSING = "the group has given up no record, or offline_source or offline_group is another one"
GONE = "gone"  # the reason of a record that is not where its dead letter says

log = logging.getLogger("monopod.replay")


class NotDead(Exception):
    """A message is not a dead letter. The text says what it lacks."""


def headers_of(letter: DeadLetter, by_reference: bool) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a dead letter. by_reference: the value is too large to copy, so that the message holds none."""
    record = letter.record
    about = {
        MARK: "1",
        "error": letter.refusal.text,
        "reason": letter.refusal.reason,
        "id": letter.id,
        "origin-topic": record.origin.topic,
        "origin-partition": str(record.origin.partition),
        "origin-offset": str(record.origin.offset),
        "origin-time": str(record.time),
        "version": letter.version,
        **({BY_REFERENCE: "1"} if by_reference or record.value is None else {}),
    }
    return (*record.headers, *((name, text.encode("utf-8", "backslashreplace")) for name, text in about.items()))


def record_of(headers: Headers, key: bytes | None, value: bytes | None) -> tuple[Record, bool]:
    """Return the record of a dead letter with one more replay in its headers, and whether it is by reference.

    The value of one by reference is to be read again at its origin. Raises NotDead.
    """
    marks = [index for index, (name, _) in enumerate(headers) if name == MARK]
    if not marks:
        raise NotDead(f"it has no header {MARK}")
    own, about = headers[: marks[-1]], dict(headers[marks[-1] :])
    try:
        origin = Origin(about["origin-topic"].decode(), int(about["origin-partition"]), int(about["origin-offset"]))
        time = int(about["origin-time"])
    except (KeyError, ValueError) as error:
        raise NotDead(f"its headers do not name its origin ({error})") from None
    kept = ((name, content) for name, content in own if name != REPLAYS)
    by_reference = BY_REFERENCE in about
    record = Record(origin, time, key, None if by_reference else value, (*kept, (REPLAYS, b"%d" % (replays_of(own) + 1))))
    return record, by_reference


def replays_of(headers: Headers) -> int:
    """Return how often a replay has tried a record. headers: the record's own."""
    return max((_number(content) for name, content in headers if name == REPLAYS), default=0)


def _number(content: bytes) -> int:
    return int(content) if content.isdigit() and len(content) < 10 else 0


class DeadTopic:
    """DeadLetters of a topic in the source's cluster. max_value: the bytes of a value that is copied."""

    name = DEAD

    def __init__(self, topic: str, writer: TopicWriter, max_value: int):
        self._topic, self._writer, self._max_value = topic, writer, max_value

    async def open(self) -> None:
        await self._writer.check(self._topic, may_create=True)

    async def write(self, letters: Sequence[DeadLetter]) -> Sequence[None]:
        outcomes = await asyncio.gather(*map(self._write, letters), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [None] * len(letters)

    async def close(self) -> None:
        await self._writer.close()

    async def _write(self, letter: DeadLetter) -> None:
        """Write a letter whole, else without its value, else without the record's own headers too."""
        key, value = letter.record.key, letter.record.value
        bare = letter._replace(record=letter.record._replace(headers=()))
        ways = [(b"", headers_of(letter, True)), (b"", headers_of(bare, True))]
        if value is not None and len(value) <= self._max_value:
            ways.insert(0, (value, headers_of(letter, False)))
        refusal = ""
        for content, headers in ways:
            try:
                await self._writer.write(self._topic, key, content, headers)
                return
            except Refused as error:
                refusal = str(error)
        raise Unreachable(f"{refusal}; the topic of dead letters must take every record")


class DeadPartition:
    """An Input. The name of a dead letter is its offset, and its place is the one behind it."""

    def __init__(self, consumer: Consumer, origins: "Origins", topic: str, partition: int):
        """Raises KafkaException."""
        self._consumer, self._origins, self._topic, self._partition = consumer, origins, topic, partition
        self._first, self.end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=CALL_SECONDS)
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
                headers: Any = message.headers() or ()
                record, by_reference = record_of(headers, message.key(), message.value())
            except NotDead as error:
                self.passed_over += 1
                log.warning("%s [%d] at offset %d is passed over: %s", self._topic, self._partition, number, error)
                continue
            yield Item(
                self._origins.with_value(record) if by_reference else record,
                number,
                number + 1,
                float(number + 1 - self._first),
            )


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
            first, end = self._consumer.get_watermark_offsets(place, timeout=CALL_SECONDS)
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


class ReplayCommits:
    """The checkpoint of a replay: commits of a group that has no member. ends: of the partitions, by their names."""

    def __init__(self, consumer: Consumer, origins: Origins, topic: str, ends: Mapping[str, int]):
        self.path = f"the commits of {topic}"
        self._consumer, self._origins, self._topic, self._ends = consumer, origins, topic, ends

    def close(self) -> None:
        self._origins.close()
        self._consumer.close()

    def read(self) -> dict[str, Any]:
        """Return the committed offset of each partition. Raises StartError."""
        places = [TopicPartition(self._topic, int(name)) for name in self._ends]
        try:
            found = self._consumer.committed(places, timeout=CALL_SECONDS)
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


def open_partitions(connected: Configuration, topic: str, group: str) -> tuple[list[DeadPartition], ReplayCommits]:
    """Return the partitions of a topic of dead letters, and the checkpoint of a group. Raises StartError."""
    count = check_source(connected, topic, group, MISSING)
    consumer = Consumer(_configuration(connected, group))
    try:
        origins = Origins(connected, group)
        partitions = [DeadPartition(consumer, origins, topic, number) for number in range(count)]
    except KafkaException as error:
        raise StartError(f"{topic} at {connected['bootstrap.servers']} cannot be read: {error.args[0].str()}") from None
    return partitions, ReplayCommits(consumer, origins, topic, {each.name: each.end for each in partitions})


def _messages(consumer: Consumer, place: TopicPartition, end: int, interrupted: threading.Event) -> Iterator[Message]:
    """Yield the messages of a partition from an offset up to an end, or to the topic's. Raises Unreachable, SourceFailed."""
    if place.offset >= end:
        return
    consumer.assign([place])
    heard = time.monotonic()
    while True:
        for message in consumer.consume(100, timeout=LOOK_SECONDS):
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
        if interrupted.is_set() or time.monotonic() - heard > SILENT_SECONDS:
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
