"""What people are told of a deploy or a rollback that has ended: one message, whatever number of regions it went to.

Knows its words. Does not know how it gets to people. Log lines and events stay in the terminal: they may hold secrets.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from conf.remote import notices
from conf.rollout.report import STOPPED, RegionResult, exit_status, result_lines

QUICK = 2.0  # seconds for the message of a command that somebody stopped, and who waits for its end
DONE = {"deploy": "deployed", "rollback": "rolled back"}
FACTS = ("region", "track", "state", "version", "words", "status", "runs")


@dataclass(frozen=True)
class Work:
    """A command: what, of which service and track, by whom. version: of a deploy.

    override: why it was let through outside the release windows of the regions in `shut`.
    """

    what: str
    service: str
    track: str
    by: str
    version: str = ""
    override: str = ""
    shut: Sequence[str] = ()


def teller(work: Work) -> Callable[[Sequence[RegionResult]], None]:
    """Return what sends the message once the outcomes are known, to the addresses that the environment names."""

    def tell(outcomes: Sequence[RegionResult]) -> None:
        seconds = QUICK if exit_status(outcomes) == STOPPED else notices.TIMEOUT
        notices.tell(text(work, outcomes), facts(work, outcomes), os.environ, _warn, seconds)

    return tell


def text(work: Work, outcomes: Sequence[RegionResult]) -> str:
    """Return the message as people read it."""
    end = {0: "done", STOPPED: "stopped"}.get(exit_status(outcomes), "failed")
    version = f" {work.version}" if work.version else ""
    found = [f"{work.what} of {work.service}{version} ({work.track}) by {work.by}: {end}"]
    found += [next(result_lines(each)) for each in outcomes]
    if work.override and work.shut:
        found.append(f"let through outside the release windows of {', '.join(work.shut)}: {work.override}")
    return "\n".join(found)


def facts(work: Work, outcomes: Sequence[RegionResult]) -> dict[str, Any]:
    """Return the message as programs read it."""
    return {
        "event": "failed" if exit_status(outcomes) else DONE[work.what],
        "command": work.what,
        "service": work.service,
        "track": work.track,
        "version": work.version,
        "by": work.by,
        "override": work.override if work.shut else "",
        "outcomes": [{name: value for name, value in asdict(each).items() if name in FACTS} for each in outcomes],
    }


def _warn(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
