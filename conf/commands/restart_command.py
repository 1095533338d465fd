"""`monopod restart`: replace all pods of a track as carefully as a release does, region by region, or evict one pod."""

from argparse import Namespace

from conf.base.console import prints_mistakes
from conf.commands.arguments import load_regions, progress_of, read_service
from conf.commands.deploy_message import Operation, notifier
from conf.remote.cluster import NoNamespace
from conf.rollout.release import NoRelease, evict, restart
from conf.rollout.report import NO_RELEASE, RegionResult, exit_status, run_in_order
from conf.rollout.targets import RegionTrack, deployer, planned_or_left, target_of


@prints_mistakes
def restart_command(arguments: Namespace) -> int:
    """Restart each region where the service is to run or was left, or evict a pod, and return the exit status."""
    regions = load_regions(arguments)
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)

    def act(each: RegionTrack) -> RegionResult:
        say = progress_of(each.region.name, arguments)
        done = restart(target_of(each, arguments, say), say)
        return RegionResult(each.region.name, each.track, "restarted", done.release.version)

    def act_on_pod(each: RegionTrack) -> RegionResult:
        try:
            evict(target_of(each, arguments), arguments.pod)
        except (NoRelease, NoNamespace) as error:
            return RegionResult(each.region.name, each.track, "not there", words=str(error))
        return RegionResult(each.region.name, each.track, "evicted", words=arguments.pod)

    if arguments.pod:
        results = run_in_order(arguments, chosen, act_on_pod)
        return exit_status(results) or (0 if any(each.state == "evicted" for each in results) else NO_RELEASE)
    operation = Operation("restart", chosen[0].name, arguments.track, deployer())
    return exit_status(run_in_order(arguments, chosen, act, notifier(operation)))
