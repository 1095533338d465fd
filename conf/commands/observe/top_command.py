"""`monopod top`: a table of regions and pods that is drawn again while it runs.

Knows how figures and reasons look to a person and to a program. Does not know where they come from.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from conf.base.console import prints_mistakes
from conf.commands.observe.figures_table import lines, rows
from conf.commands.observe.live_screen import has_colours, is_terminal, watch
from conf.commands.observe.watching import is_there, watched_tracks, with_arms
from conf.observe.judgement import limits_of, reasons, worst
from conf.observe.pod_figures import TrackFigures
from conf.observe.pod_logs.line_forms import printable
from conf.observe.region_figures import ObservedTrack, Sources

WINDOW = 120  # seconds that rates and quantiles of Prometheus are about: eight scrapes


@prints_mistakes
def top_command(arguments: Namespace) -> int:
    """Draw the table until q, or print it once where stdout is no terminal."""
    watched = with_arms(watched_tracks(arguments))
    sources = Sources([each.region for each in watched], WINDOW)
    ask = partial(sources.ask, watched)
    if arguments.json:
        print(json.dumps(track_records(watched, ask()), indent=2))
    elif arguments.once or not is_terminal():
        print("\n".join(page(watched, ask(), 0, has_colours())))
    else:
        watch(ask, partial(_screen, watched, arguments.every), arguments.every)
    return 0


def track_records(
    watched: Sequence[ObservedTrack],
    found: Sequence[TrackFigures],
    causes: Callable[[ObservedTrack, TrackFigures], list[str]] = lambda *_: [],
) -> list[dict[str, Any]]:
    """Return tracks as JSON has them: the fields of TrackFigures and PodFigures, the level and its reasons.

    causes: what to tell beside the share of a track whose answers fail.
    """
    records = []
    for each, track in zip(watched, found, strict=True):
        if is_there(track):
            judged = reasons(track, limits_of(each.settings, each.offline))
            record = {**asdict(track), "level": worst([reason.level for reason in judged])}
            records.append({**record, "reasons": [asdict(reason) for reason in judged]})
            records[-1]["causes"] = causes(each, track) if any(reason.fails for reason in judged) else []
    return records


def page(watched: Sequence[ObservedTrack], found: Sequence[TrackFigures], width: int, colours: bool) -> list[str]:
    """Return the table, and below it the reasons and the notes. width: of the terminal, 0 for any."""
    shown = [(each, track) for each, track in zip(watched, found, strict=True) if is_there(track)]
    if not shown:
        return ["no track has a pod: `monopod status` says what was deployed"]
    table = [row for each, track in shown for row in rows(track, limits_of(each.settings, each.offline))]
    told = [
        f"{track.region}, {track.half}: {reason.level}: {reason.words}"
        for each, track in shown
        for reason in reasons(track, limits_of(each.settings, each.offline))
    ]
    notes = [f"{track.region}, {track.half}: from {track.source}: {track.note}" for _, track in shown if track.note]
    notes += [f"{track.region}: {track.unseen}" for _, track in shown if track.unseen]
    below = [printable(line)[: width or None] for line in (*told, *dict.fromkeys(notes))]
    return [*lines(table, width, colours), *([""] if below else []), *below]


def _screen(watched: Sequence[ObservedTrack], every: float, found: Sequence[TrackFigures] | None, width: int) -> list[str]:
    names = watched[0].settings
    head = f"{names.service_name} of {names.username}, every {every:g} s; q ends"
    if found is None:
        return [head[:width], "", "asking …"]
    return [head[:width], "", *page(watched, found, width, has_colours())]
