"""The inputs of one refill, and how far each is done, as the note has it.

Knows which inputs changed since the note was written. Does not know how they are read. One thread at a time uses it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from serving.base.errors import StartError
from serving.offline.records import SourceFailed
from serving.offline.refill.items import Input, Place, Unfinished

NOTE_SECOND = 0.5  # at least, between two notes
NOTE_SHARE = 0.05  # of the time, at most, goes into writing notes

log = logging.getLogger("monopod.refill")


class Notes(Protocol):
    """Where it is noted how far each input is done. path: its place, in messages."""

    @property
    def path(self) -> object: ...

    def read(self) -> dict[str, Any]:
        """Return what was noted of each input, by its name. Raises StartError."""

    def write(self, done: Mapping[str, Any]) -> None:
        """Replace the note. Raises OSError, SourceFailed."""


class Track:
    """One input, and how far it is done. read: to its end. read_to: the place behind the newest item."""

    def __init__(self, input: Input, noted: Mapping[str, Any]):
        """noted: what the note says of the input, or nothing. Raises StartError where the input has changed."""
        self.input, self.identity = input, dict(input.identity())
        if noted and noted["is"] != self.identity:
            words = f"it was {_words(noted['is'])}, and is {_words(self.identity)}"
            raise StartError(f"{input.name} has changed since it was done: {words}; --again does all of the refill anew")
        self.complete_before = bool(noted.get("complete"))
        self.unfinished = Unfinished(noted.get("after"), noted.get("through", 0.0), noted.get("finished", ()))
        self.read = self.complete_before
        self.read_to: Place | None = self.unfinished.after

    def is_complete(self) -> bool:
        return self.read and not self.unfinished.spread()

    def through(self) -> float:
        return self.input.size if self.is_complete() else self.unfinished.through

    def noted(self) -> dict[str, object]:
        """Return what the note says of the input. Empty before the first item is finished."""
        if self.is_complete():
            return {"is": self.identity, "complete": True}
        unfinished, finished = self.unfinished, self.unfinished.finished()
        if unfinished.after is None and not finished:
            return {}
        return {"is": self.identity, "after": unfinished.after, "through": unfinished.through, "finished": finished}


class Tracks:
    """All inputs of a refill. note: None where nothing is noted, as in a dry run. close: called when nothing more is read."""

    def __init__(self, inputs: Sequence[Input], note: Notes | None, close: Callable[[], None] = lambda: None):
        """Raises StartError where an input has changed, or one that was done in part is gone."""
        self._note, self.close = note, close
        before = note.read() if note else {}
        self.all = [Track(input, before.get(input.name, {})) for input in inputs]
        self._gone = {name: before[name] for name in before.keys() - {input.name for input in inputs}}
        for name, noted in self._gone.items():
            if not noted.get("complete"):
                raise StartError(f"{name} is gone, and was done in part; put it back, or do all of the refill anew by --again")
        self.size = sum(track.input.size for track in self.all)
        self._written, self._last, self._pause = 0, 0.0, NOTE_SECOND

    def unread(self) -> Iterator[Track]:
        return (track for track in self.all if not track.read)

    def through(self) -> float:
        return sum(track.through() for track in self.all)

    def write_some(self, count: int) -> bool:
        """Write the note where it is time. Return whether it was. count: of finished records, which tells if there is news."""
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
        self._pause = max(NOTE_SECOND, (self._last - begin) / NOTE_SHARE)
        return True

    def write(self) -> None:
        """Write the note. Raises SourceFailed."""
        if self._note is None:
            return
        noted = {track.input.name: track.noted() for track in self.all}
        try:
            self._note.write(self._gone | {name: state for name, state in noted.items() if state})
        except OSError as error:
            words = f"{self._note.path}: {error.strerror}; what was done since is done again by the next run"
            raise SourceFailed(words) from None


def _words(identity: Mapping[str, object]) -> str:
    """Return what an input is, for people. The digest is shown by its beginning."""
    return ", ".join(f"{name} {str(value)[:12]}" for name, value in identity.items())
