"""How far one partition is: what was handed over, what is finished, and which records are suspected of killing the process.

Pure. Knows offsets and the note that each commit carries. Does not know a broker, a thread or a clock.

The window. At most `window` records from the committed offset on are handed over. So after a death the next owner hands over
`window` records again at most.

Deaths. A note is committed as open before a record is handed over, and as closed when its owner leaves or is idle. An owner
that finds an open note knows that its predecessor died, and that the cause may lie in [committed, to). No record at `to` or
beyond is handed over before a commit says so, though offsets have gaps where a topic is compacted. Finished records leave
this range, since the commit moves over them. The range of a second death therefore is what both deaths have in common. Where
the commit reaches `to`, all suspects are finished, and the count begins again. Records that came later are no suspects.

From two deaths on, suspects run alone: nothing else of the process is unfinished, and the note names the record before it runs.
From three on, the record that a note names is condemned: it is handed over as dead.
"""

import json
from collections import deque
from enum import Enum
from typing import NamedTuple

ALONE_FROM, CONDEMNED_FROM = 2, 3  # deaths
NONE = -1  # no offset
MOST_METADATA = 4096  # characters: the bound of a broker


class Note(NamedTuple):
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


def write_note(note: Note) -> str:
    """Return a commit's metadata."""
    fields = {"open": int(note.open)}
    if note.deaths or note.open:
        fields |= {"deaths": note.deaths, "to": note.to}
    if note.alone != NONE:
        fields["alone"] = note.alone
    return json.dumps(fields, separators=(",", ":"))


def read_note(text: str | None) -> Note:
    """Return the note of a commit's metadata. Metadata that another program wrote is a closed note without deaths."""
    try:
        fields = json.loads((text or "")[:MOST_METADATA])
        numbers = [fields.get(name, default) for name, default in (("open", 0), ("deaths", 0), ("to", 0), ("alone", NONE))]
    except (ValueError, AttributeError, RecursionError):
        return Note()
    if not all(isinstance(number, int) and NONE <= number < 1 << 63 for number in numbers):
        return Note()
    return Note(numbers[0] == 1, max(numbers[1], 0), *numbers[2:])


class Progress:
    """One partition under one owner. committed, note: what the broker holds at the assignment. window: in records."""

    def __init__(self, committed: int, note: Note, window: int):
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
        """The number of records that were handed over and are not finished."""
        return len(self._unfinished)

    def held(self) -> tuple[int, Note]:
        """Return what the broker holds."""
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
        """Return whether a record has to run alone."""
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
        """Note that a record is handed over."""
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

    def now(self) -> tuple[int, Note]:
        """Return what a commit says while this owner goes on."""
        first = self.first()
        if first >= self._to or not self._deaths:
            dense = first + self._window
            return first, Note(True, 0, dense if self.next < dense else self.next + (self.next - first))
        return first, Note(True, self._deaths, self._to, self._called)

    def at_rest(self) -> tuple[int, Note]:
        """Return what a commit says where this owner leaves, or has nothing unfinished."""
        first = self.first()
        if first >= self._to or not self._deaths:
            return first, Note()
        return first, Note(False, self._deaths, self._to, self._condemned if self._condemned >= first else NONE)

    def store(self, offset: int, note: Note) -> None:
        """Note that the broker has acknowledged a commit."""
        self.committed, self.stored, self._gained = offset, note, 0
        if offset >= self._to:  # all suspects are finished
            self._deaths, self._to, self._condemned = 0, 0, NONE
