"""What `monopod status` prints: what runs where, and what is wrong.

Knows how that looks to a person and to a program. Changes nothing.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.base.object_references import Ref
from conf.base.text_tables import table
from conf.commands.choices import load_regions
from conf.commands.rollout_choices import chosen
from conf.remote.cluster import Cluster
from conf.rollout import history as histories
from conf.rollout import lease, preflight
from conf.rollout.history import BEGUN, History
from conf.rollout.readiness import deployment_state, running_pods
from conf.rollout.report import EXPECTED_ERRORS
from conf.rollout.targets import RegionTrack, Target, no_target

HEAD = ("region", "track", "version", "ready", "restarts", "since", "state")
Row = dict[str, Any]


def status_command(arguments: Namespace) -> int:
    """Print every region and track: version, pods, restarts, since when, and what is wrong."""
    regions = load_regions(arguments)
    if regions is None:
        return 1
    targets = chosen(arguments, regions)
    if targets is None:
        return 1
    rows = _rows(targets)
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
        return no_target(arguments, regions)
    return 1 if any(row["troubles"] for row in rows) else 0


def _rows(chosen: Sequence[RegionTrack]) -> list[Row]:
    """Return a row for each spot. That a region cannot be asked is told once, not of tracks that are not to run there, too."""
    rows: list[Row] = []
    for spot in chosen:
        row = _row(spot)
        told = any((each["region"], each["state"]) == (row["region"], "unknown") for each in rows)
        if spot.planned or row["state"] != "unknown" or not told:
            rows.append(row)
    return rows


def _row(spot: RegionTrack) -> Row:
    row: Row = {"region": spot.region.name, "track": spot.track, "version": "", "runs": {}, "ready": 0, "wanted": 0}
    row |= {"restarts": 0, "since": "", "by": "", "override": "", "holder": "", "state": "not deployed", "troubles": []}
    try:
        place = Target(Cluster(spot.region.context), spot.namespace, spot.name)
        found = preflight.load_history(place, "")
        if found.last is None:
            return row
        who = _at_work(place) if found.last.state == BEGUN else ""
        seen = deployment_state(place.cluster, place.deployment, late=not who)
        pods = running_pods(place.cluster, place.deployment)
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
            "troubles": [*([short] if short else []), *map(str, seen.diagnoses)],
        }
    except EXPECTED_ERRORS as error:
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


def _at_work(place: Target) -> str:
    """Return who changes it now, "" for nobody: a lease that was not renewed for long was left by a killed job."""
    item = place.cluster.get(Ref("Lease", place.namespace, histories.object_name(place.service)))
    if item is None:
        return ""
    renewed = datetime.fromisoformat(item["spec"].get("renewTime", "1970-01-01T00:00:00Z"))
    fresh = datetime.now(UTC) - renewed < timedelta(seconds=3 * lease.LEASE_SECONDS)
    return str(item["spec"].get("holderIdentity", "")) if fresh else ""


def _cells(row: Row) -> tuple[str, ...]:
    versions = ", ".join(f"{name} ({count})" if len(row["runs"]) > 1 else name for name, count in row["runs"].items())
    there = row["wanted"] or row["ready"]
    ready = f"{row['ready']}/{row['wanted']}" if there else ""
    version = versions or ("none ready" if there else "")
    cells = {**row, "version": version, "ready": ready, "restarts": row["restarts"] if there else ""}
    return tuple(str(cells[name]) for name in HEAD)
