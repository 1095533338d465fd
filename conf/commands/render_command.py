"""`monopod render`: print or write the Kubernetes objects of each region and track.

Asks no cluster. With --image, it asks a registry which digest the tag has.
"""

import json
from argparse import Namespace
from dataclasses import replace

from conf.base.console import Mistakes, prints_mistakes
from conf.base.image_names import image
from conf.base.yamls import documents
from conf.commands.choices import planned, plans
from conf.plan.plan import TRACKS, Plan
from conf.remote.image_registry import RegistryError, resolved
from conf.render.templates import render, write


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
    if not arguments.output:
        _print(chosen, arguments.json)
    else:
        print(*write(chosen, arguments.output), sep="\n")
    return 0


def _print(plans: list[Plan], as_json: bool) -> None:
    if as_json:
        print(json.dumps([item for each in plans for item in documents(render(each))], indent=2))
    else:
        for each in plans:
            print(f"# {each.region}, {each.track}\n{render(each)}", end="")
