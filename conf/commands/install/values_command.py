"""`monopod values`: print the values of the charts in charts/ for a region.

Knows how they are printed. Does not know what they say: conf.render.chart_values does.
"""

import json
from argparse import Namespace

from conf.base.console import prints_mistakes
from conf.base.yamls import dump
from conf.commands.choices import load_regions, no_region
from conf.render.chart_values import chart_values


@prints_mistakes
def values_command(arguments: Namespace) -> int:
    """Print the values of one chart, or those of all under the charts' names, as YAML or JSON."""
    regions = load_regions(arguments)
    region = regions.regions.get(arguments.region)
    if region is None:
        raise no_region(arguments.region, regions)
    found = chart_values(regions, region, (arguments.chart,) if arguments.chart else ())
    shown = found[arguments.chart] if arguments.chart else found
    print(json.dumps(shown, indent=2) if arguments.json else dump(shown).rstrip("\n"))
    return 0
