"""The arguments of a command line: the regions, the service, its image, and the plans of what is to run.

This module does not import the kubernetes client, which would make every command a second slower.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conf.base.console import BAD_COMMAND_LINE, NO_IMAGE, Mistakes, print_line
from conf.base.image_names import image, short_digest
from conf.clusters.regions import Region, Regions, load
from conf.plan.plan import Plan, default_image, plan
from conf.remote import image_registry
from conf.remote.image_registry import RegistryError
from conf.render.templates import Rendered
from conf.rules.check import Service, judge, objections, read
from serving.settings.reader import ConfigError

REGIONS_FILE = Path(__file__).parents[1] / "regions.yaml"


@dataclass(frozen=True)
class Planned:
    """The regions, the service, and the plans of the tracks and regions that the command line chooses."""

    regions: Regions
    service: Service
    plans: list[Plan]


def load_regions(arguments: Namespace) -> Regions:
    """Return the regions of --regions, else of the platform's regions.yaml. Raises Mistakes."""
    path: Path | None = arguments.regions
    try:
        return load(path, str(path)) if path else load(REGIONS_FILE)
    except ConfigError as error:
        raise Mistakes(error.mistakes) from error


def load_region(arguments: Namespace) -> tuple[Regions, Region]:
    """Return all regions, and the one that --region names. Raises Mistakes."""
    regions = load_regions(arguments)
    check_region(arguments.region, regions)
    return regions, regions.regions[arguments.region]


def check_region(name: str, regions: Regions) -> None:
    """Raise Mistakes where regions.yaml has no region of a name. name: "" for all regions."""
    if name and name not in regions.regions:
        raise Mistakes([f"--region: no region {name!r}; name one of {', '.join(regions.regions)}"])


def read_service(arguments: Namespace, regions: Regions, image_name: str = "") -> Service:
    """Return the service of a folder, without judging it. image_name: "" for the default image's name. Raises Mistakes."""
    service, mistakes = read(arguments.service, regions, image_name)
    if service is None or mistakes:
        raise Mistakes(mistakes)
    return service


def planned(arguments: Namespace, tracks: Sequence[str]) -> Planned:
    """Return what a command is about. tracks: those to plan where --track names none. Raises Mistakes where nothing runs."""
    regions = load_regions(arguments)
    check_region(arguments.region, regions)
    service = read_service(arguments, regions, arguments.image)
    chosen = (arguments.track,) if arguments.track else tracks
    found = plans(arguments, service, regions, chosen)
    if not found:
        where = arguments.region or "any region"
        raise Mistakes([f"{', '.join(chosen)} does not run in {where}: see `monopod check` for what runs where"])
    return Planned(regions, service, found)


def plans(arguments: Namespace, service: Service, regions: Regions, tracks: Iterable[str]) -> list[Plan]:
    """Return the plans of some tracks in the regions that the command line chooses."""
    every = (each for track in tracks for each in plan(service.value, regions, track, service.image, service.own))
    return [each for each in every if arguments.region in ("", each.region)]


def checked_service(arguments: Namespace, regions: Regions) -> Service:
    """Return the service with the image that --image names. Raises Mistakes where a rule is broken or --image is missing.

    Its objects are rendered and judged later, by `rendered`, with the digest of the image.
    """
    report = judge(arguments.service, regions, (arguments.track,), arguments.image)
    if report.mistakes or report.service is None:
        raise Mistakes(report.mistakes)
    if not arguments.image:
        name = image(default_image(report.service.value.settings, regions)).name
        words = f"--image is missing: {arguments.name} takes an image that was built and pushed"
        cure = f"make image IMAGE={name}:1 and make push IMAGE={name}:1, then --image {name}:1"
        raise Mistakes([f"{words} ({cure})"], BAD_COMMAND_LINE)
    return report.service


def rendered(arguments: Namespace, service: Service, regions: Regions) -> dict[str, Rendered]:
    """Return the objects of a track by region, with the digest that the image's tag has now, which is printed.

    Raises Mistakes where the registry has no such image, and where a schema or a rule objects to the objects.
    The registry is asked once for all regions, so that they get the same image even if somebody pushes meanwhile.
    """
    try:
        named = image(image_registry.resolved(arguments.image, regions, os.environ))
    except RegistryError as error:
        raise Mistakes([str(error)], NO_IMAGE) from error
    if not service.image.digest:
        print_line(f"{service.image.full} is {short_digest(named.digest)}", sys.stderr if arguments.json else sys.stdout)
    found = [Rendered(each) for each in plans(arguments, replace(service, image=named), regions, (arguments.track,))]
    if mistakes := objections(found):
        raise Mistakes(mistakes)
    return {each.plan.region: each for each in found}


def progress_of(region: str, arguments: Namespace) -> Callable[[str], None]:
    """Return a function that prints a line of a region's progress: to stdout, or to stderr where stdout gets JSON."""
    out = sys.stderr if arguments.json else sys.stdout
    return lambda words: print_line(f"{region}: {words}", out)
