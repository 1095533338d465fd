"""A service as a deploy takes it: judged, and its image by the digest that its tag has now.

Knows what must hold before any cluster is asked. Does not know clusters.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

from conf.base.image_names import image, short
from conf.base.mistakes import mistaken
from conf.clusters.region import Regions
from conf.plan.plan import Plan, default_image, plan
from conf.remote import image_registry
from conf.remote.image_registry import NotThere, RegistryError
from conf.rollout.report import NO_IMAGE, put
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
        put(f"{found.image.full} is {short(named.digest)}", sys.stderr if arguments.json else sys.stdout)
    return replace(found, image=named)


def plans(arguments: Namespace, found: Service, regions: Regions) -> list[Plan]:
    """Return what is to run of the track, in the regions that the command line chooses."""
    every = plan(found.value, regions, arguments.track, found.image, found.alerts)
    return [each for each in every if arguments.region in ("", each.region)]


def still_there(regions: Regions, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what asks, of an image that was deployed before, whether its registry still has it: it raises NotThere.

    A registry that cannot be asked does not keep anyone from going back: nodes hold what they have run.
    """

    def ask(text: str) -> None:
        try:
            image_registry.digest(image(text), regions, os.environ)
        except NotThere:
            raise
        except (RegistryError, ValueError) as error:
            say(f"whether {text} is still there could not be asked, and the rollback goes on without: {error}")

    return ask
