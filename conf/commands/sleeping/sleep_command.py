"""`monopod sleep`: put the grey track of a service to sleep, which then has no pods.

Knows value.py's grey_sleep_after_day, which --due goes by. Does not know how a track is put to sleep.
"""

from argparse import Namespace

from conf.base.console import prints_mistakes
from conf.commands.choices import load_regions, progress_of, read_service
from conf.remote.cluster import NoNamespace
from conf.rollout.release import NoRelease
from conf.rollout.report import RegionResult, exit_status, run_in_order
from conf.rollout.sleeping.due import AT_ONCE
from conf.rollout.sleeping.sleep import put_to_sleep
from conf.rollout.targets import RegionTrack, no_target, planned_or_left, target_of


@prints_mistakes
def sleep_command(arguments: Namespace) -> int:
    """Put the grey track to sleep, and return the exit status. With --due, one that is not due is left awake, with status 0."""
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)
    if not chosen:
        raise no_target(arguments, regions)

    def act(each: RegionTrack) -> RegionResult:
        name, days = each.region.name, each.settings.grey_sleep_after_day
        if arguments.due and not days:
            return RegionResult(name, each.track, "awake", words="grey_sleep_after_day is 0, so that it never is due")
        say = progress_of(name, arguments)
        try:
            found = put_to_sleep(target_of(each, arguments, say), say, days if arguments.due else AT_ONCE)
        except (NoRelease, NoNamespace) as error:
            if not arguments.due:
                raise
            return RegionResult(name, each.track, "not there", words=str(error))
        state = "asleep" if found.release.asleep else "awake"
        return RegionResult(name, each.track, state, found.release.version, found.words)

    return exit_status(run_in_order(arguments, chosen, act))
