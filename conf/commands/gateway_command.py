"""What `monopod gateway` prints: the object that a cluster's gateway needs once, for all services."""

import json
from argparse import Namespace

from conf.base.mistakes import mistaken
from conf.base.quantities import binary_quantity
from conf.base.yamls import documents
from conf.commands.choices import load_regions, no_region
from conf.plan.gateway import buffer_limit, gateway_plan
from conf.render.templates import render_gateway


def gateway_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    region = regions.regions.get(arguments.region)
    if region is None:
        return mistaken(arguments, [no_region(arguments.region, regions)])
    planned = gateway_plan(region)
    if planned is None:
        own = binary_quantity(buffer_limit(region))
        words = (
            f"{regions.place(f'regions.{region.name}.gateway')}: gateway has no buffer_limit, so the proxies' own counts, {own}"
        )
        return mistaken(arguments, [f"{words}; add buffer_limit: 16Mi, or as much as the largest max_body of the services"])
    text = render_gateway(planned)
    print(json.dumps(documents(text), indent=2) + "\n" if arguments.json else text, end="")
    return 0
