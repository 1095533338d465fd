"""`monopod history`: list the releases of each region and track."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from conf.base.console import prints_mistakes, table
from conf.base.image_names import short_digest
from conf.commands.arguments import load_regions, read_service
from conf.rollout import preflight
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.report import EXPECTED_ERRORS, error_status
from conf.rollout.targets import RegionTrack, planned_or_left, target_to_read

HEAD = ("region", "track", "version", "digest", "at", "by", "state", "note")
Row = dict[str, Any]


@prints_mistakes
def history_command(arguments: Namespace) -> int:
    """Print each release's version, time, deployer and state, the newest first.

    Return the status of the first region whose history cannot be read, else 0.
    """
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments, planned_first=False)
    rows: list[Row] = []
    failed = 0
    for each in chosen:
        try:
            rows += release_rows(each, preflight.load_history(target_to_read(each), ""))
        except EXPECTED_ERRORS as error:
            print(f"{each}: {error}", file=sys.stderr)
            failed = failed or error_status(error)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(HEAD, [_cells(row) for row in rows], ()), end="")
    elif not failed:
        print("no release is kept: it was never deployed, or its history went with `monopod stop`")
    return failed


def release_rows(region_track: RegionTrack, history: History) -> Iterator[Row]:
    """Yield a row for each release, the newest first. A row's `kept` says whether a rollback can return to it."""
    kept = {each.number for each in history.returnable}
    for each in reversed(history.releases):
        yield {
            "region": region_track.region.name,
            "track": region_track.track,
            "version": each.version,
            "digest": each.digest,
            "image": each.image,
            "at": each.at,
            "by": each.by,
            "state": _state(each, history),
            "kept": each.number in kept,
            "note": each.note,
            "override": each.override,
        }


def _state(release: Release, history: History) -> str:
    """Return serves, good for an older one, begun for one being deployed or broken off, or undone."""
    is_changing = history.last is not None and history.last.state == BEGUN
    return "serves" if release is history.good and not is_changing else release.state


def _cells(row: Row) -> tuple[str, ...]:
    notes = [row["note"], f"outside the release windows: {row['override']}" if row["override"] else ""]
    notes += ["too old to return to"] if row["state"] == GOOD and not row["kept"] else []
    cells = {**row, "digest": short_digest(row["digest"]), "note": "; ".join(filter(None, notes))}
    return tuple(str(cells[name]) for name in HEAD)
