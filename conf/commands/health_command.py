"""`monopod health`: the figures of now judged once, for cron and for people, with possible causes where answers fail."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from conf.base.console import printable, prints_mistakes
from conf.base.quantities import counted, duration, significant
from conf.commands.observed_tracks import observed_tracks, with_arms
from conf.observe.figures import ObservedTrack, Sources, TrackFigures
from conf.observe.health import CRITICAL, TOO_NEW, UNKNOWN, WARNING, WELL, limits_of, reasons, worst
from conf.observe.pod_logs import PodLines, common_errors
from conf.remote.cluster import Cluster, ClusterError
from conf.remote.parallel import TooSlow, ask_all
from conf.rollout.history import UnreadableHistory
from conf.rollout.preflight import load_history
from conf.rollout.targets import Target

WINDOW = 300  # seconds that rates and quantiles of Prometheus are about
EXIT_STATUS = {WELL: 0, WARNING: 40, CRITICAL: 41, UNKNOWN: 42, TOO_NEW: 42}  # docs/observe.md lists them
MAX_CAUSES = 3  # pods that are named
LOG_SECONDS = 120.0  # of the logs that are read, 4 MiB of a pod at most
CAUSE_SECONDS = 15.0


@prints_mistakes
def health_command(arguments: Namespace) -> int:
    """Print a line for each reason for concern, or one that all is well; return the gravest level's exit status."""
    observed = with_arms(observed_tracks(arguments))
    records = track_records(observed, Sources([each.region for each in observed], WINDOW).ask(observed), failure_causes)
    if arguments.json:
        print(json.dumps(records, indent=2))
    else:
        for line in (line for record in records for line in _lines(record)):
            print(printable(line))
        for words in dict.fromkeys(f"{record['region']}: {record['unseen']}" for record in records if record["unseen"]):
            print(printable(words), file=sys.stderr)
    return EXIT_STATUS[worst([record["level"] for record in records])]


def track_records(
    observed: Sequence[ObservedTrack],
    found: Sequence[TrackFigures],
    causes: Callable[[ObservedTrack, TrackFigures], list[str]] = lambda *_: [],
) -> list[dict[str, Any]]:
    """Return tracks as JSON has them: the fields of TrackFigures and PodFigures, the level and its reasons.

    causes: gives what to tell beside the share of a track whose answers fail.
    """
    records = []
    for each, track in zip(observed, found, strict=True):
        if track.is_there:
            judged = reasons(track, limits_of(each.settings, each.offline))
            record = {**asdict(track), "level": worst([reason.level for reason in judged])}
            records.append({**record, "reasons": [asdict(reason) for reason in judged]})
            records[-1]["causes"] = causes(each, track) if any(reason.fails for reason in judged) else []
    return records


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    kind = "offline" if record["offline"] else record["arm"]
    where = f"{record['region']}, {record['track']}{' ' if kind else ''}{kind}"
    for reason in record["reasons"]:
        yield f"{where}: {reason['level']}: {reason['words']}"
        yield from (f"{where}: 5xx: {words}" for words in record["causes"] if reason["fails"])
    if not record["reasons"]:
        rate = sum(pod["rate"] or 0.0 for pod in record["pods"])
        slowest = f", 95 % of them within {duration(record['p95'])}" if record["p95"] is not None else ""
        waiting = f", {sum(pod['queue_rows'] or 0.0 for pod in record['pods']):.0f} wait" if record["offline"] else ""
        what = "records" if record["offline"] else "requests"
        yield f"{where}: {WELL}: {counted(len(record['pods']), 'pod')}, {significant(rate)} {what} a second{slowest}{waiting}"


def failure_causes(each: ObservedTrack, track: TrackFigures) -> list[str]:
    """Return what may be the cause of a track's failures, a line each. A source that fails is named with the reason."""
    asks = {"the errors in the logs": partial(_errors, each, track), "the last release": partial(_release, each)}
    answers = ask_all(asks, CAUSE_SECONDS)
    for error in answers.failed.values():
        if not isinstance(error, ClusterError | TooSlow | UnreadableHistory):
            raise error
    unknown = (f"{what}: not known: {error}" for what, error in answers.failed.items())
    return [*_failing_pods(track), *(line for found in answers.found.values() for line in found), *unknown]


def _failing_pods(track: TrackFigures) -> Iterator[str]:
    failing = sorted((pod for pod in track.pods if pod.errors), key=lambda pod: -(pod.errors or 0.0))
    shares = (f"{pod.pod} {significant(100 * (pod.error_share or 0.0), 2)} %" for pod in failing[:MAX_CAUSES])
    more = f", and {counted(len(failing) - MAX_CAUSES, 'more pod')}" if len(failing) > MAX_CAUSES else ""
    yield f"{counted(len(failing), 'pod')} of {len(track.pods)}: {', '.join(shares)}{more}"


def _errors(each: ObservedTrack, track: TrackFigures) -> list[str]:
    names = {pod.pod for pod in track.pods}
    parts = PodLines(each.region, each.namespace, each.service, LOG_SECONDS, turns=1).read()
    lines = (line for part in parts if isinstance(part, list) for line in part if line.pod in names)
    found = [f"{counted(count, 'time')} in the log: {words}" for words, count in common_errors(lines)]
    return found or [f"the logs of the last {LOG_SECONDS:.0f} s have no error"]


def _release(each: ObservedTrack) -> list[str]:
    target = Target(Cluster(each.region.context), each.namespace, each.settings.service_name)
    last = load_history(target, "").last
    return [f"the last release is {last.version}, by {last.by} at {last.at}, {last.state}"] if last else []
