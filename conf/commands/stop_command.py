"""What `monopod stop` does: it takes a track of a service away, region by region."""

import sys
from argparse import Namespace

from conf.commands.choices import load_regions
from conf.commands.rollout_choices import chosen, progress
from conf.remote.cluster import NoNamespace
from conf.rollout.release import NoRelease, stop
from conf.rollout.report import NO_RELEASE, RegionResult, exit_status, run_in_order
from conf.rollout.targets import RegionTrack, no_target, target_of

NOT_THERE = "not there"


def stop_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    if arguments.track == "prod" and not arguments.yes:
        print("this takes the service away from its users; say --yes if that is meant", file=sys.stderr)
        return 2
    targets = chosen(arguments, regions, left_last=True)
    if not targets:
        return 1 if targets is None else no_target(arguments, regions)

    def act(spot: RegionTrack) -> RegionResult:
        try:
            stop(target_of(spot, arguments), progress(arguments, spot))
        except (NoRelease, NoNamespace) as error:
            return RegionResult(spot.region.name, spot.track, NOT_THERE, words=str(error))
        return RegionResult(spot.region.name, spot.track, "removed")

    outcomes = run_in_order(arguments, targets, act)
    return exit_status(outcomes) or (NO_RELEASE if all(each.state == NOT_THERE for each in outcomes) else 0)
