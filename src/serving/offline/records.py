"""Records, answers, and what sources and sinks promise each other.

Concurrency. The loop's thread calls every function of a Sink and of a Pipeline. A Source may have a thread of its own. It gives
records to the loop by call_soon_threadsafe, and takes finished records from any thread.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

DEAD = "dead letters"  # the name of their writer in metrics and logs
Thing = TypeVar("Thing", contravariant=True)


class Origin(NamedTuple):
    """Where a record stands.

    Of a line, topic is its file's path, and offset the line's number from 1. Of a picture, topic is its path, and offset 0. Of
    a query's row, topic is the query's name, and offset the row's key. A key that is not a whole number ends the topic instead.
    """

    topic: str
    partition: int
    offset: int


class Refusal(NamedTuple):
    """Why a record is given up for good. reason: a word for metrics and headers. text: a sentence for people."""

    reason: str
    text: str


class Record(NamedTuple):
    """A record as it was read. value: None for a tombstone. time: of the record, in milliseconds since 1970.

    refusal: why the source gives no value, as for a line that is too long. The record is then dead without a try.
    """

    origin: Origin
    time: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    refusal: Refusal | None = None


class Answer(NamedTuple):
    """The service's answer to a record. body: the JSON document that the service's route would have answered."""

    record: Record
    body: bytes
    version: str  # of the model's release


class Unreachable(Exception):
    """A sink or a broker is away. The text names it and says why. The caller waits, and tries the same again."""


class SourceFailed(Exception):
    """A source cannot be read further. The text names the place, and says what to do."""


class DeadLetter(NamedTuple):
    """A record that is given up. id: as in the logs. version: of the model's release."""

    record: Record
    refusal: Refusal
    id: str
    version: str


class Writer(Protocol[Thing]):
    """Where things go. name: in metrics and logs; of a sink as in value.py, such as "postgresql:ages"."""

    name: str

    async def open(self) -> None:
        """Connect and look whether things are taken. Raises StartError, Unreachable."""

    async def write(self, things: Sequence[Thing], /) -> Sequence[Refusal | None]:
        """Write some things, and return for each None once it is acknowledged, or why it is refused for good.

        Raises Unreachable where it is not known what was written. The same are then written again.
        """

    async def close(self) -> None:
        """Write what is left and disconnect. Nothing is written after it."""


Sink = Writer[Answer]
DeadLetters = Writer[DeadLetter]  # none of them is refused for good


class NoDeadLetters:
    """DeadLetters of a dry run, which writes none. The log has each of them."""

    name = DEAD

    async def open(self) -> None: ...

    async def write(self, letters: Sequence[DeadLetter]) -> Sequence[None]:
        return [None] * len(letters)

    async def close(self) -> None: ...


class Source(Protocol):
    """Where records come from."""

    def start(self, take: Callable[[Sequence[Record]], None], withdraw: Callable[[str, int], Sequence[Origin]]) -> None:
        """Begin to give records to `take`, which is called on the loop.

        withdraw(topic, partition) is called on the loop where the partition goes to another owner, and at the end. It drops the
        records that were not begun, and returns their origins. Each record that was begun is still finished.
        """

    def finished(self, origin: Origin) -> None:
        """Note that a record is done: every sink has acknowledged its answer, or its dead letter is acknowledged."""

    def dropped(self, origin: Origin) -> None:
        """Note that a record will not be finished here, since its partition was withdrawn. Its offset is not committed."""

    def hold(self, held: bool) -> None:
        """Stop reading, or go on. Records that were given are not affected."""

    def ready(self) -> bool:
        """Return whether it is known what this process reads: its partitions, or that it has none."""

    def stuck_seconds(self) -> float:
        """Return for how long the source's own thread has done nothing, infinity where it ended by itself, else 0."""

    async def ended(self) -> None:
        """Return once there is no further record, and all were finished and noted. A topic has no end.

        Raises SourceFailed where the source cannot be read further. All that was begun is finished and noted before.
        """

    async def stop(self, seconds: float) -> None:
        """Read no more, wait `seconds` at most for the records that were begun, commit them, and leave."""
