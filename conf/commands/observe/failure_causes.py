"""Possible causes beside the share of answers that fail: the pods that give them, the errors in their logs, the last release.

Knows where each of them is asked for. Does not know when a share is too large.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from conf.base.quantities import counted, significant
from conf.base.text_tables import shortened
from conf.observe.gathering import TooSlow, gathered
from conf.observe.pod_figures import TrackFigures
from conf.observe.pod_logs.line_forms import Line
from conf.observe.pod_logs.pod_lines import PodLines
from conf.observe.region_figures import ObservedTrack
from conf.remote.cluster import Cluster, ClusterError
from conf.rollout.history import UnreadableHistory
from conf.rollout.preflight import load_history
from conf.rollout.targets import Target

MOST = 3  # pods, and kinds of errors, that are named
LOG_SECONDS = 120.0  # of the logs that are read, 4 MiB of a pod at most
ANSWER_SECONDS = 15.0


def failure_causes(each: ObservedTrack, track: TrackFigures) -> list[str]:
    """Return what may be the cause of a track's failures, a line each. A source that fails is named with the reason."""
    asks = {"the errors in the logs": partial(_errors, each, track), "the last release": partial(_release, each)}
    answers = gathered(asks, ANSWER_SECONDS)
    for error in answers.failed.values():
        if not isinstance(error, ClusterError | TooSlow | UnreadableHistory):
            raise error
    unknown = (f"{what}: not known: {error}" for what, error in answers.failed.items())
    return [*_pods(track), *(line for found in answers.found.values() for line in found), *unknown]


def _pods(track: TrackFigures) -> Iterator[str]:
    failing = sorted((pod for pod in track.pods if pod.errors), key=lambda pod: -(pod.errors or 0.0))
    shares = (f"{pod.pod} {significant(100 * (pod.error_share or 0.0), 2)} %" for pod in failing[:MOST])
    more = f", and {counted(len(failing) - MOST, 'more pod')}" if len(failing) > MOST else ""
    yield f"{counted(len(failing), 'pod')} of {len(track.pods)}: {', '.join(shares)}{more}"


def _errors(each: ObservedTrack, track: TrackFigures) -> list[str]:
    names = {pod.pod for pod in track.pods}
    parts = PodLines(each.region, each.namespace, each.service, LOG_SECONDS).read(turns=1)
    lines = (line for part in parts if isinstance(part, list) for line in part if line.pod in names)
    return error_lines(lines) or [f"the logs of the last {LOG_SECONDS:.0f} s have no error"]


def error_lines(lines: Iterable[Line]) -> list[str]:
    """Return the errors that stand in lines most often, as the last line of their traceback, else as their message."""
    found: Counter[str] = Counter()
    for line in lines:
        if line.fields.get("level") in ("error", "critical"):
            told = str(line.fields.get("traceback") or line.fields.get("message", "")).strip()
            found[shortened(told.rpartition("\n")[2])] += 1
    return [f"{counted(count, 'time')} in the log: {words}" for words, count in found.most_common(MOST)]


def _release(each: ObservedTrack) -> list[str]:
    target = Target(Cluster(each.region.context), each.namespace, each.settings.service_name)
    last = load_history(target, "").last
    return [f"the last release is {last.version}, by {last.by} at {last.at}, {last.state}"] if last else []
