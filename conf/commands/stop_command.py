"""`monopod stop`: take a track of a service away, region by region."""

import sys
from argparse import Namespace

from conf.base.console import BAD_COMMAND_LINE, prints_mistakes
from conf.commands.arguments import load_regions, progress_of, read_service
from conf.remote.cluster import NoNamespace
from conf.rollout.release import NoRelease, stop
from conf.rollout.report import NO_RELEASE, RegionResult, exit_status, run_in_order
from conf.rollout.targets import RegionTrack, planned_or_left, target_of

NOT_THERE = "not there"


@prints_mistakes
def stop_command(arguments: Namespace) -> int:
    """Take a track away in each region where it is to run or was left, and return the exit status."""
    regions = load_regions(arguments)
    if arguments.track == "prod" and not arguments.yes:
        print("this takes the service away from its users; say --yes if that is meant", file=sys.stderr)
        return BAD_COMMAND_LINE
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)

    def act(each: RegionTrack) -> RegionResult:
        try:
            stop(target_of(each, arguments), progress_of(each.region.name, arguments))
        except (NoRelease, NoNamespace) as error:
            return RegionResult(each.region.name, each.track, NOT_THERE, words=str(error))
        return RegionResult(each.region.name, each.track, "removed")

    results = run_in_order(arguments, chosen, act)
    return exit_status(results) or (NO_RELEASE if all(each.state == NOT_THERE for each in results) else 0)
