"""`monopod forks`: which service runs on which release of the platform, in each region, as its pods tell Prometheus."""

import json
import sys
from argparse import Namespace
from functools import partial

from conf.base.console import printable, prints_mistakes, table
from conf.commands.arguments import check_region, load_regions
from conf.observe.prometheus import PrometheusClient
from conf.remote.parallel import ask_all

QUERY = "count by (user, service, track, version, platform) (monopod_release_info)"
HEAD = ("platform", "region", "user", "service", "track", "version", "pods")
SECONDS = 15.0
UNKNOWN = 42  # as of `monopod health`


@prints_mistakes
def forks_command(arguments: Namespace) -> int:
    """Print a row for each version that runs, those on the oldest releases first. Return 42 where a region cannot tell."""
    regions = load_regions(arguments)
    check_region(arguments.region, regions)
    asked = {name: each for name, each in regions.regions.items() if arguments.region in ("", name)}
    answers = ask_all({name: partial(PrometheusClient(each).now, QUERY) for name, each in asked.items()}, SECONDS)
    rows = [
        {"region": name, **{key: sample.labels.get(key, "") for key in HEAD if key not in ("region", "pods")}}
        | {"pods": int(sample.value or 0)}
        for name, samples in answers.found.items()
        for sample in samples
    ]
    rows.sort(key=lambda row: (_number(str(row["platform"])), *(str(row[key]) for key in HEAD)))
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(table(HEAD, [[printable(str(row[key])) for key in HEAD] for row in rows], ("pods",)), end="")
    else:
        print("no pod tells a release of the platform")
    for name, error in answers.failed.items():
        print(printable(f"{name}: {error}"), file=sys.stderr)
    return UNKNOWN if answers.failed else 0


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]
