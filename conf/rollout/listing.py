"""The command that lists releases: history.

Knows how a release looks to a person and to a program. Changes nothing.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from conf.check import read
from conf.cluster import Cluster
from conf.clusters import Regions
from conf.images import short
from conf.mistakes import mistaken
from conf.rollout import present
from conf.rollout.history import BEGUN, GOOD, History, Release
from conf.rollout.outcomes import KNOWN, status_of
from conf.rollout.place import Place
from conf.rollout.spots import Spot, nowhere, spots, there
from conf.tables import table

HEAD = ("region", "track", "version", "digest", "at", "by", "state", "note")
Row = dict[str, Any]


def history_command(arguments: Namespace, regions: Regions) -> int:
    """Print the releases of every region and track, the newest first: what it was, when, by whom, and how it ended."""
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        return mistaken(arguments, mistakes)
    every = spots(found, regions, arguments.track, arguments.region)
    chosen = there(every, bool(arguments.region), lambda words: print(words, file=sys.stderr))
    if not chosen:
        return nowhere(arguments, regions)
    rows: list[Row] = []
    failed = 0
    for spot in sorted(chosen, key=every.index):
        try:
            place = Place(Cluster(spot.region.context), spot.namespace, spot.name)
            rows += listed(spot, present.history(place, ""))
        except KNOWN as error:
            print(f"{spot}: {error}", file=sys.stderr)
            failed = failed or status_of(error)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(HEAD, [_cells(row) for row in rows], ()), end="")
    elif not failed:
        print("no release is kept: it was never deployed, or its history went with `monopod stop`")
    return failed


def listed(spot: Spot, found: History) -> Iterator[Row]:
    """Yield a row for each release of a spot, the newest first. kept: whether a rollback can name it."""
    kept = {each.number for each in found.kept}
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
    cells = {**row, "digest": short(row["digest"]), "note": "; ".join(filter(None, said))}
    return tuple(str(cells[name]) for name in HEAD)
