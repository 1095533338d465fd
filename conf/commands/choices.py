"""What the command line chooses: the regions, the service, and what is to run there.

Knows what --service, --region, --regions and --track mean. Imports nothing that asks a cluster, which takes a second.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.base.mistakes import mistaken
from conf.clusters.region import Regions
from conf.clusters.regions_file import RegionsError, load
from conf.plan.plan import Plan, plan
from conf.rules.check import Service, read

ROOT = Path(__file__).parents[2]


def load_regions(arguments: Namespace) -> Regions | None:
    """Return what regions.yaml says, or None when its mistakes have been told."""
    path: Path | None = arguments.regions
    try:
        return load(path, str(path)) if path else load(ROOT / "conf" / "regions.yaml")
    except RegionsError as error:
        mistaken(arguments, error.mistakes)
        return None


def no_region(name: str, regions: Regions) -> str:
    """Return the mistake of a --region that regions.yaml does not have."""
    return f"--region: no region {name!r}; name one of {', '.join(regions.regions)}"


@dataclass(frozen=True)
class Planned:
    """What --service, --region and --track choose."""

    regions: Regions
    service: Service
    plans: list[Plan]


def planned(arguments: Namespace, tracks: Sequence[str]) -> Planned | None:
    """Return what a command is about, or None when it is told why there is nothing. tracks: where --track names none."""
    regions = load_regions(arguments)
    if regions is None:
        return None
    if arguments.region and arguments.region not in regions.regions:
        mistaken(arguments, [no_region(arguments.region, regions)])
        return None
    service, mistakes = read(arguments.service, regions, arguments.image)
    if service is None:
        mistaken(arguments, mistakes)
        return None
    chosen = (arguments.track,) if arguments.track else tracks
    found = plans(arguments, service, regions, chosen)
    if not found:
        where = arguments.region or "any region"
        mistaken(arguments, [f"{', '.join(chosen)} does not run in {where}: see `monopod check` for what runs where"])
        return None
    return Planned(regions, service, found)


def plans(arguments: Namespace, service: Service, regions: Regions, tracks: Iterable[str]) -> list[Plan]:
    """Return what is to run of some tracks, in the regions that the command line chooses."""
    every = (each for track in tracks for each in plan(service.value, regions, track, service.image, service.alerts))
    return [each for each in every if arguments.region in ("", each.region)]
