"""What `monopod history` prints: the releases of each region and track.

Knows how a release looks to a person and to a program. Changes nothing.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from conf.base.image_names import short_digest
from conf.base.text_tables import table
from conf.commands.choices import load_regions
from conf.commands.rollout_choices import chosen
from conf.remote.cluster import Cluster
from conf.rollout import preflight
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.report import EXPECTED_ERRORS, error_status
from conf.rollout.targets import RegionTrack, Target, no_target

HEAD = ("region", "track", "version", "digest", "at", "by", "state", "note")
Row = dict[str, Any]


def history_command(arguments: Namespace) -> int:
    """Print the releases of every region and track, the newest first: what it was, when, by whom, and how it ended."""
    regions = load_regions(arguments)
    if regions is None:
        return 1
    targets = chosen(arguments, regions)
    if not targets:
        return 1 if targets is None else no_target(arguments, regions)
    rows: list[Row] = []
    failed = 0
    for spot in targets:
        try:
            place = Target(Cluster(spot.region.context), spot.namespace, spot.name)
            rows += listed(spot, preflight.load_history(place, ""))
        except EXPECTED_ERRORS as error:
            print(f"{spot}: {error}", file=sys.stderr)
            failed = failed or error_status(error)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(HEAD, [_cells(row) for row in rows], ()), end="")
    elif not failed:
        print("no release is kept: it was never deployed, or its history went with `monopod stop`")
    return failed


def listed(spot: RegionTrack, found: History) -> Iterator[Row]:
    """Yield a row for each release of a spot, the newest first. kept: whether a rollback can name it."""
    kept = {each.number for each in found.returnable}
    for each in reversed(found.releases):
        yield {
            "region": spot.region.name,
            "track": spot.track,
            "version": each.version,
            "digest": each.digest,
            "image": each.image,
            "at": each.at,
            "by": each.by,
            "state": _state(each, found),
            "kept": each.number in kept,
            "note": each.note,
            "override": each.override,
        }


def _state(release: Release, found: History) -> str:
    """Return in a word how it stands: serves, good (and older), begun (at work, or broken off), undone."""
    broken_off = found.last is not None and found.last.state == BEGUN
    return "serves" if release is found.good and not broken_off else release.state


def _cells(row: Row) -> tuple[str, ...]:
    said = [row["note"], f"outside the release windows: {row['override']}" if row["override"] else ""]
    said += ["too old to return to"] if row["state"] == GOOD and not row["kept"] else []
    cells = {**row, "digest": short_digest(row["digest"]), "note": "; ".join(filter(None, said))}
    return tuple(str(cells[name]) for name in HEAD)
