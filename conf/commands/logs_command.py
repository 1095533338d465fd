"""`monopod logs`: the lines that a service's pods wrote, of all regions, in order of time."""

import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator

from conf.base.console import BAD_COMMAND_LINE, print_line, printable, prints_mistakes
from conf.commands.observed_tracks import observed_tracks
from conf.observe.pod_logs import Line, PodLines, Trouble, follow, for_people, for_programs, once

SINCE_SECONDS = 600.0
FOLLOWED_TURNS = 8  # answers of a pod, of 4 MiB each, before all pods are read again


@prints_mistakes
def logs_command(arguments: Namespace) -> int:
    """Print the lines; return 1 where a region could not be read."""
    if arguments.follow and arguments.tail:
        print("--tail counts from the last line, and --follow has none; --since says where to begin", file=sys.stderr)
        return BAD_COMMAND_LINE
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
        for each in _chosen(follow(sources) if arguments.follow else once(sources), arguments):
            if isinstance(each, Trouble):
                has_trouble = True
                print_line(printable(each), sys.stderr)
            elif each:
                print_line(form(each), sys.stdout)
    except KeyboardInterrupt:  # the usual end of following
        return 0
    return int(has_trouble)


def _chosen(found: Iterable[Line | Trouble | None], arguments: Namespace) -> Iterator[Line | Trouble | None]:
    """Yield the lines that the arguments ask for, and every trouble."""
    last: deque[Line] = deque(maxlen=arguments.tail)
    for each in found:
        if not isinstance(each, Line):
            yield each
        elif each.has_level(arguments.level) and (arguments.grep is None or arguments.grep.search(for_people(each))):
            if arguments.tail is None:
                yield each
            else:
                last.append(each)
    yield from last
