"""Several regions one after another: what came of each, what runs there now, and the exit status.

Knows every way in which a command near the cluster can end. Does not know how a release is made.
"""

import contextlib
import json
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from conf.base.object_references import Ref
from conf.remote.cluster import BadCredentials, Cluster, ClusterError, NoNamespace, NoRights, Refused, Unreachable
from conf.remote.image_registry import RegistryError
from conf.rollout import diagnosis
from conf.rollout.history import UnreadableHistory
from conf.rollout.lease import Busy, LeaseLost
from conf.rollout.readiness import NotReady, RunningPods, running_pods
from conf.rollout.release import NameTaken, NoRelease, Undone
from conf.rollout.targets import Blocked, RegionTrack

# Exit statuses, by what happened; docs/deploy.md lists them.
NO_RELEASE, NOT_READY = 17, 28
NO_IMAGE = 32  # not in its registry, or the registry cannot be asked; nothing was begun
EXIT_STATUS: Sequence[tuple[type[Exception], int]] = (
    (Undone, 0),  # as its cause
    (Unreachable, 10),
    (BadCredentials, 11),
    (NoRights, 12),
    (NoNamespace, 13),
    (Refused, 14),
    (ClusterError, 14),
    (NameTaken, 15),
    (Busy, 16),
    (LeaseLost, 16),
    (NoRelease, NO_RELEASE),
    (UnreadableHistory, 18),
    (Blocked, 19),
    (RegistryError, NO_IMAGE),
)
DIAGNOSIS_STATUS: Mapping[str, int] = {
    diagnosis.IMAGE: 20,
    diagnosis.CRASH: 21,
    diagnosis.MEMORY: 22,
    diagnosis.PROBE: 23,
    diagnosis.UNSCHEDULABLE: 24,
    diagnosis.QUOTA: 25,
    diagnosis.CONFIG: 26,
    diagnosis.NODE: 27,
    diagnosis.GATEWAY: 29,
    diagnosis.PAUSED: 30,
    "": NOT_READY,
}
OUTSIDE_WINDOWS = 31  # outside a region's release windows; nothing was begun
STOPPED = 130  # by Ctrl-C or SIGTERM
EXPECTED_ERRORS: tuple[type[Exception], ...] = tuple(kind for kind, _ in EXIT_STATUS)


@dataclass
class RegionResult:
    """What came of one region. state: deployed, unchanged, undone, failed, stopped, not begun, skipped, removed, not there.

    runs: how many ready pods of each version are there now; None where that was not asked or not answered.
    """

    region: str
    track: str
    state: str
    version: str = ""
    words: str = ""
    events: Sequence[str] = ()
    log: str = ""
    status: int = 0
    runs: Mapping[str, int] | None = None


def run_in_order(
    arguments: Namespace,
    region_tracks: Sequence[RegionTrack],
    act: Callable[[RegionTrack], RegionResult],
    ended: Callable[[Sequence[RegionResult]], None] = lambda _: None,
) -> list[RegionResult]:
    """Act on each region_track in turn, stop at the first that fails, and tell what came of all: here, and to `ended`.

    A region_track where there is nothing to return to keeps none after it from its turn.

    SIGTERM is taken as Ctrl-C is, so that a job that is cancelled gives its lease back.
    """
    results: list[RegionResult] = []
    try:
        with _ended_by_a_signal():
            for region_track in region_tracks:
                results.append(_act_on(region_track, act, _status_so_far(results)))
            for region_track, each in zip(region_tracks, results, strict=True):
                each.runs = running_at(region_track)
    except KeyboardInterrupt:
        where = f"in {region_tracks[len(results)].region.name}" if len(results) < len(region_tracks) else "at the end"
        results += _stopped_results(region_tracks[len(results) :])
        print_results(arguments, results)
        print_line(
            f"stopped {where}: Kubernetes goes on with what was applied; `monopod status` shows it, and deploy or rollback "
            "goes on from there",
            sys.stderr,
        )
        _notify(ended, results)
        raise
    print_results(arguments, results)
    _notify(ended, results)
    return results


def exit_status(results: Sequence[RegionResult]) -> int:
    """Return the exit status: of the first that failed."""
    return next((each.status for each in results if each.status), 0)


def _status_so_far(results: Sequence[RegionResult]) -> int:
    """Return the status that keeps the regions after it from their turn. Where there was nothing to do, nothing went wrong."""
    return exit_status([each for each in results if each.status != NO_RELEASE])


def _act_on(region_track: RegionTrack, act: Callable[[RegionTrack], RegionResult], failed: int) -> RegionResult:
    if failed:
        return RegionResult(
            region_track.region.name, region_track.track, "not begun", words="a region before it failed", status=failed
        )
    try:
        return act(region_track)
    except EXPECTED_ERRORS as error:
        return failure_result(region_track, error)


def _notify(ended: Callable[[Sequence[RegionResult]], None], results: Sequence[RegionResult]) -> None:
    """Tell others what came of it all. Who stops that stops no more than that."""
    with contextlib.suppress(KeyboardInterrupt), _ended_by_a_signal():
        ended(results)


def _stopped_results(region_tracks: Sequence[RegionTrack]) -> Iterator[RegionResult]:
    """Yield what came of the region in which a person stopped, and of those after it."""
    for number, region_track in enumerate(region_tracks):
        state, words = ("not begun", "stopped before it") if number else ("stopped", "by Ctrl-C or SIGTERM")
        yield RegionResult(region_track.region.name, region_track.track, state, words=words, status=STOPPED)


def failure_result(region_track: RegionTrack, error: Exception) -> RegionResult:
    """Return what an error means for a region."""
    found = RegionResult(region_track.region.name, region_track.track, "failed", words=str(error))
    cause = error.cause if isinstance(error, Undone) else error
    if isinstance(error, Undone):
        found.state = "undone" if error.complete else "failed"
        found.words = f"{cause}; {error}"
    if isinstance(cause, NotReady):
        found.events, found.log = cause.events, cause.log
        found.status = DIAGNOSIS_STATUS[cause.diagnosis.kind if cause.diagnosis else ""]
    else:
        found.status = error_status(cause)
    return found


def error_status(error: Exception) -> int:
    return next(status for kind, status in EXIT_STATUS if isinstance(error, kind))


def running_at(region_track: RegionTrack) -> Mapping[str, int] | None:
    """Return what runs at a region_track now, as far as its cluster says."""
    try:
        return running_pods(
            Cluster(region_track.region.context), Ref("Deployment", region_track.namespace, region_track.name)
        ).versions
    except ClusterError:
        return None


def result_lines(result: RegionResult) -> Iterator[str]:
    """Yield a result as a person reads it."""
    version = f" {result.version}" if result.version else ""
    now = f"; now {RunningPods(result.runs, 0)}" if result.runs is not None and result.state != "removed" else ""
    words = f": {result.words}" if result.words else ""
    yield f"{result.region}, {result.track}: {result.state}{version}{words}{now}"
    yield from (f"    event: {line}" for line in result.events)
    yield from (f"    log: {line}" for line in result.log.splitlines())


def print_results(arguments: Namespace, results: Sequence[RegionResult]) -> None:
    if arguments.json:
        print_line(json.dumps([asdict(each) for each in results], indent=2), sys.stdout)
        return
    for each in results:
        print_line("\n".join(result_lines(each)), sys.stderr if each.status else sys.stdout)


def print_line(words: str, out: TextIO) -> None:
    """Print at once; from where nobody reads any more on, into nothing: a rollout does not end because `head` did."""
    try:
        print(words, file=out, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


@contextlib.contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
