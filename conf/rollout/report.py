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

from conf.base.references import Ref
from conf.remote.cluster import BadCredentials, Cluster, ClusterError, NoNamespace, NoRights, Refused, Unreachable
from conf.remote.image_registry import RegistryError
from conf.rollout import diagnosis
from conf.rollout.history import Unreadable
from conf.rollout.lease import Busy, Lost
from conf.rollout.readiness import NotReady, Running, running
from conf.rollout.release import Held, NothingThere, Undone
from conf.rollout.target import InTheWay
from conf.rollout.targets import Spot

# Exit statuses, by what happened; docs/deploy.md lists them.
NOTHING_THERE, NOT_READY = 17, 28
NO_IMAGE = 32  # not in its registry, or the registry cannot be asked; nothing was begun
STATUS: Sequence[tuple[type[Exception], int]] = (
    (Undone, 0),  # as its cause
    (Unreachable, 10),
    (BadCredentials, 11),
    (NoRights, 12),
    (NoNamespace, 13),
    (Refused, 14),
    (ClusterError, 14),
    (Held, 15),
    (Busy, 16),
    (Lost, 16),
    (NothingThere, NOTHING_THERE),
    (Unreadable, 18),
    (InTheWay, 19),
    (RegistryError, NO_IMAGE),
)
UNDONE_STATUS: Mapping[str, int] = {
    diagnosis.IMAGE: 20,
    diagnosis.CRASH: 21,
    diagnosis.MEMORY: 22,
    diagnosis.PROBE: 23,
    diagnosis.UNSCHEDULABLE: 24,
    diagnosis.QUOTA: 25,
    diagnosis.CONFIG: 26,
    diagnosis.NODE: 27,
    diagnosis.WAY_IN: 29,
    diagnosis.PAUSED: 30,
    "": NOT_READY,
}
CLOSED = 31  # outside a region's release windows; nothing was begun
STOPPED = 130  # by Ctrl-C or SIGTERM
KNOWN: tuple[type[Exception], ...] = tuple(kind for kind, _ in STATUS)


@dataclass
class Outcome:
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


def in_order(
    arguments: Namespace,
    spots: Sequence[Spot],
    act: Callable[[Spot], Outcome],
    ended: Callable[[Sequence[Outcome]], None] = lambda _: None,
) -> list[Outcome]:
    """Act on each spot in turn, stop at the first that fails, and tell what came of all: here, and to `ended`.

    A spot where there is nothing to return to keeps none after it from its turn.

    SIGTERM is taken as Ctrl-C is, so that a job that is cancelled gives its lease back.
    """
    outcomes: list[Outcome] = []
    try:
        with _ended_by_a_signal():
            for spot in spots:
                outcomes.append(_outcome(spot, act, _in_the_way(outcomes)))
            for spot, each in zip(spots, outcomes, strict=True):
                each.runs = runs_at(spot)
    except KeyboardInterrupt:
        where = f"in {spots[len(outcomes)].region.name}" if len(outcomes) < len(spots) else "at the end"
        outcomes += _stopped(spots[len(outcomes) :])
        tell(arguments, outcomes)
        put(
            f"stopped {where}: Kubernetes goes on with what was applied; `monopod status` shows it, and deploy or rollback "
            "goes on from there",
            sys.stderr,
        )
        _let_know(ended, outcomes)
        raise
    tell(arguments, outcomes)
    _let_know(ended, outcomes)
    return outcomes


def status(outcomes: Sequence[Outcome]) -> int:
    """Return the exit status: of the first that failed."""
    return next((each.status for each in outcomes if each.status), 0)


def _in_the_way(outcomes: Sequence[Outcome]) -> int:
    """Return the status that keeps the regions after it from their turn. Where there was nothing to do, nothing went wrong."""
    return status([each for each in outcomes if each.status != NOTHING_THERE])


def _outcome(spot: Spot, act: Callable[[Spot], Outcome], failed: int) -> Outcome:
    if failed:
        return Outcome(spot.region.name, spot.track, "not begun", words="a region before it failed", status=failed)
    try:
        return act(spot)
    except KNOWN as error:
        return outcome_of(spot, error)


def _let_know(ended: Callable[[Sequence[Outcome]], None], outcomes: Sequence[Outcome]) -> None:
    """Tell others what came of it all. Who stops that stops no more than that."""
    with contextlib.suppress(KeyboardInterrupt), _ended_by_a_signal():
        ended(outcomes)


def _stopped(spots: Sequence[Spot]) -> Iterator[Outcome]:
    """Yield what came of the region in which a person stopped, and of those after it."""
    for number, spot in enumerate(spots):
        state, words = ("not begun", "stopped before it") if number else ("stopped", "by Ctrl-C or SIGTERM")
        yield Outcome(spot.region.name, spot.track, state, words=words, status=STOPPED)


def outcome_of(spot: Spot, error: Exception) -> Outcome:
    """Return what an error means for a region."""
    found = Outcome(spot.region.name, spot.track, "failed", words=str(error))
    cause = error.cause if isinstance(error, Undone) else error
    if isinstance(error, Undone):
        found.state = "undone" if error.complete else "failed"
        found.words = f"{cause}; {error}"
    if isinstance(cause, NotReady):
        found.events, found.log = cause.events, cause.log
        found.status = UNDONE_STATUS[cause.trouble.kind if cause.trouble else ""]
    else:
        found.status = status_of(cause)
    return found


def status_of(error: Exception) -> int:
    return next(status for kind, status in STATUS if isinstance(error, kind))


def runs_at(spot: Spot) -> Mapping[str, int] | None:
    """Return what runs at a spot now, as far as its cluster says."""
    try:
        return running(Cluster(spot.region.context), Ref("Deployment", spot.namespace, spot.name)).versions
    except ClusterError:
        return None


def lines(outcome: Outcome) -> Iterator[str]:
    """Yield an outcome as a person reads it."""
    version = f" {outcome.version}" if outcome.version else ""
    now = f"; now {Running(outcome.runs, 0)}" if outcome.runs is not None and outcome.state != "removed" else ""
    words = f": {outcome.words}" if outcome.words else ""
    yield f"{outcome.region}, {outcome.track}: {outcome.state}{version}{words}{now}"
    yield from (f"    event: {line}" for line in outcome.events)
    yield from (f"    log: {line}" for line in outcome.log.splitlines())


def tell(arguments: Namespace, outcomes: Sequence[Outcome]) -> None:
    if arguments.json:
        put(json.dumps([asdict(each) for each in outcomes], indent=2), sys.stdout)
        return
    for each in outcomes:
        put("\n".join(lines(each)), sys.stderr if each.status else sys.stdout)


def put(words: str, out: TextIO) -> None:
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
