"""The end of a refill: what was done, in how much time, where the dead letters are, and the exit status.

Knows numbers and words. Does not know how records were counted.
"""

from typing import NamedTuple

from serving.base import json_codec
from serving.offline.refill.open_source import Opened

ALL_ANSWERED, FAILED, SOME_DEAD, INTERRUPTED = 0, 1, 3, 130  # exit statuses


class Summary(NamedTuple):
    """The work of one run. seconds: it took. complete: whether nothing is left. passed_over: what is no record."""

    answered: int
    dead: int
    seconds: float
    complete: bool
    passed_over: int
    dead_letters: str | None
    note: str | None

    def text(self) -> str:
        """Return it for people, as lines."""
        records = self.answered + self.dead
        rate = records / self.seconds if self.seconds else 0.0
        lines = [
            f"{records:,} records in {self.seconds:,.1f} s, {rate:,.1f}/s: {self.answered:,} answered, {self.dead:,} dead",
            f"passed over, since they are no records: {self.passed_over:,}" if self.passed_over else "",
            f"dead letters: {self.dead_letters}" if self.dead_letters else "",
            _next(self) if self.note else "",
        ]
        return "".join(f"{line}\n" for line in lines if line)

    def json(self) -> bytes:
        """Return it as one line of JSON."""
        records = self.answered + self.dead
        rate = round(records / self.seconds, 1) if self.seconds else 0.0
        return json_codec.dumps({"records": records, **self._asdict(), "records_per_second": rate}) + b"\n"

    def status(self, interrupted: bool = False) -> int:
        """Return the exit status. interrupted: by Ctrl-C."""
        if interrupted:
            return INTERRUPTED
        return SOME_DEAD if self.dead else ALL_ANSWERED


def summary(opened: Opened, answered: int, dead: int, seconds: float, dead_topic: str = "") -> Summary:
    """Return the summary of a refill or a replay that has ended or was stopped.

    answered, dead: records of this run. dead_topic: where a replay's dead letters go.
    """
    tracks = opened.source.tracks.all
    letters = opened.dead and opened.dead.path
    return Summary(
        answered,
        dead,
        round(seconds, 3),
        all(track.is_complete() for track in tracks),
        sum(track.input.passed_over for track in tracks),
        str(letters) if letters and letters.exists() and letters.stat().st_size else dead_topic or None,
        str(opened.note) if opened.note else None,
    )


def _next(done: Summary) -> str:
    if not done.complete:
        return f"not all is done; the same command goes on, by its note {done.note}"
    if not done.answered + done.dead:
        return f"all of it was done before, says {done.note}; --again does it anew"
    return f"all is done, says {done.note}"
