"""Where dead letters go: a topic beside the source, or nowhere in a dry run.

Knows that a value, or the headers of its record, may be too large to copy. Does not know why a record is dead.
"""

import asyncio
from collections.abc import Sequence

from serving.offline.dead_letter_headers import headers_of
from serving.offline.kafka.producer import Refused, TopicWriter
from serving.offline.records import DeadLetter, Unreachable


class DeadTopic:
    """DeadLetters of a topic in the source's cluster. most: the bytes of a value that is copied."""

    def __init__(self, topic: str, writer: TopicWriter, most: int):
        self.topic, self._writer, self._most = topic, writer, most

    async def open(self) -> None:
        """Make the topic where it is missing. Raises StartError, Unreachable."""
        await self._writer.check(self.topic, may_create=True)

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Return once all are acknowledged. Raises Unreachable."""
        outcomes = await asyncio.gather(*map(self._write, letters), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Wait some seconds for what was sent, and disconnect."""
        await self._writer.close()

    async def _write(self, letter: DeadLetter) -> None:
        """Write a letter whole, else without its value, else without the record's own headers too."""
        key, value = letter.record.key, letter.record.value
        bare = letter._replace(record=letter.record._replace(headers=()))
        ways = [(b"", headers_of(letter, True)), (b"", headers_of(bare, True))]
        if value is not None and len(value) <= self._most:
            ways.insert(0, (value, headers_of(letter, False)))
        refusal = ""
        for content, headers in ways:
            try:
                await self._writer.write(self.topic, key, content, headers)
                return
            except Refused as error:
                refusal = str(error)
        raise Unreachable(f"{refusal}; the topic of dead letters must take every record")


class NoDeadLetters:
    """DeadLetters of a dry run, which writes none. The log has each of them."""

    async def open(self) -> None:
        """Nothing is opened."""

    async def write(self, letters: Sequence[DeadLetter]) -> None:
        """Nothing is written."""

    async def close(self) -> None:
        """Nothing is closed."""
