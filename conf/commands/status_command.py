"""`monopod status`: tell what runs where, and what is wrong."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from conf.base.console import prints_mistakes, table
from conf.base.object_references import DEPLOYMENT_LABEL, Ref, container_statuses, is_ready
from conf.base.quantities import counted
from conf.commands.arguments import load_regions, read_service
from conf.observe.autoscaler import autoscaler
from conf.observe.figures import NOT_SCRAPED
from conf.observe.health import present_troubles, troubles_query
from conf.observe.offline_figures import idle_words, offline_figures, offline_status_query, troubles
from conf.observe.prometheus import NoFigures, PrometheusClient, Sample
from conf.rollout import history as histories
from conf.rollout import lease, preflight
from conf.rollout.canary.state import HELD, canary_of, describe
from conf.rollout.diagnosis import diagnose, event_lines
from conf.rollout.history import BEGUN, History, Release
from conf.rollout.readiness import deployment_state, running_pods
from conf.rollout.report import EXPECTED_ERRORS, NO_RELEASE
from conf.rollout.targets import RegionTrack, Target, planned_or_left, target_to_read

HEAD = ("region", "track", "version", "ready", "restarts", "since", "state")
OFFLINE_HEAD = ("region", "track", "offline pods", "restarts", "lag", "records/s", "oldest", "dead letters")
Row = dict[str, Any]


@dataclass(frozen=True)
class Pods:
    """The pods of one Deployment. runs: how many of each version are ready. shortage: that some are missing, in words.

    is_losing: whether a pod was lost in the last hour.
    """

    wanted: int
    ready: int
    restarts: int
    runs: dict[str, int]
    shortage: str
    troubles: tuple[str, ...]
    is_losing: bool


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
    "note": "",
    "troubles": [],
    "offline": None,
    "autoscaler": None,
    "canary": None,
}


@prints_mistakes
def status_command(arguments: Namespace) -> int:
    """Print the version, the pods and the faults of each region and track; return 1 where one has a fault."""
    regions = load_regions(arguments)
    chosen = planned_or_left(
        read_service(arguments, regions), regions, arguments, planned_first=False, may_be_empty=arguments.json
    )
    if arguments.pod:
        return _show_pod(chosen, arguments)
    rows = _rows(chosen)
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print(table(HEAD, [_cells(row) for row in rows], ("ready", "restarts")), end="")
        if offline := [offline_cells(row) for row in rows if row["offline"]]:
            print("\n" + table(OFFLINE_HEAD, offline, OFFLINE_HEAD[2:]), end="")
        for row in rows:
            for words in row["canary"]["lines"] if row["canary"] else ():
                print(f"{row['region']}, {row['track']}: {words}")
            if row["offline"] and row["offline"]["note"]:
                print(f"{row['region']}, {row['track']}: {row['offline']['note']}")
            if row["autoscaler"]:
                print(f"{row['region']}, {row['track']}: autoscaler: {row['autoscaler']['words']}")
            for words in (*row["troubles"], *([row["note"]] if row["note"] else ())):
                print(f"{row['region']}, {row['track']}: {words}")
            if row["override"]:
                by = f"{row['version']} was deployed outside the region's release windows by {row['by']}"
                print(f"{row['region']}, {row['track']}: {by}: {row['override']}")
    return 1 if any(row["troubles"] for row in rows) else 0


def _show_pod(chosen: Sequence[RegionTrack], arguments: Namespace) -> int:
    """Print a pod, what is wrong with it, and its events, the newest last; return 17 where no region has it."""
    found: list[Row] = []
    for each in chosen:
        try:
            found += _pod(each, target_to_read(each), arguments.pod)
        except EXPECTED_ERRORS as error:
            print(f"{each}: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("".join(f"{line}\n" for row in found for line in _pod_lines(row)), end="")
    if not found:
        print(f"no pod {arguments.pod} in {', '.join(map(str, chosen))}; `monopod top` lists the pods", file=sys.stderr)
    return 0 if found else NO_RELEASE


def _pod(region_track: RegionTrack, target: Target, name: str) -> Iterator[Row]:
    pod = target.cluster.get(Ref("Pod", target.namespace, name))
    if pod is None or pod["metadata"].get("labels", {}).get(DEPLOYMENT_LABEL) not in (*target.names, *target.arms):
        return
    events = target.cluster.find("Event", target.namespace, fields=f"involvedObject.uid={pod['metadata']['uid']}")
    yield {
        "region": region_track.region.name,
        "track": region_track.track,
        "pod": name,
        "node": pod["spec"].get("nodeName", ""),
        "ready": is_ready(pod),
        "restarts": sum(each["restartCount"] for each in container_statuses(pod)),
        "troubles": [each.told for each in diagnose([pod], events, [], late=True)],
        "events": list(event_lines(events)),
    }


def _pod_lines(row: Row) -> Iterator[str]:
    ready, restarts = "ready" if row["ready"] else "not ready", counted(row["restarts"], "restart")
    yield f"{row['region']}, {row['track']}: {row['pod']} on {row['node'] or 'no node'}: {ready}, {restarts}"
    yield from (f"    {words}" for words in row["troubles"])
    yield from (f"    event: {line}" for line in row["events"])


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
        return row if history.last is None else row | _deployed(region_track, target, history, history.last)
    except EXPECTED_ERRORS as error:
        return row | {"state": "unknown", "troubles": [str(error)]}


def _deployed(region_track: RegionTrack, target: Target, history: History, last: Release) -> Row:
    changer, serving = _changer(target) if last.state == BEGUN else "", history.good or last
    pods = {each: _pods_of(target, each, changer, bool(history.good)) for each in _deployments(target, serving)}
    online, first = pods.get(target.deployment), next(iter(pods.values()))
    offline = _offline(region_track, target, pods[target.offline]) if target.offline in pods else None
    scaler = _autoscaler(target)
    ill, troubles, note = _present(region_track, target, any(each.is_losing for each in pods.values()))
    troubles += [words for each in pods.values() for words in each.troubles]
    for part in (offline or {}, scaler or {}):
        troubles += part.pop("troubles", [])
    return {
        "version": serving.version,
        "runs": first.runs,
        **({name: getattr(online, name) for name in ("ready", "wanted", "restarts")} if online else {}),
        "since": serving.at,
        "by": serving.by,
        "override": serving.override,
        "holder": str(history.holder or ""),
        "state": release_state(history, changer, (online or first).ready, any(each.shortage for each in pods.values()), ill),
        "note": note,
        "troubles": troubles,
        "offline": offline,
        "autoscaler": scaler,
        "canary": _canary(history, changer),
    }


def _canary(history: History, changer: str) -> Row | None:
    found = canary_of(history.last)
    if found is None or history.last is None:
        return None
    verdict = asdict(found.verdicts[-1]) if found.verdicts else None
    return {
        "version": history.last.version,
        "phase": found.phase,
        "step": found.step + 1,
        "shares": list(found.shares),
        "share": found.share,
        "baseline": found.baseline,
        "verdict": verdict,
        "driven_at": found.driven_at,
        "lines": describe(found, history.last.version, changer, time.time()),
    }


def _deployments(target: Target, serving: Release) -> list[Ref]:
    held = {each.name for each in serving.inventory if each.kind == "Deployment"}
    return [each for each in (target.deployment, target.offline) if each.name in held] or [target.deployment]


def _pods_of(target: Target, deployment: Ref, changer: str, serves: bool) -> Pods:
    """Return the pods of a Deployment. changer: who changes it now, "" for nobody. serves: whether there is a good release."""
    seen = deployment_state(target.cluster, deployment, late=not changer)
    pods = running_pods(target.cluster, deployment.namespace, [deployment.name])
    ready = sum(pods.versions.values())
    shortage = "" if changer else pod_shortage(seen.wanted, ready, serves)
    before = "" if deployment == target.deployment else f"{deployment.name}: "
    diagnosed = {each.pod for each in seen.diagnoses}
    waiting = (f"pod {name}: {words}" for name, words in pods.states.waiting if name not in diagnosed)
    told = (shortage, *map(str, seen.diagnoses), pods.states.lost_words, *waiting)
    troubles = tuple(before + words for words in told if words)
    return Pods(seen.wanted, ready, pods.restarts, dict(pods.versions), shortage, troubles, bool(pods.states.lost))


def _present(region_track: RegionTrack, target: Target, is_losing: bool) -> tuple[str, list[str], str]:
    """Return why a release is not good now, "" for nothing, with the troubles, and why Prometheus tells none."""
    found, note = [], ""
    try:
        query = troubles_query(target.service, target.offline.name, target.namespace)
        found = present_troubles(PrometheusClient(region_track.region).now(query))
    except NoFigures as error:
        note = f"alerts and failing requests are not known: {error}"
    kinds = [kind for kind, _ in found] + ["pods were lost"] * is_losing
    return next(iter(kinds), ""), [words for _, words in found], note


def _autoscaler(target: Target) -> Row | None:
    scaler = target.cluster.get(replace(target.deployment, kind="HorizontalPodAutoscaler"))
    if scaler is None:
        return None
    is_kedas = bool(scaler["metadata"].get("ownerReferences"))
    scaled = target.cluster.get(replace(target.deployment, kind="ScaledObject")) if is_kedas else None
    found = autoscaler(scaler, scaled, datetime.now(UTC))
    return {**asdict(found), "troubles": list(found.troubles), "words": found.words}


def _offline(region_track: RegionTrack, target: Target, pods: Pods) -> Row:
    """Return the part of a row about offline pods.

    note: why their figures are not known, or that some pods have nothing to read. troubles: what the pods tell.
    """
    part: Row = {"wanted": pods.wanted, "ready": pods.ready, "restarts": pods.restarts, "runs": pods.runs, "note": ""}
    samples: list[Sample] = []
    prometheus, name = PrometheusClient(region_track.region), target.offline.name
    try:
        samples = prometheus.now(offline_status_query(name, target.namespace))
        if pods.ready and not samples:
            raise NoFigures(NOT_SCRAPED.format(prometheus, target.namespace, name, "PodMonitor"))
    except NoFigures as error:
        part["note"] = f"lag and dead letters are not known: {error}"
    found = offline_figures(samples)
    part["note"] = part["note"] or idle_words(found)
    figures = {name: getattr(found, name) for name in ("lag", "rate", "oldest", "dead_letters")}
    return part | figures | {"troubles": [f"{name}: {words}" for words in troubles(found)]}


def offline_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of OFFLINE_HEAD. A figure that is not known is a dash."""
    of = row["offline"]
    figures = ((of["lag"], "{:.0f}"), (of["rate"], "{:.1f}"), (of["oldest"], "{:.0f} s"), (of["dead_letters"], "{:.0f}"))
    texts = ("-" if value is None else form.format(value) for value, form in figures)
    return row["region"], row["track"], f"{of['ready']}/{of['wanted']}", str(of["restarts"]), *texts


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


def release_state(history: History, changer: str, ready: int, is_short: bool, ill: str = "") -> str:
    """Return the state of the last release in a few words.

    changer: who changes it now, "" for nobody. ready: pods. is_short: whether pods are missing while nobody changes it.
    ill: what is wrong with it otherwise, "" for nothing.
    """
    last = history.last
    assert last is not None
    if last.state == BEGUN:
        to = last.version or "nothing"
        if (canary := canary_of(last)) and not changer:
            return f"a canary of {to} is {'held' if canary.phase == HELD else 'driven by nobody'}"
        return f"being changed to {to} by {changer}" if changer else f"the change to {to} was broken off"
    if last.state == histories.UNDONE:
        return f"{last.version} was undone" if history.good else f"{last.version} failed and was taken away"
    good = (ill or "good") if not is_short else "not all are ready" if ready else "nothing serves"
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
