"""`monopod deploy`: roll a service out, region by region.

Release windows bind prod alone, since grey and ab are tried out beside it.
"""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from conf.base.console import prints_mistakes
from conf.clusters.regions import Regions
from conf.commands.arguments import checked_service, load_regions, progress_of, read_service, rendered
from conf.commands.canary import check_flags, continue_canaries, order_of, paged, shares_of
from conf.commands.deploy_message import Operation, notifier
from conf.remote.cluster import ClusterError
from conf.render.templates import Rendered, write
from conf.rollout.canary.driver import release_by_canary
from conf.rollout.canary.state import Journal
from conf.rollout.release import ReleaseRequest, release
from conf.rollout.report import OUTSIDE_WINDOWS, RegionResult, exit_status, print_results, run_in_order
from conf.rollout.targets import RegionTrack, deployer, has_release, no_target, planned_or_left, region_tracks, target_of
from serving.settings import weekly_hours

BOUND_TRACK = "prod"  # the only track that release windows bind


@prints_mistakes
def deploy_command(arguments: Namespace) -> int:
    """Release a service in each region where it is to run, and return the exit status."""
    check_flags(arguments)
    regions = load_regions(arguments)
    if arguments.goes_on:
        return _continue(arguments, regions)
    service = checked_service(arguments, regions)
    chosen = region_tracks(service, regions, arguments.track, arguments.region)
    planned = [each for each in chosen if each.planned]
    closed, refused = _windows(arguments, planned)
    if refused:
        return refused
    made = rendered(arguments, service, regions) if planned else {}
    for each in chosen:
        if each.track == "prod" and not each.planned and _was_left(each):
            command = f"monopod stop --yes --region {each.region.name}"
            tell = progress_of(each.region.name, arguments)
            tell(f"it is not to run here, but a release is there: {command} takes it away")
    if not planned:
        raise no_target(arguments, regions)
    if arguments.override and not closed:
        print("no region is outside its release windows: --override was not needed and is not recorded", file=sys.stderr)
    return _deploy(arguments, service.image.version, made, planned, closed)


def _continue(arguments: Namespace, regions: Regions) -> int:
    """Continue the canaries that are held or were broken off, inside their regions' release windows."""
    chosen = planned_or_left(read_service(arguments, regions), regions, arguments)
    _, refused = _windows(arguments, chosen)
    return refused or continue_canaries(arguments, chosen)


def _windows(arguments: Namespace, chosen: Sequence[RegionTrack]) -> tuple[tuple[str, ...], int]:
    """Return the regions outside their release windows, and the exit status where the command ends for that, else 0."""
    closed = closed_regions(chosen, datetime.now(UTC))
    if not closed or arguments.override:
        return tuple(closed), 0
    results = refusals(chosen, closed)
    print_results(arguments, results)
    return tuple(closed), exit_status(results)


def _deploy(
    arguments: Namespace, version: str, made: Mapping[str, Rendered], planned: Sequence[RegionTrack], closed: Sequence[str]
) -> int:
    """Release a service in each region, and return the exit status.

    made: its objects by region. closed: the regions outside their release windows, which --override lets through.
    """
    if arguments.output:
        list(write(made.values(), arguments.output))
    override = arguments.override or ""
    journals: list[Journal] = []

    def act(each: RegionTrack) -> RegionResult:
        name = each.region.name
        say, why = progress_of(name, arguments), override if name in closed else ""
        if why:
            say(f"outside its release windows, let through: {why}")
        request = ReleaseRequest(made[name].items, version, made[name].plan.image, override=why)
        target, shares = target_of(each, arguments, say), shares_of(each, arguments)
        if shares:
            journals.append(Journal(name))
            done = release_by_canary(target, request, order_of(each, target, shares, journals[-1]), say)
        else:
            done = release(target, request, say)
        return RegionResult(name, each.track, "unchanged" if done.unchanged else "deployed", done.release.version)

    operation = Operation("deploy", planned[0].name, arguments.track, deployer(), version, override, closed)
    tell = paged(arguments.html, planned[0].name, journals, notifier(operation))
    return exit_status(run_in_order(arguments, planned, act, tell))


def closed_regions(region_tracks: Sequence[RegionTrack], at: datetime) -> dict[str, str]:
    """Return the regions that are outside their release windows at a time, each with when a deploy is allowed."""
    bound = [each.region for each in region_tracks if each.track == BOUND_TRACK]
    found = {each.name: weekly_hours.closed(each.windows, each.timezone, at) for each in bound}
    return {name: words for name, words in found.items() if words}


def refusals(region_tracks: Sequence[RegionTrack], closed: Mapping[str, str]) -> list[RegionResult]:
    """Return each region's result where some are closed. None is begun, so that no release is in a part of the regions."""
    words = {name: f"outside its release windows: {allowed}" for name, allowed in closed.items()}
    others = f"{', '.join(closed)} is outside its release windows, so no region is begun; --region names one alone"
    return [
        RegionResult(name, each.track, "not begun", words=words.get(name, others), status=OUTSIDE_WINDOWS)
        for each in region_tracks
        for name in [each.region.name]
    ]


def _was_left(region_track: RegionTrack) -> bool:
    """Return whether a release was left; False where the cluster cannot say, since no deploy elsewhere depends on it."""
    with contextlib.suppress(ClusterError):
        return has_release(region_track)
    return False
