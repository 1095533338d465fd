"""A topic of Kafka as a sink: each answer is a record with its origin in headers.

Knows answers and a TopicWriter. Does not know Kafka's client.
"""

import asyncio
from collections.abc import Sequence

from serving.offline.kafka.producer import Refused, TopicWriter
from serving.offline.records import Answer, Refusal, Unreachable


class KafkaTopic:
    """A sink that writes records. name: as in value.py, with the track's suffix. topic: of the same name."""

    def __init__(self, name: str, topic: str, writer: TopicWriter):
        self.name = name
        self._topic, self._writer = topic, writer

    async def open(self) -> None:
        """Look whether the topic is there and may be written to. Raises StartError, Unreachable."""
        await self._writer.check(self._topic)

    async def write(self, answers: Sequence[Answer]) -> Sequence[Refusal | None]:
        """Write answers in their order, and return for each None once all replicas in step have it, or the refusal.

        Raises Unreachable once it is known of each answer whether it was written.
        """
        sent = [self._writer.send(self._topic, item.record.key, item.body, headers(item)) for item in answers]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Refused):
                raise Unreachable(str(outcome)) if isinstance(outcome, Unreachable) else outcome
        return [outcome.refusal if isinstance(outcome, Refused) else None for outcome in outcomes]

    async def close(self) -> None:
        """Wait some seconds for what was sent, and disconnect."""
        await self._writer.close()


def headers(answer: Answer) -> list[tuple[str, bytes]]:
    """Return the headers of an answer's record: where its own record stands, and the model's version."""
    topic, partition, offset = answer.record.origin
    return [
        ("origin-topic", topic.encode()),
        ("origin-partition", b"%d" % partition),
        ("origin-offset", b"%d" % offset),
        ("model-version", answer.version.encode()),
    ]
