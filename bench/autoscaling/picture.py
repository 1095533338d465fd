"""Draws docs/autoscaling-week.svg: the pods of some ways over one day, above the pods that the load needed.

Knows shapes and colours, which read on a light and on a dark page. Does not know how the pods were found.
"""

from collections.abc import Sequence
from html import escape

WIDTH, LEFT, RIGHT = 760, 40, 24  # pixels, as all lengths here
PANEL, GRAPH = 130, 84  # from one panel to the next, and the height of its graph
LEGEND, TOP, BOTTOM = 14, 58, 26  # the middle of the legend's line, the top of the first graph, and what is below the last
SAMPLE, GAP = 24, 8  # of the legend: the width of a colour's sample, and from it to its words
SECOND = 120  # from the left to the legend's second sample
TEXT, OURS, NEEDED = "#75808b", "#2f81f7", "#98a2ad"
HOURS = 24


def draw(panels: Sequence[tuple[str, Sequence[int]]], needed: Sequence[int], about: str) -> str:
    """Return the picture as SVG. panels: a title and pods by the minute. needed: pods. about: for readers who see nothing."""
    height = TOP + PANEL * (len(panels) - 1) + GRAPH + BOTTOM
    most = max(max(pods) for pods in [needed, *(pods for _, pods in panels)])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(about)}" font-family="sans-serif" font-size="13" fill="{TEXT}">',
        *_legend(),
    ]
    for number, (title, pods) in enumerate(panels):
        lines += _panel(title, pods, needed, most, TOP + PANEL * number)
    return "\n".join([*lines, "</svg>", ""])


def _legend() -> list[str]:
    second = LEFT + SECOND
    return [
        f'<line x1="{LEFT}" y1="{LEGEND}" x2="{LEFT + SAMPLE}" y2="{LEGEND}" stroke="{OURS}" stroke-width="1.5"/>',
        f'<text x="{LEFT + SAMPLE + GAP}" y="{LEGEND + 4}">pods</text>',
        f'<rect x="{second}" y="{LEGEND - 5}" width="{SAMPLE}" height="10" fill="{NEEDED}" fill-opacity="0.45"/>',
        f'<text x="{second + SAMPLE + GAP}" y="{LEGEND + 4}">pods that the load needed, known in advance</text>',
    ]


def _panel(title: str, pods: Sequence[int], needed: Sequence[int], most: int, top: int) -> list[str]:
    base = top + GRAPH
    area, counts = f"{_path(needed, most, base)}V{base}H{LEFT}Z", sorted({0, most // 2, most})
    return [
        f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>',
        *(
            f'<line x1="{LEFT}" y1="{_y(count, most, base):.1f}" x2="{WIDTH - RIGHT}" y2="{_y(count, most, base):.1f}" '
            f'stroke="{NEEDED}" stroke-opacity="0.35"/>'
            for count in counts
        ),
        f'<path d="{area}" fill="{NEEDED}" fill-opacity="0.45"/>',
        f'<path d="{_path(pods, most, base)}" fill="none" stroke="{OURS}" stroke-width="1.5"/>',
        *(f'<text x="{LEFT - 8}" y="{_y(count, most, base) + 4:.0f}" text-anchor="end">{count}</text>' for count in counts),
        *(
            f'<text x="{_x(hour, HOURS):.0f}" y="{base + 16}" text-anchor="middle">{hour}:00</text>'
            for hour in range(0, HOURS + 1, 4)
        ),
    ]


def _path(pods: Sequence[int], most: int, base: int) -> str:
    """Return a line of steps, with a point for each change alone."""
    parts, last = [f"M{LEFT} {_y(pods[0], most, base):.1f}"], pods[0]
    for minute, count in enumerate(pods):
        if count != last:
            parts.append(f"H{_x(minute, len(pods)):.1f}V{_y(count, most, base):.1f}")
            last = count
    return "".join([*parts, f"H{WIDTH - RIGHT}"])


def _x(at: int, of: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / of


def _y(count: int, most: int, base: int) -> float:
    return base - GRAPH * count / most
