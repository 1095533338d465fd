"""The table of figures shows what other servers wrote without letting it move the cursor."""

import io

from rich.console import Console

from conf.commands.top_command import fitting_table, rows
from conf.observe.figures import PodFigures, TrackFigures
from conf.observe.health import limits_of
from serving.settings import Settings

LIMITS = limits_of(Settings(service_name="small", username="like"))


def shown(track: TrackFigures) -> str:
    console = Console(width=1000, file=io.StringIO())
    with console.capture() as captured:
        console.print(fitting_table(rows(track, LIMITS), console))
    return captured.get()


def test_malformed_requests_and_refusals_do_not_hide_failures() -> None:
    pod = PodFigures("small-1", ready=1.0, rate=1000.0, valid=10.0, errors=5.0, refused=400.0)
    head, total, of_pod = shown(TrackFigures("hk", "prod", "like", "small", pods=(pod,))).splitlines()
    assert "50 %" in total
    assert "50 %" in of_pod


def test_characters_that_would_move_the_cursor_are_escaped_as_in_logs() -> None:
    track = TrackFigures("hk", "prod", "like", "small", wanted=1, pods=(PodFigures("small-1", "\x1b[2J", ready=1.0),))
    assert "\x1b" not in shown(track)
    assert "\\x1b[2J" in shown(track)
