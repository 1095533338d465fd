"""Pages of HTML that need nothing else, and pictures of figures over time in them, as SVG: bars or a line, with marks.

All text from elsewhere is escaped. A page holds no script, and forbids itself to load anything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import floor, log10

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
body { color: #222; background: #fff }
h2 { border-bottom: 1px solid #bbb } h3 { margin-bottom: .2rem } ul { margin-top: .2rem } figure { margin: .4rem 0 }
svg { width: 100%; font: 11px system-ui, sans-serif; fill: #3a6ea5 } svg text { fill: #444 }
.end { text-anchor: end } .middle { text-anchor: middle } .grid { stroke: #8884; fill: none }
.axis { stroke: #888; fill: none } .line { stroke: #3a6ea5; fill: none } .level { stroke: #b33; stroke-dasharray: 4 3 }
.mark { stroke: #2a8a4a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } svg text { fill: #bbb } }
"""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 170, 84, 20, 14  # in the picture's own units
HOUR = 3600
DAY = 24 * HOUR
TICKS = (60, 300, 600, 1800, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY)  # seconds between two times
MAX_TICKS = 8
TOPS = (1, 2, 4, 6, 8, 10)  # of the value's axis, which has a line at its half


@dataclass(frozen=True)
class Chart:
    """One picture, as bars or as a line. Times are seconds since 1970.

    points: the end of a time and its value.
    every: seconds between two points; a line is broken where one is missing.
    shown: gives a value in words.
    level: the value and the words of a horizontal line.
    marks: times and words of vertical lines.
    unit: in which the highest value of the axis is a round number.
    """

    title: str
    points: Sequence[tuple[float, float]]
    shown: Callable[[float], str]
    level: tuple[float, str] | None = None
    marks: Sequence[tuple[float, str]] = ()
    bars: bool = False
    every: float = HOUR
    unit: float = 1.0


def document(title: str, words: str, body: str) -> str:
    """Return a page as a text of HTML. words: of its first paragraph. body: HTML."""
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><p>{escape(words)}</p>\n{body}</body></html>\n"
    )


def figure(chart: Chart, start: float, end: float) -> str:
    """Return a chart below its title, as HTML. start, end: of the time axis, in seconds since 1970."""
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{svg(chart, start, end)}</figure>"


def moment(at: float) -> str:
    """Return a time in UTC. at: seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def svg(chart: Chart, start: float, end: float) -> str:
    """Return a chart's SVG. start, end: of the time axis, in seconds since 1970."""
    highest = max([value for _, value in chart.points] + ([chart.level[0]] if chart.level else []), default=0.0)
    top, span = axis_top(highest, chart.unit), max(end - start, chart.every)

    def x(at: float) -> float:
        return LEFT + (at - start) / span * (WIDTH - LEFT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    drawn = [*_axes(chart, top, x, y, (start, start + span)), *(_bars if chart.bars else _line)(chart, x, y)]
    if chart.level:
        at = y(chart.level[0])
        drawn.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH}" class="level"/>')
        drawn.append(f'<text x="{WIDTH}" y="{at - 3:.1f}" class="end">{escape(chart.level[1])}</text>')
    for when, words in chart.marks:
        if start <= when <= start + span:
            drawn.append(f'<path d="M{x(when):.1f} {TOP}V{HEIGHT - BOTTOM}" class="mark"><title>{escape(words)}</title></path>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(drawn)}</svg>'


def axis_top(highest: float, unit: float = 1.0) -> float:
    """Return the next round number above the highest value, 1 of the unit for none."""
    if not highest > 0:
        return unit
    power = 10.0 ** floor(log10(highest / unit))
    return unit * power * next(each for each in TOPS if each * power * (1 + 1e-9) >= highest / unit)


def _axes(
    chart: Chart, top: float, x: Callable[[float], float], y: Callable[[float], float], ends: tuple[float, float]
) -> Iterator[str]:
    """Yield lines at the half and at the top, and times at round hours. ends: of the time axis."""
    for value in (0.0, top / 2, top):
        yield f'<path d="M{LEFT} {y(value):.1f}H{WIDTH}" class="{"grid" if value else "axis"}"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" class="end">{escape(chart.shown(value))}</text>'
    start, end = ends
    tick = next((each for each in TICKS if (end - start) / each <= MAX_TICKS), TICKS[-1])
    first = start - start % -tick
    form = "%m-%d" if tick >= DAY else "%m-%d %H:%M" if end - start > DAY else "%H:%M"
    for at in range(int(first), int(end) + 1, tick):
        if LEFT + 30 <= x(at) <= WIDTH - 30:
            yield f'<text x="{x(at):.1f}" y="{HEIGHT - 4}" class="middle">{datetime.fromtimestamp(at, UTC):{form}}</text>'


def _bars(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> Iterator[str]:
    width = max(0.5, 0.85 * (x(chart.every) - x(0.0)))
    for at, value in chart.points:
        words = escape(f"{moment(at)}: {chart.shown(value)}")
        place = f'x="{x(at - chart.every):.1f}" y="{y(value):.1f}" width="{width:.1f}" height="{y(0) - y(value):.1f}"'
        yield f"<rect {place}><title>{words}</title></rect>"


def _line(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Return a line that is broken where a point is missing."""
    path, before = "", None
    for at, value in chart.points:
        path += f"{'L' if before is not None and at - before < 1.5 * chart.every else 'M'}{x(at):.1f} {y(value):.1f}"
        before = at
    dots = [f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="1.2"/>' for at, value in chart.points]
    return [f'<path d="{path}" class="line"/>', *dots] if path else []
