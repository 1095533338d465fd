"""What `monopod stop` does: it takes a track of a service away, region by region."""

import sys
from argparse import Namespace

from conf.commands.choices import load_regions
from conf.commands.rollout_choices import chosen, progress
from conf.remote.cluster import NoNamespace
from conf.rollout.release import NothingThere, stop
from conf.rollout.report import NOTHING_THERE, Outcome, in_order, status
from conf.rollout.targets import Spot, nowhere, place

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
        return 1 if targets is None else nowhere(arguments, regions)

    def act(spot: Spot) -> Outcome:
        try:
            stop(place(spot, arguments), progress(arguments, spot))
        except (NothingThere, NoNamespace) as error:
            return Outcome(spot.region.name, spot.track, NOT_THERE, words=str(error))
        return Outcome(spot.region.name, spot.track, "removed")

    outcomes = in_order(arguments, targets, act)
    return status(outcomes) or (NOTHING_THERE if all(each.state == NOT_THERE for each in outcomes) else 0)
