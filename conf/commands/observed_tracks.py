"""The tracks that a command line asks to look at: of --service, --region and --track. No cluster is asked."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from conf.commands.arguments import check_region, load_regions, read_service
from conf.observe.figures import ObservedTrack
from conf.plan.plan import offline_replicas, runs_offline, serves
from conf.rollout.targets import no_target, region_tracks
from serving.settings import replicas


def observed_tracks(arguments: Namespace) -> list[ObservedTrack]:
    """Return each track in each region where it may run: its online pods, then its offline ones. Raises Mistakes for none.

    The tracks grey and ab are asked for no pod unless --track names them, since nothing says whether they are deployed.
    """
    regions = load_regions(arguments)
    check_region(arguments.region, regions)
    service = read_service(arguments, regions)
    found = []
    answers = any(service.value.in_region(name).replicas for name in regions.regions)
    for each in region_tracks(service, regions, arguments.track, arguments.region):
        if not each.planned:
            continue
        s, place = each.settings, (each.region, each.track, each.namespace, each.settings)
        needed = each.track in ("prod", arguments.track)
        if serves(s, each.track, answers):
            found.append(ObservedTrack(*place, replicas(s, each.track) if needed else 0, own_pod=service.own.pod))
        if runs_offline(s):
            wanted = offline_replicas(s, each.track) if needed else 0
            found.append(ObservedTrack(*place, wanted, offline=True, own_pod=service.own.pod))
    if not found:
        raise no_target(arguments, regions)
    return found


def with_arms(watched: Sequence[ObservedTrack]) -> list[ObservedTrack]:
    """Return tracks with the arms of a canary behind the online pods of prod. An arm is asked for no pod."""
    found = []
    for each in watched:
        found.append(each)
        if each.track == "prod" and not each.offline:
            found += [replace(each, wanted=0, arm=arm) for arm in ("canary", "baseline")]
    return found
