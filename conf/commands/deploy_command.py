"""What `monopod deploy` does: it rolls a service out, region by region.

Knows what must hold before any region is begun, release windows among it: they bind prod alone, since grey and ab are
tried out beside it. Does not know how a release is made.
"""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from conf.base import release_windows
from conf.base.yamls import documents
from conf.clusters.region import Regions
from conf.commands.choices import load_regions, plans
from conf.commands.deploy_message import Work, teller
from conf.commands.rollout_choices import by_digest, judged, progress
from conf.remote.cluster import ClusterError
from conf.render.templates import render, write
from conf.rollout.release import ReleaseRequest, release
from conf.rollout.report import OUTSIDE_WINDOWS, RegionResult, exit_status, print_results, run_in_order
from conf.rollout.targets import RegionTrack, deployer, has_release, no_target, region_tracks, target_of
from conf.rules.check import Service

BOUND = "prod"  # the track that release windows bind


def deploy_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    found = judged(arguments, regions)
    if isinstance(found, int):
        return found
    chosen = region_tracks(found, regions, arguments.track, arguments.region)
    planned = [each for each in chosen if each.planned]
    closed = closed_now(planned, datetime.now(UTC))
    if closed and not arguments.override:
        refused = held_back(planned, closed)
        print_results(arguments, refused)
        return exit_status(refused)
    if planned:
        found = by_digest(arguments, found, regions)
        if isinstance(found, int):
            return found
    for each in chosen:
        if each.track == "prod" and not each.planned and _was_left(each):
            stop_it = f"monopod stop --yes --region {each.region.name}"
            progress(arguments, each)(f"it is not to run here, but a release is there: {stop_it} takes it away")
    if not planned:
        return no_target(arguments, regions)
    if arguments.override and not closed:
        print("no region is outside its release windows: --override was not needed and is not recorded", file=sys.stderr)
    return _deploy(arguments, found, regions, planned, tuple(closed))


def _deploy(
    arguments: Namespace, found: Service, regions: Regions, planned: Sequence[RegionTrack], closed: Sequence[str]
) -> int:
    """Release a service at each spot. closed: the regions outside their release windows, let through by --override."""
    made = plans(arguments, found, regions, (arguments.track,))
    if arguments.output:
        list(write(made, arguments.output))
    rendered = {each.region: documents(render(each)) for each in made}

    def act(spot: RegionTrack) -> RegionResult:
        say, why = progress(arguments, spot), arguments.override if spot.region.name in closed else ""
        if why:
            say(f"outside its release windows, let through: {why}")
        order = ReleaseRequest(rendered[spot.region.name], found.image.version, found.image.text, override=why)
        done = release(target_of(spot, arguments, say), order, say)
        state = "unchanged" if done.unchanged else "deployed"
        return RegionResult(spot.region.name, spot.track, state, done.release.version)

    work = Work("deploy", planned[0].name, arguments.track, deployer(), found.image.version, arguments.override or "", closed)
    return exit_status(run_in_order(arguments, planned, act, teller(work)))


def closed_now(region_tracks: Sequence[RegionTrack], at: datetime) -> dict[str, str]:
    """Return the regions that may not be deployed to at a moment, each with what is allowed and when it opens next."""
    bound = [each.region for each in region_tracks if each.track == BOUND]
    found = {each.name: release_windows.closed(each.windows, each.timezone, at) for each in bound}
    return {name: words for name, words in found.items() if words}


def held_back(region_tracks: Sequence[RegionTrack], shut: Mapping[str, str]) -> list[RegionResult]:
    """Return what came of each region: none is begun where one is outside its windows, so that nothing is done halfway."""
    open_ = f"{', '.join(shut)} is outside its release windows, so no region is begun; --region names one alone"
    words = {name: f"outside its release windows: {said}" for name, said in shut.items()}
    return [
        RegionResult(
            each.region.name, each.track, "not begun", words=words.get(each.region.name, open_), status=OUTSIDE_WINDOWS
        )
        for each in region_tracks
    ]


def _was_left(spot: RegionTrack) -> bool:
    """Whether a release was left, as far as that can be asked: a deploy elsewhere does not depend on it."""
    with contextlib.suppress(ClusterError):
        return has_release(spot)
    return False
