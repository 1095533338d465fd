"""The commands that only ask clusters: status, diff. The one that lists releases is beside, in conf.commands.history_command.

Knows how what is there looks to a person and to a program. Changes nothing.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.base.mistakes import mistaken
from conf.base.references import Item, Ref, gone, ref
from conf.base.text_tables import table
from conf.base.yamls import documents
from conf.clusters.region import Regions
from conf.commands.deploy_image import by_digest, judged, plans
from conf.commands.differences import Difference, difference, folded
from conf.remote.cluster import Cluster
from conf.render.templates import render
from conf.rollout import history as histories
from conf.rollout import lease, preflight
from conf.rollout.history import BEGUN, History
from conf.rollout.readiness import look, running
from conf.rollout.report import KNOWN, status_of
from conf.rollout.target import Place
from conf.rollout.targets import Spot, nowhere, spots, there
from conf.rules.check import read

HEAD = ("region", "track", "version", "ready", "restarts", "since", "state")
Row = dict[str, Any]


def status_command(arguments: Namespace, regions: Regions) -> int:
    """Print every region and track: version, pods, restarts, since when, and what is wrong."""
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        return mistaken(arguments, mistakes)
    every = spots(found, regions, arguments.track, arguments.region)
    chosen = there(every, bool(arguments.region), lambda words: print(words, file=sys.stderr))
    rows = _rows(sorted(chosen, key=every.index))
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(HEAD, [_cells(row) for row in rows], ("ready", "restarts")), end="")
        for row in rows:
            for words in row["troubles"]:
                print(f"{row['region']}, {row['track']}: {words}")
            if row["override"]:
                by = f"{row['version']} was deployed outside the region's release windows by {row['by']}"
                print(f"{row['region']}, {row['track']}: {by}: {row['override']}")
    else:
        return nowhere(arguments, regions)
    return 1 if any(row["troubles"] for row in rows) else 0


def diff_command(arguments: Namespace, regions: Regions) -> int:
    """Print what a deploy would change; exit status 3 where it would change something."""
    found = judged(arguments, regions)
    if isinstance(found, int):
        return found
    chosen = [each for each in spots(found, regions, arguments.track, arguments.region) if each.planned]
    if not chosen:
        return nowhere(arguments, regions)
    found = by_digest(arguments, found, regions)
    if isinstance(found, int):
        return found
    rendered = {each.region: documents(render(each)) for each in plans(arguments, found, regions)}
    changes: list[Row] = []
    for spot in chosen:
        try:
            changes += _changes(spot, rendered[spot.region.name])
        except KNOWN as error:
            print(f"{spot.region.name}: {error}", file=sys.stderr)
            return status_of(error)
    if arguments.json:
        print(json.dumps(changes, indent=2))
    else:
        _print_changes(chosen, changes)
    return 3 if changes else 0


def _rows(chosen: Sequence[Spot]) -> list[Row]:
    """Return a row for each spot. That a region cannot be asked is told once, not of tracks that are not to run there, too."""
    rows: list[Row] = []
    for spot in chosen:
        row = _row(spot)
        told = any((each["region"], each["state"]) == (row["region"], "unknown") for each in rows)
        if spot.planned or row["state"] != "unknown" or not told:
            rows.append(row)
    return rows


def _row(spot: Spot) -> Row:
    row: Row = {"region": spot.region.name, "track": spot.track, "version": "", "runs": {}, "ready": 0, "wanted": 0}
    row |= {"restarts": 0, "since": "", "by": "", "override": "", "holder": "", "state": "not deployed", "troubles": []}
    try:
        place = Place(Cluster(spot.region.context), spot.namespace, spot.name)
        found = preflight.history(place, "")
        if found.last is None:
            return row
        who = _at_work(place) if found.last.state == BEGUN else ""
        seen, pods = look(place.cluster, place.deployment, late=not who), running(place.cluster, place.deployment)
        serving = found.good or found.last
        ready = sum(pods.versions.values())
        short = "" if who else lacking(seen.wanted, ready, found.good is not None)
        return row | {
            "version": serving.version,
            "runs": dict(pods.versions),
            "ready": ready,
            "wanted": seen.wanted,
            "restarts": pods.restarts,
            "since": serving.at,
            "by": serving.by,
            "override": serving.override,
            "holder": str(found.holder or ""),
            "state": state(found, who, ready, bool(short)),
            "troubles": [*([short] if short else []), *map(str, seen.troubles)],
        }
    except KNOWN as error:
        return row | {"state": "unknown", "troubles": [str(error)]}


def lacking(wanted: int, ready: int, serves: bool) -> str:
    """Return what is missing where nobody is at work, in words with the cure; "" for nothing.

    wanted: of its Deployment, 0 where there is none. serves: whether a good release is meant to.
    """
    if not wanted:
        cure = "was it deleted, or scaled to 0? `monopod deploy` puts it there again"
        return f"nothing serves: its Deployment is not there, or wants no pod; {cure}" if serves else ""
    if ready < wanted:
        what = "nothing serves: no pod" if not ready else f"only {ready}"
        return f"{what} of {wanted} {'is' if ready < 2 else 'are'} ready; an autoscaler's new pods may be on their way"
    return ""


def state(found: History, who: str, ready: int, short: bool) -> str:
    """Return in a few words how its last release stands. who: is at work. short: whether pods are missing otherwise."""
    last = found.last
    assert last is not None
    if last.state == BEGUN:
        to = last.version or "nothing"
        return f"being changed to {to} by {who}" if who else f"the change to {to} was broken off"
    if last.state == histories.UNDONE:
        return f"{last.version} was undone" if found.good else f"{last.version} failed and was taken away"
    good = "good" if not short else "not all are ready" if ready else "nothing serves"
    return good if not last.note else f"{good}, {last.note}"


def _at_work(place: Place) -> str:
    """Return who changes it now, "" for nobody: a lease that was not renewed for long was left by a killed job."""
    item = place.cluster.get(Ref("Lease", place.namespace, histories.name(place.service)))
    if item is None:
        return ""
    renewed = datetime.fromisoformat(item["spec"].get("renewTime", "1970-01-01T00:00:00Z"))
    fresh = datetime.now(UTC) - renewed < timedelta(seconds=3 * lease.LASTS)
    return str(item["spec"].get("holderIdentity", "")) if fresh else ""


def _cells(row: Row) -> tuple[str, ...]:
    versions = ", ".join(f"{name} ({count})" if len(row["runs"]) > 1 else name for name, count in row["runs"].items())
    there = row["wanted"] or row["ready"]
    ready = f"{row['ready']}/{row['wanted']}" if there else ""
    version = versions or ("none ready" if there else "")
    cells = {**row, "version": version, "ready": ready, "restarts": row["restarts"] if there else ""}
    return tuple(str(cells[name]) for name in HEAD)


def _changes(spot: Spot, items: Sequence[Item]) -> Iterator[Row]:
    """Yield what applying objects would change, and what would be removed, as unified diffs of their JSON."""
    place = Place(Cluster(spot.region.context, lambda words: _warn(spot, words)), spot.namespace, spot.name)
    before = preflight.history(place, "")
    for item in items:
        live, then = place.cluster.get(ref(item)), place.cluster.apply(item, dry_run=True)
        if live and item["kind"] == "Deployment" and "replicas" not in item["spec"]:
            then["spec"]["replicas"] = live["spec"].get("replicas", 1)  # an autoscaler's: a deploy leaves it
        if found := difference(live, then):
            yield _change(spot, ref(item), found)
    for each in gone(before.inventory, tuple(map(ref, items))):
        if live := place.cluster.get(each):
            yield _change(spot, each, difference(live, None))


def _change(spot: Spot, each: Ref, found: Difference) -> Row:
    return {"region": spot.region.name, "object": str(each), "lines": list(found.lines), "labels": dict(found.labels)}


def _warn(spot: Spot, words: str) -> None:
    print(f"{spot.region.name}: warning of the API server: {words}", file=sys.stderr)


def _print_changes(chosen: Sequence[Spot], changes: Sequence[Row]) -> None:
    for spot in chosen:
        own = [each for each in changes if each["region"] == spot.region.name]
        for change in own:
            if change["lines"]:
                print(f"{change['region']}: {change['object']}", *change["lines"], sep="\n")
        for words in folded(change["labels"] for change in own):
            print(f"{spot.region.name}: {words}")
        if not own:
            print(f"{spot.region.name}: nothing would change")
