"""The table of figures shows what other servers wrote without letting it move the cursor."""

from conf.commands.observe.figures_table import lines, rows
from conf.observe.judgement import limits_of
from conf.observe.pod_figures import PodFigures, TrackFigures
from serving.settings import Settings

LIMITS = limits_of(Settings(service_name="small", username="like"))


def test_malformed_requests_and_refusals_do_not_hide_failures() -> None:
    pod = PodFigures("small-1", ready=1.0, rate=1000.0, valid=10.0, errors=5.0, refused=400.0)
    head, total, of_pod = lines(rows(TrackFigures("hk", "prod", "like", "small", pods=(pod,)), LIMITS), 0, colours=False)
    assert "50 %" in total
    assert "50 %" in of_pod


def test_characters_that_would_move_the_cursor_are_escaped_as_in_logs() -> None:
    track = TrackFigures("hk", "prod", "like", "small", wanted=1, pods=(PodFigures("small-1", "\x1b[2J", ready=1.0),))
    shown = "\n".join(lines(rows(track, LIMITS), 0, colours=False))
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
