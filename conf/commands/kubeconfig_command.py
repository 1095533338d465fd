"""`monopod kubeconfig`: print a kubeconfig for a deploy job or for people, with a token of a limited lifetime.

The token goes to stdout alone, and no file is written.
"""

import json
import sys
from argparse import Namespace
from datetime import UTC, datetime, timedelta

from conf.base.console import Mistakes, print_line, prints_mistakes
from conf.base.object_references import Ref
from conf.base.yaml_nodes import dump
from conf.clusters.regions import Region, Regions
from conf.clusters.rights import ACCOUNTS
from conf.commands.arguments import load_region
from conf.remote.cluster import Cluster, ClusterError, access
from conf.render.chart_values import cluster_values
from conf.rollout.report import error_status

CLOCK_SKEW = timedelta(minutes=1)  # between this machine and the API server


@prints_mistakes
def kubeconfig_command(arguments: Namespace) -> int:
    """Print the kubeconfig as YAML or JSON, and to stderr until when its token holds."""
    regions, region = load_region(arguments)
    _check_account(arguments.account, regions, region)
    asked = timedelta(hours=arguments.hours)
    try:
        found = access(Cluster(region.context), Ref("ServiceAccount", ACCOUNTS, arguments.account), int(asked.total_seconds()))
    except ClusterError as error:
        raise Mistakes([str(error)], error_status(error)) from error
    print(json.dumps(found.kubeconfig, indent=2) if arguments.json else dump(found.kubeconfig).rstrip("\n"))
    print_line(lifetime(region.name, arguments.account, asked, found.expires, datetime.now(UTC)), sys.stderr)
    return 0


def _check_account(account: str, regions: Regions, region: Region) -> None:
    """Raise Mistakes where charts/cluster makes no such account in a region."""
    if account in cluster_values(regions, region)["accounts"]["names"]:
        return
    if account == "deploy":
        raise Mistakes([f"{regions.place('')}: users is missing, so no job deploys anywhere: add users: {{like: {{}}}}"])
    track = regions.grey if account == "grey" else regions.ab
    raise Mistakes([f"--for: the track {account} runs in {track}, and not in {region.name}: give --region {track}"])


def lifetime(region: str, account: str, asked: timedelta, expires: datetime, now: datetime) -> str:
    """Return a sentence on how long a token holds, and whether the API server shortened what was asked for."""
    words = f"{region}: the token of {account} holds until {expires:%Y-%m-%d %H:%M} UTC; print and store another before"
    granted = expires - now
    if granted >= asked - CLOCK_SKEW:
        return words
    hours = f"{granted.total_seconds() / 3600:.3g} h and not {asked.total_seconds() / 3600:g} h"
    return f"{words}. The API server grants {hours}, since it has a limit of its own"
