"""The message about a deploy, a rollback or a restart that has ended: one for all its regions.

It holds no log lines and no events, which may hold secrets.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from conf.remote import notices
from conf.rollout.report import HELD, STOPPED, RegionResult, exit_status, result_lines

STOPPED_TIMEOUT = 2.0  # seconds to send the message of a command that somebody stopped, who waits for its end
EVENTS = {"deploy": "deployed", "rollback": "rolled back", "restart": "restarted"}
RESULT_FIELDS = ("region", "track", "state", "version", "words", "status", "runs")


@dataclass(frozen=True)
class Operation:
    """A deploy, a rollback or a restart of one track of a service.

    name: one of EVENTS.
    by: the deployer.
    version: the deployed one, "" for a rollback and a restart.
    override: the reason that let it through outside the release windows of the regions `closed`.
    """

    name: str
    service: str
    track: str
    by: str
    version: str = ""
    override: str = ""
    closed: Sequence[str] = ()


def notifier(operation: Operation) -> Callable[[Sequence[RegionResult]], None]:
    """Return a function that sends the message about an operation's results, to the addresses that the environment names."""

    def notify(results: Sequence[RegionResult]) -> None:
        seconds = STOPPED_TIMEOUT if exit_status(results) == STOPPED else notices.TIMEOUT
        warn = partial(print, file=sys.stderr, flush=True)
        notices.send(message_text(operation, results), message_facts(operation, results), os.environ, warn, seconds)

    return notify


def message_text(operation: Operation, results: Sequence[RegionResult]) -> str:
    """Return the message for people."""
    end = {0: "done", STOPPED: "stopped", HELD: "held"}.get(exit_status(results), "failed")
    version = f" {operation.version}" if operation.version else ""
    found = [f"{operation.name} of {operation.service}{version} ({operation.track}) by {operation.by}: {end}"]
    found += [next(result_lines(each)) for each in results]
    if operation.override and operation.closed:
        found.append(f"let through outside the release windows of {', '.join(operation.closed)}: {operation.override}")
    return "\n".join(found)


def message_facts(operation: Operation, results: Sequence[RegionResult]) -> dict[str, Any]:
    """Return the message for programs, as JSON takes it."""
    status = exit_status(results)
    return {
        "event": "held" if status == HELD else "failed" if status else EVENTS[operation.name],
        "command": operation.name,
        "service": operation.service,
        "track": operation.track,
        "version": operation.version,
        "by": operation.by,
        "override": operation.override if operation.closed else "",
        "outcomes": [{name: value for name, value in asdict(each).items() if name in RESULT_FIELDS} for each in results],
    }
