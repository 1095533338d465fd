"""The commands that change clusters or ask them: diff, deploy, status, rollback, stop.

Knows how several regions go one after another, exit statuses, and how results look. Does not know how a release is made.
"""

import dataclasses
import difflib
import getpass
import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conf.check import Service, check, read
from conf.cluster import BadCredentials, Cluster, ClusterError, NoNamespace, NoRights, Refused, Unreachable
from conf.clusters import Regions
from conf.plan import Plan, plan
from conf.pods import PULL, startup
from conf.refs import Item
from conf.rollout import history as histories
from conf.rollout import trouble
from conf.rollout.history import Holder, Unreadable
from conf.rollout.lease import Busy, Lost
from conf.rollout.releasing import Held, NothingThere, Place, Undone, WayIn, now, release, roll_back, stop
from conf.rollout.watching import look
from conf.tables import table
from conf.yamls import documents

# Exit statuses, by what happened; docs/deploy.md lists them.
STATUS: Sequence[tuple[type[Exception], int]] = (
    (Unreachable, 10),
    (BadCredentials, 11),
    (NoRights, 12),
    (NoNamespace, 13),
    (Refused, 14),
    (ClusterError, 14),
    (Held, 15),
    (Busy, 16),
    (Lost, 16),
    (NothingThere, 17),
    (Unreadable, 18),
)
UNDONE_STATUS = {
    trouble.IMAGE: 20,
    trouble.CRASH: 21,
    trouble.MEMORY: 22,
    trouble.PROBE: 23,
    trouble.UNSCHEDULABLE: 24,
    trouble.QUOTA: 25,
    trouble.CONFIG: 26,
    trouble.NODE: 27,
}
NOT_READY = 28
KNOWN: tuple[type[Exception], ...] = tuple(kind for kind, _ in STATUS)
NOISE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass
class Outcome:
    """What came of one region. state: deployed, undone, failed, not begun, removed."""

    region: str
    track: str
    state: str
    version: str = ""
    words: str = ""
    log: str = ""
    status: int = 0


def deploy_command(arguments: Namespace, regions: Regions) -> int:
    report = check(arguments.service, regions, (arguments.track,), arguments.image)
    if report.mistakes:
        print("\n".join(report.mistakes), file=sys.stderr)
        return 1
    found, _ = read(arguments.service, regions, arguments.image)
    assert found is not None
    chosen = [(each, documents(text)) for each, text in report.rendered if _wanted(arguments, each.region)]
    if not chosen:
        return _nowhere(arguments, regions)
    say = _say(arguments)

    def act(each: Plan, items: list[Item]) -> Outcome:
        place = _place(arguments, regions, found, each)
        done = release(place, items, found.image.version, found.image.text, lambda words: say(f"{each.region}: {words}"))
        return Outcome(each.region, each.track, "deployed", done.version)

    return _one_after_another(arguments, regions, found, chosen, act)


def rollback_command(arguments: Namespace, regions: Regions) -> int:
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        print("\n".join(mistakes), file=sys.stderr)
        return 1
    say = _say(arguments)

    def act(each: Plan, items: list[Item]) -> Outcome:
        done = roll_back(_place(arguments, regions, found, each), lambda words: say(f"{each.region}: {words}"))
        return Outcome(each.region, each.track, "deployed", done.version, done.note)

    return _one_after_another(arguments, regions, found, _chosen(arguments, regions, found), act)


def stop_command(arguments: Namespace, regions: Regions) -> int:
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        print("\n".join(mistakes), file=sys.stderr)
        return 1
    if arguments.track == "prod" and not arguments.yes:
        print("this takes the service away from its users; say --yes if that is meant", file=sys.stderr)
        return 2
    say = _say(arguments)

    def act(each: Plan, items: list[Item]) -> Outcome:
        stop(_place(arguments, regions, found, each), lambda words: say(f"{each.region}: {words}"))
        return Outcome(each.region, each.track, "removed")

    return _one_after_another(arguments, regions, found, _chosen(arguments, regions, found), act)


def diff_command(arguments: Namespace, regions: Regions) -> int:
    """Print what a deploy would change; exit status 3 where it would change something."""
    report = check(arguments.service, regions, (arguments.track,), arguments.image)
    if report.mistakes:
        print("\n".join(report.mistakes), file=sys.stderr)
        return 1
    changed = False
    for each, text in report.rendered:
        if _wanted(arguments, each.region):
            try:
                lines = list(_differences(Cluster(regions.regions[each.region].context), each, documents(text)))
            except KNOWN as error:
                print(f"{each.region}: {error}", file=sys.stderr)
                return _status_of(error)
            changed = changed or bool(lines)
            print("\n".join(lines) if lines else f"{each.region}: nothing would change")
    return 3 if changed else 0


def status_command(arguments: Namespace, regions: Regions) -> int:
    """Print every region and track: version, pods, restarts, since when, and what is wrong."""
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        print("\n".join(mistakes), file=sys.stderr)
        return 1
    rows = [row for each, _ in _chosen(arguments, regions, found) if (row := _standing(regions, each)) is not None]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        head = ("region", "track", "version", "ready", "restarts", "since", "state")
        cells = [tuple(str(row[name]) for name in head) for row in rows]
        print(table(head, cells, ("ready", "restarts")), end="")
        for row in rows:
            for words in row["troubles"]:
                print(f"{row['region']}, {row['track']}: {words}")
    return 1 if any(row["troubles"] for row in rows) else 0


def _standing(regions: Regions, each: Plan) -> dict[str, Any] | None:
    row: dict[str, Any] = {"region": each.region, "track": each.track, "version": "", "ready": "", "restarts": 0}
    row |= {"since": "", "state": "not deployed", "troubles": []}
    try:
        cluster = Cluster(regions.regions[each.region].context)
        place = Place(cluster, each.namespace, each.name, 0, "")
        kept = histories.read(cluster.get(place.history))
        if kept.last is None:
            return row
        seen = look(cluster, place.deployment)
        pods = cluster.find("Pod", each.namespace, f"app.kubernetes.io/name={each.name}")
    except KNOWN as error:
        return row | {"state": "unknown", "troubles": [str(error)]}
    serving = kept.last if kept.last.state != histories.UNDONE else (kept.good() or kept.last)
    states = {histories.GOOD: "good", histories.BEGUN: "on its way, or broken off", histories.UNDONE: "undone"}
    containers = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses", [])]
    return row | {
        "version": serving.version,
        "ready": f"{seen.ready}/{seen.wanted}",
        "restarts": sum(status["restartCount"] for status in containers),
        "since": serving.at,
        "state": states[serving.state],
        "troubles": [str(each) for each in seen.troubles],
    }


def _one_after_another(
    arguments: Namespace,
    regions: Regions,
    found: Service,
    chosen: Sequence[tuple[Plan, list[Item]]],
    act: Callable[[Plan, list[Item]], Outcome],
) -> int:
    """Do it region by region, and stop at the first that fails; then say what runs where."""
    if not chosen:
        return _nowhere(arguments, regions)
    outcomes: list[Outcome] = []
    for each, items in chosen:
        if outcomes and outcomes[-1].status:
            outcomes.append(Outcome(each.region, each.track, "not begun", words="a region before it failed"))
            outcomes[-1].status = outcomes[-2].status
            continue
        try:
            outcomes.append(act(each, items))
        except Undone as error:
            kind = error.cause.trouble.kind if error.cause.trouble else ""
            status = UNDONE_STATUS.get(kind, NOT_READY)
            outcomes.append(
                Outcome(each.region, each.track, "undone", words=f"{error.cause}\n{error}", log=error.cause.log, status=status)
            )
        except KNOWN as error:
            outcomes.append(Outcome(each.region, each.track, "failed", words=str(error), status=_status_of(error)))
        except KeyboardInterrupt:
            print(
                f"stopped in {each.region}: Kubernetes goes on with what was applied; `monopod status` shows it, and deploy or "
                "rollback goes on from there",
                file=sys.stderr,
            )
            raise
    _tell(arguments, outcomes)
    return next((each.status for each in outcomes if each.status), 0)


def _tell(arguments: Namespace, outcomes: Sequence[Outcome]) -> None:
    if arguments.json:
        print(json.dumps([asdict(each) for each in outcomes], indent=2))
        return
    for each in outcomes:
        version = f" {each.version}" if each.version else ""
        words = f": {each.words}" if each.words else ""
        print(f"{each.region}, {each.track}: {each.state}{version}{words}", file=sys.stderr if each.status else sys.stdout)
        if each.log:
            print("\n".join(f"    {line}" for line in each.log.splitlines()), file=sys.stderr)


def _status_of(error: Exception) -> int:
    return next(status for kind, status in STATUS if isinstance(error, kind))


def _place(arguments: Namespace, regions: Regions, found: Service, each: Plan) -> Place:
    region = regions.regions[each.region]
    settings = found.value.in_region(each.region)
    patience = getattr(arguments, "timeout", None) or startup(settings) + PULL
    way_in = WayIn(region.way_in + each.route.paths[0].exact, region.host) if region.way_in else None
    return Place(
        cluster=Cluster(region.context),
        namespace=each.namespace,
        service=each.name,
        patience=patience,
        by=_who(),
        holder=_holder(arguments.service),
        take_over=getattr(arguments, "take_over", False),
        way_in=way_in,
        wait=arguments.wait,
    )


def _who() -> str:
    """Return who deploys, as people know them."""
    return os.environ.get("GITLAB_USER_LOGIN") or f"{getpass.getuser()}@{socket.gethostname()}"


def _holder(folder: Path) -> Holder:
    """Return whose a service is: the project and branch that GitLab names, or those of the checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    project = os.environ.get("CI_PROJECT_PATH") or _without_secret(git("remote", "get-url", "origin")) or str(folder.resolve())
    branch = os.environ.get("CI_COMMIT_REF_NAME") or git("rev-parse", "--abbrev-ref", "HEAD") or "none"
    return Holder(project, branch, now())


def _without_secret(url: str) -> str:
    """Return a URL without the user and password that it may hold."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else url


def _chosen(arguments: Namespace, regions: Regions, found: Service) -> list[tuple[Plan, list[Item]]]:
    tracks = (arguments.track,) if arguments.track else ("prod", "grey", "ab")
    plans = (each for track in tracks for each in plan(found.value, regions, track, found.image, found.alerts))
    return [(each, []) for each in plans if _wanted(arguments, each.region)]


def _wanted(arguments: Namespace, region: str) -> bool:
    return arguments.region in ("", region)


def _nowhere(arguments: Namespace, regions: Regions) -> int:
    where = arguments.region or "any region"
    print(f"{arguments.track} does not run in {where}; regions are {', '.join(regions.regions)}", file=sys.stderr)
    return 1


def _say(arguments: Namespace) -> Callable[[str], None]:
    return lambda words: print(words, file=sys.stderr if arguments.json else sys.stdout, flush=True)


def _differences(cluster: Cluster, each: Plan, items: Sequence[Item]) -> Iterator[str]:
    """Yield what applying objects would change, as a unified diff of their JSON."""
    for item in items:
        place = Place(cluster, each.namespace, each.name, 0, "")
        live = cluster.get(dataclasses.replace(place.deployment, kind=item["kind"], name=item["metadata"]["name"]))
        then = cluster.apply(item, dry_run=True)
        name = f"{each.region}: {item['kind']} {each.namespace}/{item['metadata']['name']}"
        yield from difflib.unified_diff(_lines(live), _lines(then), f"{name} (now)", f"{name} (then)", lineterm="", n=2)


def _lines(item: Item | None) -> list[str]:
    if item is None:
        return []
    metadata = {key: value for key, value in item["metadata"].items() if key not in NOISE}
    return json.dumps({**item, "metadata": metadata, "status": None}, indent=1, sort_keys=True).splitlines()
