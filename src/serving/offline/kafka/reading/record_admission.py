"""Chooses the records that are handed over now, and the partitions that have to be committed before.

Knows windows, the rate, bytes in flight, and who runs alone. Does not know a broker. One thread uses it.
"""

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from serving.offline.kafka.reading.loop_exchange import Handed
from serving.offline.kafka.reading.progress import Progress, Step
from serving.offline.records import Origin, Record, Refusal

BURST_SECONDS = 0.1  # of the rate may come at once
KILLED = Refusal(
    "killed_process",
    "The process died three times while it ran this record, the last time with no other record. It is not run again.",
)


@dataclass
class Partition:
    """One partition that this process owns. waiting: was read, and is not handed over yet."""

    topic: str
    number: int
    generation: int
    progress: Progress
    next_read: int  # the offset of the next record that was not read
    waiting: deque[Record] = field(default_factory=deque)
    paused: bool = False
    dropped: int = 0  # records that were handed over, and will not be finished here
    end: int | None = None  # where the partition ended when its last record was read
    known_end: int = 0  # as last heard of
    busy_at: float = 0.0  # when it last had an unfinished record
    asked_at: float = 0.0  # when a broker was last asked for its end
    away_since: float | None = None  # the first of the questions that no broker has answered since

    def has_drained(self, window: int) -> bool:
        """Return whether a paused partition is to be read again."""
        return not self.waiting and self.progress.unfinished * 2 <= window

    def is_done(self, withdrawn: Container[int]) -> bool:
        """Return whether all that was begun has ended. withdrawn: the generations of which nothing else begins."""
        return self.generation in withdrawn and self.progress.unfinished <= self.dropped

    def reach_end(self, offset: int) -> None:
        """Note where the partition ends now, after its last record was read."""
        self.end = offset
        self.progress.end(offset)
        self.skip_to_end()

    def skip_to_end(self) -> None:
        """Note that what lies between the last record and the end holds none, such as a transaction's mark."""
        if self.end is not None and not self.waiting:
            self.progress.reach(self.end)
            self.end = None


class Admission:
    """The bounds of one process. rate: records a second, 0 for no bound. most_bytes: of values in flight."""

    def __init__(self, rate: float, most_bytes: int, limit: int = 0):
        self._rate, self._burst = rate, max(1.0, rate * BURST_SECONDS)
        self._tokens, self._filled_at = self._burst, 0.0
        self._most_bytes, self._bytes = most_bytes, 0
        self._running: dict[tuple[Origin, int], int] = {}  # -> bytes
        self._alone: tuple[Origin, int] | None = None
        self._left = limit or None
        self._turn = 0

    @property
    def running(self) -> int:
        """The number of records that were handed over and have not ended, of partitions that went too."""
        return len(self._running)

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    def ended(self, origin: Origin) -> None:
        """Note that a record runs no longer."""
        key = origin, getattr(origin, "generation", 0)
        self._bytes -= self._running.pop(key, 0)
        if key == self._alone:
            self._alone = None

    def admit(self, partitions: Sequence[Partition], now: float) -> tuple[list[Record], list[Partition]]:
        """Return the records to hand over now, and the partitions that have to be committed before more can be.

        now: seconds of a steady clock.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        given: list[Record] = []
        due: list[Partition] = []
        if self._alone is None:
            suspects = [each for each in partitions if each.waiting and _suspected(each)]
            self._turn += 1  # another partition is the first one each time, so that none starves at a bound of all
            at = self._turn % max(1, len(partitions))
            for partition in suspects[:1] or [*partitions[at:], *partitions[:at]]:
                self._admit_of(partition, given, due)
        return given, due

    def _admit_of(self, partition: Partition, given: list[Record], due: list[Partition]) -> None:
        progress = partition.progress
        while partition.waiting and self._has_place(partition.waiting[0]):
            record = partition.waiting[0]
            offset = record.origin.offset
            progress.reach(offset)
            suspected = progress.suspected(offset)
            if suspected and self._running:
                return
            step = progress.step(offset)
            if step is Step.COMMIT_ALONE:
                progress.call(offset)
            if step in (Step.COMMIT, Step.COMMIT_ALONE):
                due.append(partition)
            if step is not Step.HAND:
                return
            partition.waiting.popleft()
            progress.hand(offset)
            given.append(record._replace(refusal=KILLED) if progress.condemned(offset) else record)
            self._note(record, suspected)
            if suspected:
                return
        partition.skip_to_end()

    def _has_place(self, record: Record) -> bool:
        size = len(record.value or b"")
        fits = not self._running or self._bytes + size <= self._most_bytes
        return fits and self._left != 0 and (not self._rate or self._tokens >= 1) and self._alone is None

    def _note(self, record: Record, alone: bool) -> None:
        assert isinstance(record.origin, Handed)
        key, size = (record.origin, record.origin.generation), len(record.value or b"")
        self._running[key] = size
        self._bytes += size
        self._tokens -= 1
        if self._left:
            self._left -= 1
        if alone:
            self._alone = key


def _suspected(partition: Partition) -> bool:
    return partition.progress.suspected(partition.waiting[0].origin.offset)
