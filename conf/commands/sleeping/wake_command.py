"""`monopod wake`: give the grey track of a service its pods again.

Does not know how a track is woken.
"""

from argparse import Namespace

from conf.base.console import prints_mistakes
from conf.commands.choices import load_regions, progress_of, read_service
from conf.rollout.report import RegionResult, exit_status, run_in_order
from conf.rollout.sleeping.sleep import wake
from conf.rollout.targets import RegionTrack, no_target, planned_or_left, target_of


@prints_mistakes
def wake_command(arguments: Namespace) -> int:
    """Wake the grey track, wait until its pods are ready, and return the exit status."""
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)
    if not chosen:
        raise no_target(arguments, regions)

    def act(each: RegionTrack) -> RegionResult:
        say = progress_of(each.region.name, arguments)
        found = wake(target_of(each, arguments, say), say)
        return RegionResult(each.region.name, each.track, "awake", found.release.version, found.words)

    return exit_status(run_in_order(arguments, chosen, act))
