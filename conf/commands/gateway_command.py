"""`monopod gateway`: print the object that a cluster's gateway needs once, for all services."""

import json
from argparse import Namespace

from conf.base.console import Mistakes, prints_mistakes
from conf.base.quantities import binary_quantity
from conf.base.yamls import documents
from conf.commands.choices import load_regions, no_region
from conf.plan.routes import buffer_limit, gateway_plan
from conf.render.templates import render_gateway


@prints_mistakes
def gateway_command(arguments: Namespace) -> int:
    """Print the object as YAML or JSON."""
    regions = load_regions(arguments)
    region = regions.regions.get(arguments.region)
    if region is None:
        raise no_region(arguments.region, regions)
    planned = gateway_plan(region)
    if planned is None:
        where, own = regions.place(f"regions.{region.name}.gateway"), binary_quantity(buffer_limit(region))
        words = f"{where}: gateway has no buffer_limit, so the proxies' own counts, {own}"
        raise Mistakes([f"{words}; add buffer_limit: 16Mi, or as much as the largest max_body of the services"])
    text = render_gateway(planned)
    print(json.dumps(documents(text), indent=2) + "\n" if arguments.json else text, end="")
    return 0
