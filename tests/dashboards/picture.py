"""The picture of docs/dashboards.md: the panels of the Service dashboard, drawn from what a real Prometheus answers, as SVG.

It stands in for Grafana. Its colours read on a light and on a dark page.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dashboards.parts import BYTES, COUNT, EVENTS, MILLISECONDS, RATE, SECONDS, SHARE, Panel
from dashboards.service import SERVICE
from tests.dashboards.real_prometheus import PrometheusServer
from tests.dashboards.written import RELEASES, asked, filled

COLUMNS = 3
WIDTH, HEIGHT = 330, 196  # pixels of a panel, as all lengths here
LEFT, RIGHT, TOP, PLOT = 52, 12, 30, 104
LEGENDS = 4  # lines of a legend at most
MAX_LEGEND = 44  # letters of a legend
TEXT, AXIS, MARK = "#75808b", "#98a2ad55", "#8957e5"
COLOURS = ("#2f81f7", "#c98a1b", "#3fb950", "#d1495b", "#8957e5", "#1fa9a9", "#98a2ad", "#b5651d")
SCALES = {
    SECONDS: (1, "s"),
    MILLISECONDS: (1, "ms"),
    SHARE: (100, "%"),
    RATE: (1, "/s"),
    EVENTS: (1, "/s"),
    COUNT: (1, ""),
    BYTES: (2**-10, "KiB"),
}


@dataclass(frozen=True)
class Line:
    """One series. points: seconds since 1970 and values, in order."""

    labels: Mapping[str, str]
    legend: str
    points: Sequence[tuple[float, float]]

    @property
    def title(self) -> str:
        """Return the legend with the series' labels in it, as Grafana writes it."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: self.labels.get(found.group(1), ""), self.legend)[:MAX_LEGEND]


def draw(about: str, panels: Sequence[tuple[Panel, Sequence[Line]]], span: tuple[float, float], marks: Sequence[float]) -> str:
    """Return a picture of panels. about: said to those who do not see it. span: first and last second. marks: of releases."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(about)}" font-family="sans-serif" font-size="10" fill="{TEXT}">'
    ]
    for number, (panel, series) in enumerate(panels):
        at = f"{number % COLUMNS * WIDTH},{number // COLUMNS * HEIGHT}"
        lines += [f'<g transform="translate({at})">', *_panel(panel, series, span, marks), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, series: Sequence[Line], span: tuple[float, float], marks: Sequence[float]) -> list[str]:
    series = sorted(series, key=_highest, reverse=True)
    shown = _stacked(series) if panel.kind == "stacked" else series
    top = max(map(_highest, shown), default=0) or 1
    begin, end = span

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - begin) / (end - begin)

    lines = [f'<text x="{LEFT}" y="20" font-size="12" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0, 0.5, 1):
        y = TOP + PLOT * (1 - share)
        lines.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="{AXIS}"/>')
        lines.append(f'<text x="{LEFT - 4}" y="{y + 3:.0f}" text-anchor="end">{_number(top * share, panel.unit)}</text>')
    for at in marks:
        lines.append(f'<path d="M{x(at):.1f} {TOP}v{PLOT}" stroke="{MARK}" stroke-dasharray="3 3"/>')
    for number, line in enumerate(shown):
        points = [f"{x(at):.1f},{TOP + PLOT * (1 - value / top):.1f}" for at, value in line.points if math.isfinite(value)]
        lines.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{_colour(number)}" stroke-width="1.5"/>')
    return lines + _legend(series)


def _legend(series: Sequence[Line]) -> list[str]:
    lines = []
    for number, line in enumerate(series[:LEGENDS]):
        y = TOP + PLOT + 14 + 12 * number
        more = f", and {len(series) - LEGENDS} more" if number == LEGENDS - 1 and len(series) > LEGENDS else ""
        lines.append(f'<path d="M{LEFT} {y - 3}h10" stroke="{_colour(number)}" stroke-width="3"/>')
        lines.append(f'<text x="{LEFT + 14}" y="{y}">{escape(line.title + more)}</text>')
    return lines


def _stacked(series: Sequence[Line]) -> list[Line]:
    """Return each line on top of those before it."""
    below: dict[float, float] = {}
    found = []
    for line in series:
        points = [(at, below.get(at, 0) + (value if math.isfinite(value) else 0)) for at, value in line.points]
        below.update(points)
        found.append(Line(line.labels, line.legend, points))
    return found


def _highest(line: Line) -> float:
    return max((value for _, value in line.points if math.isfinite(value)), default=0.0)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _number(value: float, unit: str) -> str:
    factor, name = SCALES[unit]
    return f"{value * factor:.3g} {name}".strip()


SHOWN = (
    "Requests by route",
    "Answers by code",
    "Duration by route",
    "Refused by reason",
    "Stages of a request",
    "Queue",
    "Rows of a batch",
    "Requests by pod",
    "Memory of its limit",
)
ABOUT = "Nine panels of the Service dashboard, with the requests, stages, queue, batches and pods of a service under load"


def drawn(prometheus: PrometheusServer, values: Mapping[str, str]) -> str:
    """Return the picture as SVG. values: of the dashboard's variables."""
    found = {panel.title: panel for row in SERVICE.rows for panel in row.panels}
    panels = [
        (
            found[title],
            [
                Line(each["labels"], query.legend, each["points"])
                for query in found[title].queries
                for each in prometheus.points(filled(query.expr, values))
            ],
        )
        for title in SHOWN
    ]
    (mark,) = [query for query in asked("service") if query.panel == RELEASES]
    marks = [each["points"][0][0] for each in prometheus.shown(mark, values)]
    return draw(ABOUT, panels, (prometheus.begin, prometheus.shown_until), marks)
