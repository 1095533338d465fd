"""The canary that a command line and value.py ask for, and `deploy --continue`.

Knows flags and settings. Does not know how a canary is driven.
"""

from argparse import Namespace
from collections.abc import Sequence

from conf.base.console import BAD_COMMAND_LINE, Mistakes
from conf.clusters.regions import Regions
from conf.commands.arguments import progress_of, read_service
from conf.commands.canary.verdict_page import paged
from conf.commands.deploy_message import Operation, notifier
from conf.rollout.canary.decision import Rules
from conf.rollout.canary.journal import Journal
from conf.rollout.canary.judge import Judge
from conf.rollout.canary.run import Order, go_on
from conf.rollout.release import NoRelease
from conf.rollout.report import NO_RELEASE, RegionResult, exit_status, run_in_order
from conf.rollout.targets import RegionTrack, Target, deployer, no_target, planned_or_left, target_of

TRACK = "prod"  # the only one that has users to give a share of
USUAL = (5, 25, 50)  # the shares that --canary without a value means, where value.py has none
NOT_THERE = "not there"


def check_flags(arguments: Namespace) -> None:
    """Raise Mistakes where flags of a canary do not go together with others."""
    if arguments.goes_on and arguments.image:
        raise Mistakes(["--continue goes on with the image that the canary has: leave --image out"], BAD_COMMAND_LINE)
    if arguments.track != TRACK and (arguments.canary or arguments.goes_on):
        flag = "--continue" if arguments.goes_on else "--canary"
        raise Mistakes([f"{flag} is for prod alone: {arguments.track} has no requests of users to share"], BAD_COMMAND_LINE)


def shares_of(each: RegionTrack, arguments: Namespace) -> tuple[int, ...]:
    """Return the shares of a canary in percent, a step each; () for an ordinary release."""
    if each.track != TRACK:
        return ()
    if arguments.canary is None or arguments.canary is True:
        return each.settings.canary or (USUAL if arguments.canary else ())
    return tuple(arguments.canary)


def order_of(each: RegionTrack, target: Target, shares: tuple[int, ...], journal: Journal) -> Order:
    """Return the order to drive a canary of a track in a region."""
    settings = each.settings
    rules = Rules(settings.canary_step_second, settings.canary_undecided, target.pod_timeout)
    return Order(shares, rules, Judge(each.region, target.namespace, target.service, settings), journal)


def chosen_to_go_on(arguments: Namespace, regions: Regions) -> list[RegionTrack]:
    """Return where a canary may go on. Raises Mistakes where that is nowhere."""
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)
    if not chosen:
        raise no_target(arguments, regions)
    return chosen


def continue_canaries(arguments: Namespace, chosen: Sequence[RegionTrack]) -> int:
    """Resume each canary that was held or broken off, and return the exit status."""
    journals: list[Journal] = []

    def act(each: RegionTrack) -> RegionResult:
        say = progress_of(each.region.name, arguments)
        target, journal = target_of(each, arguments, say), Journal(each.region.name)
        journals.append(journal)
        try:
            done = go_on(target, order_of(each, target, (), journal), say)
        except NoRelease as error:
            return RegionResult(each.region.name, each.track, NOT_THERE, words=str(error))
        return RegionResult(each.region.name, each.track, "deployed", done.release.version)

    operation = Operation("deploy", chosen[0].name, arguments.track, deployer())
    results = run_in_order(arguments, chosen, act, paged(arguments.html, chosen[0].name, journals, notifier(operation)))
    return exit_status(results) or (NO_RELEASE if all(each.state == NOT_THERE for each in results) else 0)
