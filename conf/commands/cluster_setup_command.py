"""The set-up of a cluster before its first service: `monopod values` prints values of charts/, `monopod gateway` an object."""

import json
from argparse import Namespace

from conf.base.console import Mistakes, prints_mistakes
from conf.base.quantities import binary_quantity
from conf.base.yaml_nodes import documents, dump
from conf.commands.arguments import load_region
from conf.plan.routes import buffer_limit, gateway_plan
from conf.render.chart_values import chart_values
from conf.render.templates import render_gateway


@prints_mistakes
def values_command(arguments: Namespace) -> int:
    """Print the values of one chart, or those of all under the charts' names, as YAML or JSON."""
    regions, region = load_region(arguments)
    found = chart_values(regions, region, (arguments.chart,) if arguments.chart else ())
    shown = found[arguments.chart] if arguments.chart else found
    print(json.dumps(shown, indent=2) if arguments.json else dump(shown).rstrip("\n"))
    return 0


@prints_mistakes
def gateway_command(arguments: Namespace) -> int:
    """Print the object that a cluster's gateway needs once, for all services, as YAML or JSON."""
    regions, region = load_region(arguments)
    planned = gateway_plan(region)
    if planned is None:
        where, own = regions.place(f"regions.{region.name}.gateway"), binary_quantity(buffer_limit(region))
        words = f"{where}: gateway has no buffer_limit, so the proxies' own counts, {own}"
        raise Mistakes([f"{words}; add buffer_limit: 16Mi, or as much as the largest max_body of the services"])
    text = render_gateway(planned)
    print(json.dumps(documents(text), indent=2) + "\n" if arguments.json else text, end="")
    return 0
