"""The inputs of a backfill, how far each is done, and the checkpoint that tells it, so that a kill at any moment loses nothing.

The checkpoint is a JSON file. It is replaced as a whole, by a file that is on the disk before it gets the name. One thread at a
time uses what stands here.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from serving.base.errors import StartError
from serving.offline.records import Record, SourceFailed

FORM = 1  # of the checkpoint's file; grows when an older version could not read it
CHECKPOINT_SECONDS = 0.5  # at least, between two checkpoints
CHECKPOINT_SHARE = 0.05  # of the time, at most, goes into writing them

log = logging.getLogger("monopod.refill")

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

    name: as in the checkpoint. size: in the unit of Item.through. passed_over: how much it holds that is not a record.
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
    name: Name
    place: Place
    through: float
    finished: bool


class InFlight:
    """The items of an input that were given, and are not finished yet.

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
        self._open.pop(name).finished = True
        self._advance()

    def finished(self) -> list[Name]:
        return [given.name for given in self._given if given.finished] + sorted(self._earlier, key=str)

    def spread(self) -> int:
        """Return how many items lie between `after` and the newest one that was given."""
        return len(self._given)

    def _advance(self) -> None:
        while self._given and self._given[0].finished:
            done = self._given.popleft()
            self.after, self.through = done.place, done.through


class InputProgress:
    """One input, and how far it is done. read: to its end. read_to: the place behind the newest item."""

    def __init__(self, input: Input, noted: Mapping[str, Any]):
        """noted: what the checkpoint says of the input, or nothing. Raises StartError where the input has changed."""
        self.input, self.identity = input, dict(input.identity())
        if noted and noted["is"] != self.identity:
            words = f"it was {_words(noted['is'])}, and is {_words(self.identity)}"
            raise StartError(f"{input.name} has changed since it was done: {words}; --again does all of the backfill anew")
        self.in_flight = InFlight(noted.get("after"), noted.get("through", 0.0), noted.get("finished", ()))
        self.read = bool(noted.get("complete"))
        self.read_to: Place | None = self.in_flight.after

    def is_complete(self) -> bool:
        return self.read and not self.in_flight.spread()

    def through(self) -> float:
        return self.input.size if self.is_complete() else self.in_flight.through

    def noted(self) -> dict[str, object]:
        """Return what the checkpoint says of the input. Empty before the first item is finished."""
        if self.is_complete():
            return {"is": self.identity, "complete": True}
        in_flight, finished = self.in_flight, self.in_flight.finished()
        if in_flight.after is None and not finished:
            return {}
        return {"is": self.identity, "after": in_flight.after, "through": in_flight.through, "finished": finished}


class Checkpoint(Protocol):
    """Where it is noted how far each input is done. path: its place, in messages."""

    @property
    def path(self) -> object: ...

    def read(self) -> dict[str, Any]:
        """Return what was noted of each input, by its name. Raises StartError."""

    def write(self, done: Mapping[str, Any]) -> None:
        """Replace it. Raises OSError, SourceFailed."""


class Inputs:
    """All inputs of a backfill. checkpoint: None in a dry run. close: called when nothing more is read."""

    def __init__(self, inputs: Sequence[Input], checkpoint: Checkpoint | None, close: Callable[[], None] = lambda: None):
        """Raises StartError where an input has changed, or one that was done in part is gone."""
        self._checkpoint, self.close = checkpoint, close
        before = checkpoint.read() if checkpoint else {}
        self.all = [InputProgress(input, before.get(input.name, {})) for input in inputs]
        self._gone = {name: before[name] for name in before.keys() - {input.name for input in inputs}}
        for name, noted in self._gone.items():
            if not noted.get("complete"):
                words = "is gone, and was done in part; put it back, or do all of the backfill anew by --again"
                raise StartError(f"{name} {words}")
        self.size = sum(each.input.size for each in self.all)
        self._written, self._last, self._pause = 0, 0.0, CHECKPOINT_SECONDS

    def unread(self) -> Iterator[InputProgress]:
        return (each for each in self.all if not each.read)

    def through(self) -> float:
        return sum(each.through() for each in self.all)

    def write_some(self, count: int) -> bool:
        """Write the checkpoint where it is time, and return whether it was.

        count: of finished records, which tells if there is news.
        """
        if time.monotonic() - self._last < self._pause:
            return False
        begin = time.monotonic()
        if count != self._written:
            try:
                self.write()
                self._written = count
            except SourceFailed as error:
                log.warning("%s", error)
        self._last = time.monotonic()
        self._pause = max(CHECKPOINT_SECONDS, (self._last - begin) / CHECKPOINT_SHARE)
        return True

    def write(self) -> None:
        if self._checkpoint is None:
            return
        noted = {each.input.name: each.noted() for each in self.all}
        try:
            self._checkpoint.write(self._gone | {name: state for name, state in noted.items() if state})
        except OSError as error:
            words = f"{self._checkpoint.path}: {error.strerror}; what was done since is done again by the next run"
            raise SourceFailed(words) from None


def checkpoint_path(folder: Path, service: str, inputs: Sequence[str], sinks: Sequence[str]) -> Path:
    """Return where the checkpoint of a backfill stands. Other inputs or sinks have another one."""
    # The name stays, so that an older version's checkpoint is found.
    digest = hashlib.sha256(json.dumps([service, list(inputs), sorted(sinks)]).encode()).hexdigest()
    return folder / f"refill-{service}-{digest[:10]}.json"


class CheckpointFile:
    """A Checkpoint. about: what people read in it, such as the inputs and sinks."""

    def __init__(self, path: Path, about: Mapping[str, object]):
        self.path, self._about = path, about

    def read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_bytes())
            if found["form"] != FORM:
                raise ValueError(f"its form is {found['form']}, and this version reads {FORM}")
            return dict(found["done"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StartError(f"{self.path}: {error.strerror}; it notes what is done, and must be readable") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{self.path} is not the checkpoint of a backfill ({error}); --again begins anew") from None

    def write(self, done: Mapping[str, object]) -> None:
        whole = json.dumps({"form": FORM, **self._about, "done": done}, ensure_ascii=True)
        new = self.path.with_name(self.path.name + ".new")
        with open(new, "w", encoding="ascii") as file:
            file.write(whole + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)

    def remove(self) -> None:
        """Begin anew."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _words(identity: Mapping[str, object]) -> str:
    """Return what an input is, for people. The digest is shown by its beginning."""
    return ", ".join(f"{name} {str(value)[:12]}" for name, value in identity.items())
