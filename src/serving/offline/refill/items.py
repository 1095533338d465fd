"""Items of an input: records with their names and places in it, and those that were given and are not finished yet.

Pure. Knows order. Does not know files, databases or threads. One thread owns an Unfinished.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from serving.offline.records import Record

Name = int | str  # of an item in its input, the same in each run
Place = int | list[int | str]  # in an input: reading goes on behind it


class Item(NamedTuple):
    """One record of an input. through: how much of the input's size is read at its end."""

    record: Record
    name: Name
    place: Place
    through: float


class Input(Protocol):
    """Something that holds records in an order that is the same in each run.

    name: as in the note. size: in the unit of Item.through. passed_over: what it holds that is no record.
    """

    name: str
    size: float
    passed_over: int

    def identity(self) -> Mapping[str, object]:
        """Return what must not change between two runs, as JSON holds it."""

    def read(self, after: Place | None) -> Iterator[Item]:
        """Yield the items behind a place, or all. Raises SourceFailed, and Unreachable where a further try may succeed."""

    def interrupt(self) -> None:
        """End a read that waits for another server. Another thread calls it."""


@dataclass
class _Given:
    item_name: Name
    place: Place
    through: float
    finished: bool


class Unfinished:
    """How far an input is done.

    after: the place behind which the first unfinished item stands, or None at the beginning. through: what is done up to there,
    as Item.through.
    """

    def __init__(self, after: Place | None = None, through: float = 0.0, finished: Iterable[Name] = ()):
        """finished: names behind `after` that an earlier run finished."""
        self.after, self.through = after, through
        self._earlier = set(finished)
        self._given: deque[_Given] = deque()
        self._open: dict[Name, _Given] = {}

    def give(self, item: Item) -> bool:
        """Note that an item was read, in the input's order. Return False where an earlier run finished it."""
        earlier = item.name in self._earlier
        self._earlier.discard(item.name)
        given = _Given(item.name, item.place, item.through, earlier)
        self._given.append(given)
        if not earlier:
            self._open[item.name] = given
        self._advance()
        return not earlier

    def finish(self, name: Name) -> None:
        """Note that an item is done."""
        self._open.pop(name).finished = True
        self._advance()

    def finished(self) -> list[Name]:
        """Return the names of the finished items behind `after`."""
        return [given.item_name for given in self._given if given.finished] + sorted(self._earlier, key=str)

    def spread(self) -> int:
        """Return how many items lie between `after` and the newest one that was given."""
        return len(self._given)

    def _advance(self) -> None:
        while self._given and self._given[0].finished:
            done = self._given.popleft()
            self.after, self.through = done.place, done.through
