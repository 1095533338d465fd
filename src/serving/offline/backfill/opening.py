"""A backfill from `--from` and `--to` of the command line, the replay of dead letters, and the summary of either."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from serving.base import json_codec
from serving.base.errors import StartError
from serving.inputs.files import PICTURES, FileKinds
from serving.offline.backfill.dead_file import DeadFile
from serving.offline.backfill.files import FolderFiles, LineFile, is_record
from serving.offline.backfill.input_progress import CheckpointFile, Input, Inputs, checkpoint_path
from serving.offline.backfill.query import PostgresqlQuery
from serving.offline.backfill.source import Backfill
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.dead_letters import open_partitions
from serving.offline.reading_bounds import ReadingBounds
from serving.settings import Settings, size_in_bytes
from serving.settings.offline_names import dead_topic_of

QUERY = re.compile(r"\s*(select|with|table|values)\s", re.IGNORECASE)
SHARE_OF_MEMORY = 16  # values that were read and are not finished take this part of the pod's memory at most
REPLAY = "-replay"
ALL_ANSWERED, FAILED, SOME_DEAD, INTERRUPTED = 0, 1, 3, 130  # exit statuses


@dataclass(frozen=True)
class Opened:
    """A backfill or a replay that can begin. dead, note: None where it writes neither."""

    source: Backfill
    dead: DeadFile | None = None
    note: Path | None = None  # the checkpoint


def open_source(
    given: Sequence[str],
    sinks: Sequence[str],
    settings: Settings,
    *,
    again: bool = False,
    dry_run: bool = False,
    key: str = "",
    postgresql: str = "",
    folder: Path | None = None,
    limit: int = 0,
    kinds: FileKinds = PICTURES,
) -> Opened:
    """Return a backfill from what --from says to some sinks.

    given: paths, globs, or one query. again: begin anew. key: the query's unique column, "" for its first.
    postgresql: the URL for a query. folder: for the checkpoint and the dead letters, by default the working folder.
    limit: records of this run, 0 for all. kinds: which files are records.
    Raises StartError.
    """
    sources = _inputs(given, key, postgresql, kinds, size_in_bytes(settings.offline_max_record))
    path = checkpoint_path(folder or Path(), settings.service_name, given, sinks)
    if dry_run:
        return Opened(_source_of(Inputs(sources, None), settings, limit))
    dead = DeadFile(path.with_name(f"{path.stem}-dead.jsonl"), again)
    checkpoint = CheckpointFile(path, {"service": settings.service_name, "from": list(given), "to": list(sinks)})
    try:
        if again:
            checkpoint.remove()
        return Opened(_source_of(Inputs(sources, checkpoint), settings, limit), dead, path)
    except BaseException:
        dead.release()
        raise


def _source_of(inputs: Inputs, settings: Settings, limit: int) -> Backfill:
    """Return the source of some inputs, within the bounds of the settings. limit: records, 0 for all."""
    bounds = ReadingBounds(settings.offline_rate, size_in_bytes(settings.memory) // SHARE_OF_MEMORY, limit)
    return Backfill(inputs, settings.offline_window, bounds, settings.offline_retry_second)


def _inputs(given: Sequence[str], key: str, postgresql: str, kinds: FileKinds, largest: int) -> list[Input]:
    queries = [text for text in given if QUERY.match(text)]
    if queries:
        if len(given) > 1:
            raise StartError("--from takes one query, or paths; make a backfill of each")
        return [PostgresqlQuery(postgresql, queries[0], key, largest)]
    paths = list(dict.fromkeys(os.path.normpath(path) for text in given for path in _matched(text)))
    files = [path for path in paths if os.path.isdir(path) or is_record(path, kinds)]
    lines = [path for path in paths if path not in set(files)]
    inputs: list[Input] = [LineFile(path, largest) for path in lines]
    if files:
        found = FolderFiles(files, kinds, largest)
        if not found.count:
            taken = ", ".join(each for kind in kinds.values() for each in kind.types)
            names = "pictures in it (jpg, png, webp, gif, bmp)" if kinds == PICTURES else f"files of {taken} in it"
            words = f"{', '.join(files)}: no {names}, and {found.passed_over} other files"
            raise StartError(f"{words}; JSON lines are named as files, as '{files[0]}/*.jsonl'")
        inputs.append(found)
    return inputs


def _matched(text: str) -> list[str]:
    """Return the paths that a path or a glob names. Raises StartError where there is none."""
    if os.path.exists(text):
        return [text]
    if not glob.has_magic(text):
        raise StartError(f"{text}: no such file or folder; --from takes files, folders, globs such as 'in/*.jsonl', or a query")
    found = sorted(glob.glob(text, recursive=True))
    if not found:
        raise StartError(f"{text} matches no file in {os.getcwd()}; correct it, or leave it out")
    return found


def open_replay(
    connected: Configuration, topic: str, group: str, settings: Settings, dry_run: bool = False, limit: int = 0
) -> Opened:
    """Return the source of a group's dead letters, up to the end that their topic has now.

    connected: of client_configuration.connection. topic, group: whose dead letters, with the track's suffix. dry_run: it
    commits nothing. limit: records, 0 for all. Raises StartError.
    """
    partitions, commits = open_partitions(connected, dead_topic_of(topic, group), f"{group}{REPLAY}")
    inputs = Inputs(partitions, None if dry_run else commits, commits.close)
    return Opened(_source_of(inputs, settings, limit))


class Summary(NamedTuple):
    """The work of one run. seconds: it took. complete: whether nothing is left. passed_over: what is not a record."""

    answered: int
    dead: int
    seconds: float
    complete: bool
    passed_over: int
    dead_letters: str | None
    note: str | None

    def text(self) -> str:
        records = self.answered + self.dead
        rate = records / self.seconds if self.seconds else 0.0
        lines = [
            f"{records:,} records in {self.seconds:,.1f} s, {rate:,.1f}/s: {self.answered:,} answered, {self.dead:,} dead",
            f"passed over, since they are not records: {self.passed_over:,}" if self.passed_over else "",
            f"dead letters: {self.dead_letters}" if self.dead_letters else "",
            _next(self) if self.note else "",
        ]
        return "".join(f"{line}\n" for line in lines if line)

    def json(self) -> bytes:
        records = self.answered + self.dead
        rate = round(records / self.seconds, 1) if self.seconds else 0.0
        return json_codec.dumps({"records": records, **self._asdict(), "records_per_second": rate}) + b"\n"

    def status(self, interrupted: bool = False) -> int:
        if interrupted:
            return INTERRUPTED
        return SOME_DEAD if self.dead else ALL_ANSWERED


def summary(opened: Opened, answered: int, dead: int, seconds: float, dead_topic: str = "") -> Summary:
    """Return the summary of a backfill or a replay that has ended or was stopped.

    answered, dead: records of this run. dead_topic: where a replay's dead letters go.
    """
    inputs = opened.source.inputs.all
    letters = opened.dead and opened.dead.path
    return Summary(
        answered,
        dead,
        round(seconds, 3),
        all(each.is_complete() for each in inputs),
        sum(each.input.passed_over for each in inputs),
        str(letters) if letters and letters.exists() and letters.stat().st_size else dead_topic or None,
        str(opened.note) if opened.note else None,
    )


def _next(done: Summary) -> str:
    if not done.complete:
        return f"not all is done; the same command goes on, by its checkpoint {done.note}"
    if not done.answered + done.dead:
        return f"all of it was done before, says {done.note}; --again does it anew"
    return f"all is done, says {done.note}"
