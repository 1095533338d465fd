"""`monopod logs`: the lines that a service's pods wrote, of all regions, in order of time.

Knows what the flags mean, and where lines and troubles are printed. Does not know how lines are read or ordered.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from conf.base.console import print_line, prints_mistakes
from conf.commands.observe.watching import watched_tracks
from conf.observe.pod_logs.following import follow, once
from conf.observe.pod_logs.line_forms import Line, Trouble, for_people, for_programs, printable
from conf.observe.pod_logs.pod_lines import PodLines

SINCE_SECONDS = 600.0
FOLLOWED_TURNS = 8  # answers of a pod, of 4 MiB each, before all pods are read again


@dataclass(frozen=True)
class _Source:
    """The pods of one track in one region. previous: read the containers before their restart. turns: most answers of a pod."""

    name: str
    lines: PodLines
    previous: bool
    turns: int | None

    @property
    def pods(self) -> int:
        return self.lines.pods

    def read(self) -> Iterator[list[Line] | Trouble]:
        return self.lines.read(self.previous, self.turns)


@prints_mistakes
def logs_command(arguments: Namespace) -> int:
    """Print the lines; return 1 where a region could not be read."""
    # A container may have died long ago, and who follows sees what comes from now on.
    usual = None if arguments.previous else 0.0 if arguments.follow else SINCE_SECONDS
    since = usual if arguments.since is None else arguments.since
    sources = [
        _Source(
            f"{each.region.name}, {each.track}",
            PodLines(each.region, each.namespace, each.service, since),
            arguments.previous,
            FOLLOWED_TURNS if arguments.follow else None,
        )
        for each in watched_tracks(arguments)
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
    except KeyboardInterrupt:  # a person ends it so
        return 0
    return int(has_trouble)
