"""The alerts, run by promtool: each fires on the trouble that it warns of, and not on usual traffic."""

from pathlib import Path

import pytest

from tests.promtool import firing
from tests.running import ROOT

ALERTS = ROOT / "examples/moderation/alerts.yaml"
STEP, HOURS = 5, 30  # minutes between two values of a series; hours that all of them run
# A service begins each of these counters at 0.
VERDICTS = [
    ("moderation_verdicts_total", f'of="{of}", label="{label}"') for of in ("image", "video") for label in ("safe", "nsfw")
]
REFUSED = [("monopod_videos_refused_total", f'cause="{cause}"') for cause in ("codec", "memory")]
WAITING = ("monopod_videos_waiting", 'pod="waiting"')


def fires(tmp_path: Path, alert: str, **rates: tuple[float, float]) -> bool:
    """Return whether an alert fires at the end.

    rates: increases of a series in a step, before the last two hours and during them. The name of one is a text in the series'
    labels, with _ for the characters between them.
    """
    steps, last = HOURS * 60 // STEP, 120 // STEP
    series = {}
    for name, labels in [*VERDICTS, *REFUSED, WAITING]:
        before, now = next((rate for words, rate in rates.items() if all(f'"{w}"' in labels for w in words.split("_"))), (0, 0))
        values = f"0+{before}x{steps - last} {before * (steps - last) + now}+{now}x{last - 1}"
        if name == WAITING[0]:
            values = f"{before}x{steps - last} {now}x{last - 1}"
        series[f'{name}{{namespace="like", service="moderation", {labels}}}'] = values
    return alert in firing(ALERTS, series, f"{HOURS * 60 - STEP}m", tmp_path, f"{STEP}m")


USUAL = {"image_safe": (1000.0, 1000.0), "image_nsfw": (20.0, 20.0), "video_safe": (100.0, 100.0), "codec": (5.0, 5.0)}


@pytest.mark.parametrize(
    ("alert", "rates"),
    [
        ("ModerationNsfwSurge", {"image_nsfw": (20, 400)}),
        ("ModerationNsfwSurge", {"image_nsfw": (0, 400)}),
        ("ModerationVideosRefused", {"codec": (5, 60)}),
        ("ModerationVideosRefused", {"video_safe": (0, 0), "codec": (0, 5)}),
        ("ModerationVideosWait", {"waiting": (0, 1)}),
        ("ModerationHostileVideos", {"memory": (0, 2)}),
    ],
)
def test_an_alert_fires_on_what_it_warns_of_and_not_on_what_is_usual(
    tmp_path: Path, alert: str, rates: dict[str, tuple[float, float]]
) -> None:
    assert not fires(tmp_path, alert, **USUAL)
    assert fires(tmp_path, alert, **USUAL | rates)
