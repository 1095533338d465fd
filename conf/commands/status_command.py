"""`monopod status`: tell what runs where, and what is wrong.

Knows how a region's state looks to a person and to a program. Changes nothing.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.base.console import prints_mistakes
from conf.base.object_references import Ref
from conf.base.text_tables import table
from conf.commands.choices import load_regions, read_service
from conf.rollout import history as histories
from conf.rollout import lease, preflight
from conf.rollout.history import BEGUN, History
from conf.rollout.readiness import deployment_state, running_pods
from conf.rollout.report import EXPECTED_ERRORS
from conf.rollout.targets import RegionTrack, Target, no_target, planned_or_left, target_to_read

HEAD = ("region", "track", "version", "ready", "restarts", "since", "state")
Row = dict[str, Any]
NOT_DEPLOYED: Row = {
    "version": "",
    "runs": {},
    "ready": 0,
    "wanted": 0,
    "restarts": 0,
    "since": "",
    "by": "",
    "override": "",
    "holder": "",
    "state": "not deployed",
    "troubles": [],
}


@prints_mistakes
def status_command(arguments: Namespace) -> int:
    """Print the version, the pods and the faults of each region and track; return 1 where one has a fault."""
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments, planned_first=False)
    rows = _rows(chosen)
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
        raise no_target(arguments, regions)
    return 1 if any(row["troubles"] for row in rows) else 0


def _rows(chosen: Sequence[RegionTrack]) -> list[Row]:
    """Return a row for each track in each region. A track that is not planned has none where another row tells the error."""
    rows: list[Row] = []
    for each in chosen:
        row = _row(each)
        is_told = any((other["region"], other["state"]) == (row["region"], "unknown") for other in rows)
        if each.planned or row["state"] != "unknown" or not is_told:
            rows.append(row)
    return rows


def _row(region_track: RegionTrack) -> Row:
    row: Row = {"region": region_track.region.name, "track": region_track.track, **NOT_DEPLOYED}
    try:
        target = target_to_read(region_track)
        history = preflight.load_history(target, "")
        if history.last is None:
            return row
        changer = _changer(target) if history.last.state == BEGUN else ""
        seen = deployment_state(target.cluster, target.deployment, late=not changer)
        pods = running_pods(target.cluster, target.deployment)
        serving = history.good or history.last
        ready = sum(pods.versions.values())
        shortage = "" if changer else pod_shortage(seen.wanted, ready, history.good is not None)
        return row | {
            "version": serving.version,
            "runs": dict(pods.versions),
            "ready": ready,
            "wanted": seen.wanted,
            "restarts": pods.restarts,
            "since": serving.at,
            "by": serving.by,
            "override": serving.override,
            "holder": str(history.holder or ""),
            "state": release_state(history, changer, ready, bool(shortage)),
            "troubles": [*([shortage] if shortage else []), *map(str, seen.diagnoses)],
        }
    except EXPECTED_ERRORS as error:
        return row | {"state": "unknown", "troubles": [str(error)]}


def pod_shortage(wanted: int, ready: int, serves: bool) -> str:
    """Return how many pods are missing while no deploy is at work, with the cure; "" where none are.

    wanted: the pods that the Deployment wants, 0 where there is no Deployment. serves: whether there is a good release.
    """
    if not wanted:
        cure = "was it deleted, or scaled to 0? `monopod deploy` puts it there again"
        return f"nothing serves: its Deployment is not there, or wants no pod; {cure}" if serves else ""
    if ready < wanted:
        what = "nothing serves: no pod" if not ready else f"only {ready}"
        return f"{what} of {wanted} {'is' if ready < 2 else 'are'} ready; an autoscaler's new pods may be on their way"
    return ""


def release_state(history: History, changer: str, ready: int, is_short: bool) -> str:
    """Return the state of the last release in a few words.

    changer: who changes it now, "" for nobody. ready: pods. is_short: whether pods are missing while nobody changes it.
    """
    last = history.last
    assert last is not None
    if last.state == BEGUN:
        to = last.version or "nothing"
        return f"being changed to {to} by {changer}" if changer else f"the change to {to} was broken off"
    if last.state == histories.UNDONE:
        return f"{last.version} was undone" if history.good else f"{last.version} failed and was taken away"
    good = "good" if not is_short else "not all are ready" if ready else "nothing serves"
    return good if not last.note else f"{good}, {last.note}"


def _changer(target: Target) -> str:
    """Return who changes a release now, "" for nobody. A killed job leaves a lease that is no longer renewed."""
    item = target.cluster.get(Ref("Lease", target.namespace, histories.object_name(target.service)))
    if item is None:
        return ""
    renewed = datetime.fromisoformat(item["spec"].get("renewTime", "1970-01-01T00:00:00Z"))
    is_held = datetime.now(UTC) - renewed < timedelta(seconds=3 * lease.LEASE_SECONDS)
    return str(item["spec"].get("holderIdentity", "")) if is_held else ""


def _cells(row: Row) -> tuple[str, ...]:
    versions = ", ".join(f"{name} ({count})" if len(row["runs"]) > 1 else name for name, count in row["runs"].items())
    has_pods = row["wanted"] or row["ready"]
    ready = f"{row['ready']}/{row['wanted']}" if has_pods else ""
    version = versions or ("none ready" if has_pods else "")
    cells = {**row, "version": version, "ready": ready, "restarts": row["restarts"] if has_pods else ""}
    return tuple(str(cells[name]) for name in HEAD)
