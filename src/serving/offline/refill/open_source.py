"""From `--from` and `--to` of the command line to a refill: its source, its note and its file of dead letters.

Knows what a text of --from may be. Does not know how an input is read.
"""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.base.errors import StartError
from serving.inputs.files import PICTURES, FileKinds
from serving.offline.refill.dead_file import DeadFile
from serving.offline.refill.folder_files import FolderFiles, is_record
from serving.offline.refill.items import Input
from serving.offline.refill.line_file import LineFile
from serving.offline.refill.note import Note, path_of
from serving.offline.refill.refill_source import Refill
from serving.offline.refill.tracks import Tracks
from serving.settings import Settings, size_in_bytes

QUERY = re.compile(r"\s*(select|with|table|values)\s", re.IGNORECASE)
SHARE_OF_MEMORY = 16  # values that were read and are not finished take this part of the pod's memory at most


@dataclass(frozen=True)
class Opened:
    """A refill that can begin. dead, note: None in a dry run, which writes nothing."""

    source: Refill
    dead: DeadFile | None
    note: Path | None


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
    """Return a refill from what --from says to some sinks.

    given: paths, globs, or one query. again: begin anew. key: the query's unique column, "" for its first.
    postgresql: the URL for a query. folder: for the note and the dead letters, by default the working folder.
    limit: the most records of this run, 0 for all. kinds: which files are records.
    Raises StartError.
    """
    sources = _inputs(given, key, postgresql, kinds, size_in_bytes(settings.offline_max_record))
    path = path_of(folder or Path(), settings.service_name, given, sinks)
    dead, note = None, None
    if not dry_run:
        dead = DeadFile(path.with_name(f"{path.stem}-dead.jsonl"), again)
        note = Note(path, {"service": settings.service_name, "from": list(given), "to": list(sinks)})
    try:
        if note and again:
            note.remove()
        tracks = Tracks(sources, note)
    except BaseException:
        if dead:
            dead.release()
        raise
    return Opened(refill_of(tracks, settings, limit), dead, note.path if note else None)


def refill_of(tracks: Tracks, settings: Settings, limit: int = 0) -> Refill:
    """Return the source of some inputs, within the bounds of the settings. limit: the most records, 0 for all."""
    most = size_in_bytes(settings.memory) // SHARE_OF_MEMORY
    return Refill(tracks, settings.offline_window, most, settings.offline_retry_second, settings.offline_rate, limit)


def _inputs(given: Sequence[str], key: str, postgresql: str, kinds: FileKinds, largest: int) -> list[Input]:
    """Return the inputs that some texts of --from name. Raises StartError."""
    queries = [text for text in given if QUERY.match(text)]
    if queries:
        if len(given) > 1:
            raise StartError("--from takes one query, or paths; make a refill of each")
        from serving.offline.refill.query import Query  # an image without an offline source lacks psycopg

        return [Query(postgresql, queries[0], key, largest)]
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
