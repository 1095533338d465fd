"""Pictures of figures over time, as SVG inside a page: bars or a line, with marks for releases.

Knows coordinates and colours. Does not know what a figure means. The picture holds no script and loads nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from conf.commands.observe.report_text import moment

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 150, 70, 20, 12  # in the picture's own units
HOUR = 3600


@dataclass(frozen=True)
class Chart:
    """One picture, as bars or as a line. Times are seconds since 1970.

    points: the end of a time and its value.
    every: seconds between two points; a line is broken where one is missing.
    shown: gives a value in words.
    level: the value and the words of a horizontal line.
    marks: times and words of vertical lines.
    """

    title: str
    points: Sequence[tuple[float, float]]
    shown: Callable[[float], str]
    level: tuple[float, str] | None = None
    marks: Sequence[tuple[float, str]] = ()
    bars: bool = False
    every: float = HOUR


def svg(chart: Chart, start: float, end: float) -> str:
    """Return a chart's SVG. start, end: of the time axis, in seconds since 1970."""
    highest = max([value for _, value in chart.points] + ([chart.level[0]] if chart.level else []), default=0.0) or 1.0
    span = max(end - start, chart.every)

    def x(at: float) -> float:
        return LEFT + (at - start) / span * (WIDTH - LEFT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / highest * (HEIGHT - BOTTOM - TOP)

    drawn = _bars(chart, x, y) if chart.bars else _line(chart, x, y)
    axis = [
        f'<text x="{LEFT - 6}" y="{TOP + 4}" class="end">{escape(chart.shown(highest))}</text>',
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" class="end">0</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{moment(start)}</text>',
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" class="end">{moment(end)}</text>',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH}" class="axis"/>',
    ]
    if chart.level:
        at = y(chart.level[0])
        axis.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH}" class="level"/>')
        axis.append(f'<text x="{WIDTH}" y="{at + 11:.1f}" class="end">{escape(chart.level[1])}</text>')
    for when, words in chart.marks:
        axis.append(f'<path d="M{x(when):.1f} {TOP}V{HEIGHT - BOTTOM}" class="mark"><title>{escape(words)}</title></path>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join([*drawn, *axis])}</svg>'


def _bars(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    return [
        f'<rect x="{x(at - chart.every):.1f}" y="{y(value):.1f}" width="{max(0.5, x(at) - x(at - chart.every) - 0.3):.1f}" '
        f'height="{y(0) - y(value):.1f}"><title>{escape(f"{moment(at)}: {chart.shown(value)}")}</title></rect>'
        for at, value in chart.points
        if at - chart.every >= 0
    ]


def _line(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Return a line that is broken where a point is missing."""
    path, before = "", None
    for at, value in chart.points:
        path += f"{'L' if before is not None and at - before < 1.5 * chart.every else 'M'}{x(at):.1f} {y(value):.1f}"
        before = at
    dots = [f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="1.2"/>' for at, value in chart.points]
    return [f'<path d="{path}" class="line"/>', *dots] if path else []
