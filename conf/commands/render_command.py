"""`monopod render`: print or write the Kubernetes objects of each region and track.

Asks no cluster. With --image, it asks a registry which digest the tag has.
"""

import json
from argparse import Namespace
from dataclasses import replace

from conf.base.console import Mistakes, prints_mistakes
from conf.base.image_names import image
from conf.commands.arguments import planned, plans
from conf.plan.plan import TRACKS
from conf.remote.image_registry import RegistryError, resolved
from conf.render.templates import Rendered, write


@prints_mistakes
def render_command(arguments: Namespace) -> int:
    """Print the objects as YAML or JSON, or write a file for each region and track."""
    found = planned(arguments, TRACKS if arguments.output else ("prod",))
    chosen = found.plans
    if arguments.image:
        try:
            named = image(resolved(arguments.image, found.regions))
        except RegistryError as error:
            raise Mistakes([str(error)]) from error
        tracks = dict.fromkeys(each.track for each in chosen)
        chosen = plans(arguments, replace(found.service, image=named), found.regions, tracks)
    made = [Rendered(each) for each in chosen]
    if arguments.output:
        print(*write(made, arguments.output), sep="\n")
    elif arguments.json:
        print(json.dumps([item for each in made for item in each.items], indent=2))
    else:
        print("".join(f"# {each.plan.region}, {each.plan.track}\n{each.text}" for each in made), end="")
    return 0
