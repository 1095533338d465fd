"""The commands that change clusters: deploy, rollback, stop. Those that only ask are beside, in conf.commands.status_command.

Knows what each does at one spot, and who is told of it. Does not know how a release is made.
"""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from conf.base.mistakes import mistaken
from conf.base.yamls import documents
from conf.clusters.region import Regions
from conf.commands.deploy_image import by_digest, judged, plans, still_there
from conf.commands.deploy_message import Work, teller
from conf.commands.history_command import history_command
from conf.commands.release_hours import closed_now, held_back
from conf.commands.status_command import diff_command, status_command
from conf.remote.cluster import ClusterError, NoNamespace
from conf.render.templates import render, write
from conf.rollout import preflight
from conf.rollout.history import History
from conf.rollout.release import NothingThere, Order, now, release, roll_back, stop
from conf.rollout.report import KNOWN, NOTHING_THERE, Outcome, in_order, put, status, tell
from conf.rollout.rollback import left_behind, passed_over
from conf.rollout.targets import Spot, left, nowhere, place, spots, there, who
from conf.rules.check import Service, read

NOT_THERE = "not there"

__all__ = ["deploy_command", "diff_command", "history_command", "rollback_command", "status_command", "stop_command"]


def deploy_command(arguments: Namespace, regions: Regions) -> int:
    found = judged(arguments, regions)
    if isinstance(found, int):
        return found
    chosen = spots(found, regions, arguments.track, arguments.region)
    planned = [each for each in chosen if each.planned]
    closed = closed_now(planned, datetime.now(UTC))
    if closed and not arguments.override:
        refused = held_back(planned, closed)
        tell(arguments, refused)
        return status(refused)
    if planned:
        found = by_digest(arguments, found, regions)
        if isinstance(found, int):
            return found
    for each in chosen:
        if each.track == "prod" and not each.planned and _was_left(each):
            stop_it = f"monopod stop --yes --region {each.region.name}"
            _say(arguments, each)(f"it is not to run here, but a release is there: {stop_it} takes it away")
    if not planned:
        return nowhere(arguments, regions)
    if arguments.override and not closed:
        print("no region is outside its release windows: --override was not needed and is not recorded", file=sys.stderr)
    return _deploy(arguments, found, regions, planned, tuple(closed))


def _deploy(arguments: Namespace, found: Service, regions: Regions, planned: Sequence[Spot], closed: Sequence[str]) -> int:
    """Release a service at each spot. closed: the regions outside their release windows, let through by --override."""
    made = plans(arguments, found, regions)
    if arguments.output:
        list(write(made, arguments.output))
    rendered = {each.region: documents(render(each)) for each in made}

    def act(spot: Spot) -> Outcome:
        say, why = _say(arguments, spot), arguments.override if spot.region.name in closed else ""
        if why:
            say(f"outside its release windows, let through: {why}")
        order = Order(rendered[spot.region.name], found.image.version, found.image.text, override=why)
        done = release(place(spot, arguments, say), order, say)
        state = "unchanged" if done.unchanged else "deployed"
        return Outcome(spot.region.name, spot.track, state, done.release.version)

    work = Work("deploy", planned[0].name, arguments.track, who(), found.image.version, arguments.override or "", closed)
    return status(in_order(arguments, planned, act, teller(work)))


def rollback_command(arguments: Namespace, regions: Regions) -> int:
    chosen = _chosen(arguments, regions)
    if not chosen:
        return 1

    found = {each.region.name: history for each in chosen if (history := _history(each, arguments))}
    leaving = left_behind(found.values())

    def act(spot: Spot) -> Outcome:
        history = found.get(spot.region.name)  # None where it could not be asked: then the rollback tells why
        if history and (why := passed_over(history, leaving, arguments.to)):
            return Outcome(spot.region.name, spot.track, "skipped", words=why)
        say = _say(arguments, spot)
        done = roll_back(place(spot, arguments, say), say, still_there(regions, say), arguments.to)
        state = "unchanged" if done.unchanged else "deployed"
        return Outcome(spot.region.name, spot.track, state, done.release.version, done.release.note)

    work = Work("rollback", chosen[0].name, arguments.track, who())
    return status(in_order(arguments, chosen, act, teller(work)))


def stop_command(arguments: Namespace, regions: Regions) -> int:
    if arguments.track == "prod" and not arguments.yes:
        print("this takes the service away from its users; say --yes if that is meant", file=sys.stderr)
        return 2
    chosen = _chosen(arguments, regions)
    if not chosen:
        return 1

    def act(spot: Spot) -> Outcome:
        try:
            stop(place(spot, arguments), _say(arguments, spot))
        except (NothingThere, NoNamespace) as error:
            return Outcome(spot.region.name, spot.track, NOT_THERE, words=str(error))
        return Outcome(spot.region.name, spot.track, "removed")

    outcomes = in_order(arguments, chosen, act)
    return status(outcomes) or (NOTHING_THERE if all(each.state == NOT_THERE for each in outcomes) else 0)


def _chosen(arguments: Namespace, regions: Regions) -> list[Spot]:
    """Return where the service is to run or was left; nothing, once it is told why."""
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        mistaken(arguments, mistakes)
        return []
    every = spots(found, regions, arguments.track, arguments.region)
    chosen = there(every, bool(arguments.region), lambda words: print(words, file=sys.stderr))
    if not chosen:
        nowhere(arguments, regions)
    return chosen


def _history(spot: Spot, arguments: Namespace) -> History | None:
    with contextlib.suppress(*KNOWN):
        return preflight.history(place(spot, arguments), now())
    return None


def _was_left(spot: Spot) -> bool:
    """Whether a release was left, as far as that can be asked: a deploy elsewhere does not depend on it."""
    with contextlib.suppress(ClusterError):
        return left(spot)
    return False


def _say(arguments: Namespace, spot: Spot) -> Callable[[str], None]:
    """Return what prints a line of progress; beside the JSON where that is asked for."""
    out = sys.stderr if arguments.json else sys.stdout
    return lambda words: put(f"{spot.region.name}: {words}", out)
