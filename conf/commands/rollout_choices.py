"""What the command line chooses near a cluster: the service as a deploy takes it, its targets, and where progress is told.

Knows what must hold before any cluster is asked. Does not know what a command does there.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

from conf.base.image_names import image, short_digest
from conf.base.mistakes import mistaken
from conf.clusters.region import Regions
from conf.plan.plan import default_image
from conf.remote import image_registry
from conf.remote.image_registry import RegistryError
from conf.rollout.report import NO_IMAGE, print_line
from conf.rollout.targets import RegionTrack, planned_or_left, region_tracks
from conf.rules.check import Service, check, read

BAD_LINE = 2  # the exit status of a command line that is wrong


def judged(arguments: Namespace, regions: Regions) -> Service | int:
    """Return the service with the image that --image names; an exit status, once it is told what is wrong."""
    report = check(arguments.service, regions, (arguments.track,), arguments.image)
    found, _ = read(arguments.service, regions, arguments.image)
    if report.mistakes or found is None:
        return mistaken(arguments, report.mistakes)
    if not arguments.image:
        name = image(default_image(found.value.settings, regions)).name
        words = f"--image is missing: {arguments.name} takes an image that was built and pushed"
        mistaken(arguments, [f"{words} (make image IMAGE={name}:1 and make push IMAGE={name}:1, then --image {name}:1)"])
        return BAD_LINE
    return found


def by_digest(arguments: Namespace, found: Service, regions: Regions) -> Service | int:
    """Return the service with its image as the registry has it now; an exit status, once it is told why there is none.

    The registry is asked once for all regions, so that they get the same image whoever pushes meanwhile.
    """
    try:
        named = image(image_registry.resolved(arguments.image, regions, os.environ))
    except RegistryError as error:
        mistaken(arguments, [str(error)])
        return NO_IMAGE
    if not found.image.digest:
        print_line(f"{found.image.full} is {short_digest(named.digest)}", sys.stderr if arguments.json else sys.stdout)
    return replace(found, image=named)


def chosen(arguments: Namespace, regions: Regions, left_last: bool = False) -> list[RegionTrack] | None:
    """Return where the service is to run or was left, by track and region; None once its mistakes are told.

    left_last: those where it was left stand last.
    """
    found, mistakes = read(arguments.service, regions, "")
    if found is None:
        mistaken(arguments, mistakes)
        return None
    every = region_tracks(found, regions, arguments.track, arguments.region)
    found_there = planned_or_left(every, bool(arguments.region), lambda words: print(words, file=sys.stderr))
    return found_there if left_last else sorted(found_there, key=every.index)


def progress(arguments: Namespace, spot: RegionTrack) -> Callable[[str], None]:
    """Return what prints a line of progress; beside the JSON where that is asked for."""
    out = sys.stderr if arguments.json else sys.stdout
    return lambda words: print_line(f"{spot.region.name}: {words}", out)
