"""The report of a command over several regions, one after another: each result, what runs there now, and the exit status."""

import contextlib
import json
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from conf.base.console import NO_IMAGE, print_line
from conf.plan.plan import offline_name
from conf.remote.cluster import BadCredentials, Cluster, ClusterError, NoNamespace, NoRights, Refused, Unreachable
from conf.remote.image_registry import RegistryError
from conf.render.arms import arm_names
from conf.rollout import diagnosis
from conf.rollout.history import UnreadableHistory
from conf.rollout.lease import Busy, LeaseLost
from conf.rollout.readiness import NotReady, RunningPods, running_pods
from conf.rollout.release import Held, NameTaken, NoRelease, Rejected, Undone
from conf.rollout.targets import Blocked, RegionTrack

# Exit statuses by cause. docs/deploy.md lists them.
NO_RELEASE, NOT_READY, HELD = 17, 28, 33
EXIT_STATUS: Sequence[tuple[type[Exception], int]] = (
    (Undone, 0),  # never the exit status: the cause of an Undone has one
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
    (Held, HELD),
    (Rejected, 34),
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
    """The result in one region. The JSON that a command prints has the same fields.

    state: deployed, unchanged, undone, failed, held, stopped, not begun, skipped, restarted, evicted, removed, not there.
    runs: how many pods of each version are ready now; None where that was not asked or not answered.
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
    notify: Callable[[Sequence[RegionResult]], None] = lambda _: None,
) -> list[RegionResult]:
    """Act on one region after another, stop at the first failure, print all results, and pass them to `notify`.

    A region without a release to return to does not count as a failure. SIGTERM is handled as Ctrl-C is, so that a job that is
    cancelled gives its lease back. Raises KeyboardInterrupt after the results are printed.
    """
    results: list[RegionResult] = []
    try:
        with _sigterm_as_interrupt():
            for each in region_tracks:
                counted = [result for result in results if result.status != NO_RELEASE]
                results.append(_result(each, act, exit_status(counted)))
            for each, result in zip(region_tracks, results, strict=True):
                result.runs = _running_versions(each)
    except KeyboardInterrupt:
        rest = region_tracks[len(results) :]
        results += _stopped_results(rest)
        print_results(arguments, results)
        print_line(_stopped_message(rest), sys.stderr)
        _notify(notify, results)
        raise
    print_results(arguments, results)
    _notify(notify, results)
    return results


def exit_status(results: Sequence[RegionResult]) -> int:
    """Return the exit status of the first result that failed; 0 where none did."""
    return next((each.status for each in results if each.status), 0)


def error_status(error: Exception) -> int:
    return next(status for kind, status in EXIT_STATUS if isinstance(error, kind))


def result_lines(result: RegionResult) -> Iterator[str]:
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


def _result(region_track: RegionTrack, act: Callable[[RegionTrack], RegionResult], failed: int) -> RegionResult:
    if failed:
        words = "a region before it failed"
        return RegionResult(region_track.region.name, region_track.track, "not begun", words=words, status=failed)
    try:
        return act(region_track)
    except EXPECTED_ERRORS as error:
        return _failure_result(region_track, error)


def _failure_result(region_track: RegionTrack, error: Exception) -> RegionResult:
    found = RegionResult(region_track.region.name, region_track.track, "failed", words=str(error))
    cause = error.cause if isinstance(error, Undone) else error
    if isinstance(error, Undone):
        found.state = "undone" if error.complete else "failed"
        found.words = f"{cause}; {error}"
    if isinstance(error, Held):
        found.state = "held"
    if isinstance(cause, NotReady):
        found.events, found.log = cause.events, cause.log
        found.status = DIAGNOSIS_STATUS[cause.diagnosis.kind if cause.diagnosis else ""]
    else:
        found.log, found.status = getattr(cause, "log", ""), error_status(cause)
    return found


def _stopped_results(region_tracks: Sequence[RegionTrack]) -> Iterator[RegionResult]:
    for number, each in enumerate(region_tracks):
        state, words = ("not begun", "stopped before it") if number else ("stopped", "by Ctrl-C or SIGTERM")
        yield RegionResult(each.region.name, each.track, state, words=words, status=STOPPED)


def _stopped_message(rest: Sequence[RegionTrack]) -> str:
    where = f"in {rest[0].region.name}" if rest else "at the end"
    goes_on = "`monopod status` shows it, and deploy or rollback goes on from there; a canary keeps its share (--continue)"
    return f"stopped {where}: Kubernetes goes on with what was applied; {goes_on}"


def _running_versions(region_track: RegionTrack) -> Mapping[str, int] | None:
    """Return how many pods of each version are ready now, the offline ones included; None where the cluster does not say."""
    names = (region_track.name, offline_name(region_track.name), *arm_names(region_track.name))
    try:
        return running_pods(Cluster(region_track.region.context), region_track.namespace, names).versions
    except ClusterError:
        return None


def _notify(notify: Callable[[Sequence[RegionResult]], None], results: Sequence[RegionResult]) -> None:
    """Pass the results on. Ctrl-C ends the notification alone: the exit status stays."""
    with contextlib.suppress(KeyboardInterrupt), _sigterm_as_interrupt():
        notify(results)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
