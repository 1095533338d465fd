"""`monopod logs`: the lines that a service's pods wrote, of all regions, in order of time."""

import sys
from argparse import Namespace

from conf.base.console import print_line, printable, prints_mistakes
from conf.commands.observed_tracks import observed_tracks
from conf.observe.pod_logs import PodLines, Trouble, follow, for_people, for_programs, once

SINCE_SECONDS = 600.0
FOLLOWED_TURNS = 8  # answers of a pod, of 4 MiB each, before all pods are read again


@prints_mistakes
def logs_command(arguments: Namespace) -> int:
    """Print the lines; return 1 where a region could not be read."""
    # A container may have died long ago, and a person who follows wants what comes from now on.
    usual = None if arguments.previous else 0.0 if arguments.follow else SINCE_SECONDS
    sources = [
        PodLines(
            each.region,
            each.namespace,
            each.service,
            usual if arguments.since is None else arguments.since,
            name=f"{each.region.name}, {each.track}",
            previous=arguments.previous,
            turns=FOLLOWED_TURNS if arguments.follow else None,
        )
        for each in observed_tracks(arguments)
    ]
    form = for_programs if arguments.json else for_people
    has_trouble = False
    try:
        for each in follow(sources) if arguments.follow else once(sources):
            if isinstance(each, Trouble):
                has_trouble = True
                print_line(printable(each), sys.stderr)
            elif each:
                print_line(form(each), sys.stdout)
    except KeyboardInterrupt:  # the usual end of following
        return 0
    return int(has_trouble)
