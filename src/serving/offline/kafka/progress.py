"""How far one partition is, and which of its records are handed over now.

Pure: it knows offsets and the note that each commit carries, but no broker, thread or clock. One thread uses it.

The window. At most `window` records from the committed offset on are handed over. So after a death the next owner hands over
`window` records again at most.

Deaths. A note is committed as open before a record is handed over, and as closed when its owner leaves or is idle. An owner
that finds an open note knows that its predecessor died, and that the cause may lie in [committed, to). No record at `to` or
beyond is handed over before a commit says so, though offsets have gaps where a topic is compacted. Finished records leave
this range, since the commit moves over them. The range of a second death therefore is what both deaths have in common. Where
the commit reaches `to`, all suspects are finished, and the count begins again. Records that came later are not suspects.

From two deaths on, suspects run alone: nothing else of the process is unfinished, and the note names the record before it runs.
From three on, the record that a note names is condemned: it is handed over as dead.
"""

import json
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from serving.offline.reading_bounds import ReadingBounds
from serving.offline.records import Origin, Record, Refusal

ALONE_FROM, CONDEMNED_FROM = 2, 3  # deaths
NONE = -1  # no offset
MAX_METADATA = 4096  # characters: the bound of a broker
KILLED = Refusal(
    "killed_process",
    "The process died three times while it ran this record, the last time with no other record. It is not run again.",
)


class CommitNote(NamedTuple):
    """The words of a commit beside its offset. to: suspects lie before it. alone: the record that runs alone, or NONE."""

    open: bool = False
    deaths: int = 0
    to: int = 0
    alone: int = NONE


class Step(Enum):
    """The things that may come before a record is handed over."""

    HAND = "nothing"
    COMMIT = "a commit of now()"
    COMMIT_ALONE = "a commit of now(), after call(), once nothing else of the process is unfinished"
    WAIT = "the end of other records"


def write_note(note: CommitNote) -> str:
    fields = {"open": int(note.open)}
    if note.deaths or note.open:
        fields |= {"deaths": note.deaths, "to": note.to}
    if note.alone != NONE:
        fields["alone"] = note.alone
    return json.dumps(fields, separators=(",", ":"))


def read_note(text: str | None) -> CommitNote:
    """Return the note of a commit's metadata. Metadata that another program wrote is a closed note without deaths."""
    try:
        fields = json.loads((text or "")[:MAX_METADATA])
        numbers = [fields.get(name, default) for name, default in (("open", 0), ("deaths", 0), ("to", 0), ("alone", NONE))]
    except (ValueError, AttributeError, RecursionError):
        return CommitNote()
    if not all(isinstance(number, int) and NONE <= number < 1 << 63 for number in numbers):
        return CommitNote()
    return CommitNote(numbers[0] == 1, max(numbers[1], 0), *numbers[2:])


class Progress:
    """One partition under one owner. committed, note: what the broker holds at the assignment. window: in records."""

    def __init__(self, committed: int, note: CommitNote, window: int):
        self.committed, self.stored, self.next = committed, note, committed
        self._window = window
        self._deaths = note.deaths + note.open
        self._to = note.to
        self._condemned = note.alone if self._deaths >= CONDEMNED_FROM else NONE
        self._called = NONE  # the record that the next note names as alone
        self._handed: deque[int] = deque()
        self._unfinished: set[int] = set()
        self._gained = 0  # records before first() that were handed over since the last commit

    @property
    def unfinished(self) -> int:
        return len(self._unfinished)

    def held(self) -> tuple[int, CommitNote]:
        return self.committed, self.stored

    def first(self) -> int:
        """Return the first offset that is not finished: where a new owner has to begin."""
        while self._handed and self._handed[0] not in self._unfinished:
            self._handed.popleft()
            self._gained += 1
        return self._handed[0] if self._handed else self.next

    def reach(self, offset: int) -> None:
        """Note that no record lies between what was handed over and an offset, as where a topic is compacted."""
        self.next = max(self.next, offset)

    def end(self, offset: int) -> None:
        """Note where the partition ends now. A record that is still to come has killed nobody."""
        self._to = min(self._to, offset)

    def suspected(self, offset: int) -> bool:
        return self._deaths >= ALONE_FROM and offset < self._to

    def condemned(self, offset: int) -> bool:
        """Return whether a record killed its owners, so that it is dead."""
        return offset == self._condemned

    def step(self, offset: int) -> Step:
        """Return what has to come before the record at `offset` is handed over. reach(offset) was called before."""
        if self.suspected(offset):
            if self._unfinished:
                return Step.WAIT
            named = self.stored.open and self.stored.alone == offset and self.stored.deaths == self._deaths
            return Step.HAND if named and self._called == offset else Step.COMMIT_ALONE
        if self.suspected(self.first()) and self._unfinished:
            return Step.WAIT
        first, now = self.now()
        if len(self._handed) + self._gained >= self._window:
            much = self._gained * 2 >= self._window or not self._unfinished
            return Step.COMMIT if much and first > self.committed else Step.WAIT
        if not now.deaths and offset >= self.stored.to:
            return Step.COMMIT
        same = (self.stored.open, self.stored.deaths, self.stored.alone) == (True, now.deaths, NONE)
        return Step.HAND if same else Step.COMMIT

    def call(self, offset: int) -> None:
        """Have the next note name a record that is to run alone."""
        self._called = offset

    def hand(self, offset: int) -> None:
        assert offset >= self.next
        self._handed.append(offset)
        self._unfinished.add(offset)
        self.next = offset + 1

    def finish(self, offset: int) -> bool:
        """Note that a record is finished. Returns whether it was unfinished."""
        if offset not in self._unfinished:
            return False
        self._unfinished.remove(offset)
        if offset == self._called:
            self._called = NONE
        return True

    def now(self) -> tuple[int, CommitNote]:
        """Return what a commit says while this owner goes on."""
        first = self.first()
        if first >= self._to or not self._deaths:
            dense = first + self._window
            return first, CommitNote(True, 0, dense if self.next < dense else self.next + (self.next - first))
        return first, CommitNote(True, self._deaths, self._to, self._called)

    def at_rest(self) -> tuple[int, CommitNote]:
        """Return what a commit says where this owner leaves, or has nothing unfinished."""
        first = self.first()
        if first >= self._to or not self._deaths:
            return first, CommitNote()
        return first, CommitNote(False, self._deaths, self._to, self._condemned if self._condemned >= first else NONE)

    def store(self, offset: int, note: CommitNote) -> None:
        """Note that the broker has acknowledged a commit."""
        self.committed, self.stored, self._gained = offset, note, 0
        if offset >= self._to:  # all suspects are finished
            self._deaths, self._to, self._condemned = 0, 0, NONE


class Handed(Origin):
    """An origin and the assignment under which its record was handed over. It equals any origin of the same place."""

    generation: int = 0


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
        return not self.waiting and self.progress.unfinished * 2 <= window

    def is_done(self, withdrawn: Container[int]) -> bool:
        """Return whether all that was begun has ended. withdrawn: the generations whose other records the loop has dropped."""
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
    """Chooses the records that are handed over now, and the partitions that have to be committed before."""

    def __init__(self, bounds: ReadingBounds):
        self._bounds = bounds
        self._alone: tuple[Origin, int] | None = None  # the record that runs alone, and its generation
        self._turn = 0

    @property
    def all_ended(self) -> bool:
        """Whether the limit is reached, and all that was handed over has ended, of partitions that went too."""
        return self._bounds.exhausted and not self._bounds.running

    def ended(self, origin: Origin) -> None:
        key = origin, getattr(origin, "generation", 0)
        self._bounds.end(key)
        if key == self._alone:
            self._alone = None

    def admit(self, partitions: Sequence[Partition], now: float) -> tuple[list[Record], list[Partition]]:
        """Return the records to hand over now, and the partitions that have to be committed before more can be.

        now: seconds of a steady clock.
        """
        given: list[Record] = []
        due: list[Partition] = []
        if self._alone is None:
            suspects = [each for each in partitions if each.waiting and each.progress.suspected(each.waiting[0].origin.offset)]
            self._turn += 1  # another partition is the first one each time, so that none starves at a bound of all
            at = self._turn % max(1, len(partitions))
            for partition in suspects[:1] or [*partitions[at:], *partitions[:at]]:
                self._admit_of(partition, now, given, due)
        return given, due

    def _admit_of(self, partition: Partition, now: float, given: list[Record], due: list[Partition]) -> None:
        progress, bounds = partition.progress, self._bounds
        while partition.waiting and self._alone is None:
            record = partition.waiting[0]
            offset, size = record.origin.offset, len(record.value or b"")
            if not bounds.allow(size, now):
                return
            progress.reach(offset)
            suspected = progress.suspected(offset)
            if suspected and bounds.running:
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
            key = record.origin, partition.generation
            bounds.begin(key, size, now)
            if suspected:
                self._alone = key
        partition.skip_to_end()
