"""Topics of a measurement: filled with records, read for their length, and deleted."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.served import BenchError

PARTITIONS = 4
SECONDS = 30.0
KEPT_BYTES = 256 * 2**20  # of a partition that is written for minutes


@contextmanager
def topics(brokers: str, *names: str) -> Iterator[list[str]]:
    """Make topics with names of their own for the length of a block. Raises BenchError where the broker refuses."""
    made = [f"bench-{name}-{uuid.uuid4().hex[:8]}" for name in names]
    admin = AdminClient({"bootstrap.servers": brokers})
    config = {"retention.bytes": str(KEPT_BYTES), "segment.bytes": str(KEPT_BYTES // 4)}
    try:
        for future in admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config) for name in made]).values():
            future.result(SECONDS)
    except KafkaException as error:
        raise BenchError(f"{brokers} makes no topics: {error}") from None
    try:
        yield made
    finally:
        for future in admin.delete_topics(made).values():
            future.result(SECONDS)


def fill(brokers: str, topic: str, value: bytes, count: int) -> None:
    """Write the same value `count` times, evenly over the partitions. Raises BenchError where it cannot."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for number in range(count):
        while True:
            try:
                producer.produce(topic, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(SECONDS):
        raise BenchError(f"{brokers} did not take all records of {topic} within {SECONDS:g} s")


def length(brokers: str, topic: str) -> int:
    """Return how many records were written to a topic so far."""
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "bench-length"})
    try:
        parts = (TopicPartition(topic, number) for number in range(PARTITIONS))
        return sum(reader.get_watermark_offsets(part, timeout=SECONDS)[1] for part in parts)
    finally:
        reader.close()


class Stream:
    """Writes a value to a topic at a steady rate for the length of a block. rate: records a second."""

    def __init__(self, brokers: str, topic: str, value: bytes, rate: float):
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5})
        self._topic, self._value, self._rate = topic, value, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._producer.flush(SECONDS)

    def _write(self) -> None:
        began, number = time.monotonic(), 0
        while not self._over.wait(0.01):
            due = (time.monotonic() - began) * self._rate
            while number < due:
                self._producer.produce(self._topic, self._value, partition=number % PARTITIONS)
                number += 1
            self._producer.poll(0)


def answer_times(brokers: str, topic: str) -> dict[int, list[float]]:
    """Return when each answer in a topic was written, by the partition of its record, in seconds since 1970, in order."""
    reader = Consumer({"bootstrap.servers": brokers, "group.id": "bench-times", "enable.auto.commit": False})
    ends = {
        number: reader.get_watermark_offsets(TopicPartition(topic, number), timeout=SECONDS)[1] for number in range(PARTITIONS)
    }
    found: dict[int, list[float]] = {number: [] for number in range(PARTITIONS)}
    try:
        reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        left = sum(ends.values())
        while left > 0:
            for message in reader.consume(1000, 5.0):
                headers = dict(cast(list[tuple[str, bytes]], message.headers()))
                found[int(headers["origin-partition"])].append(message.timestamp()[1] / 1000)
                left -= 1
    finally:
        reader.close()
    return {number: sorted(times) for number, times in found.items()}
