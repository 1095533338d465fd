"""Draws docs/peers.svg: for each kind of work a bar for each server, as long as its rate beside this server's.

Knows shapes and colours, which read on a light and on a dark page. Does not know how the rates were measured.
"""

from dataclasses import dataclass
from html import escape

WIDTH = 760  # pixels, as all lengths here
LEFT = 270  # of the bars; titles stand before them
LONGEST = 330  # bar
LINE, BAR = 24, 15  # from one bar to the next, and the height of a bar
HEADING = 40
MARGIN = 12
TEXT, OURS, OTHER, BEFORE = "#75808b", "#2f81f7", "#98a2ad", "#c98a1b"


@dataclass(frozen=True)
class Bar:
    """One server. share: its rate, where this server's is 1. note: the words after the bar."""

    title: str
    share: float
    note: str
    colour: str = OTHER


@dataclass(frozen=True)
class Panel:
    """One kind of work."""

    title: str
    bars: list[Bar]


def draw(panels: list[Panel], about: str) -> str:
    """Return the picture as SVG. about: a sentence for readers who do not see it."""
    height = MARGIN + sum(HEADING + LINE * len(panel.bars) for panel in panels) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(about)}" font-family="sans-serif" font-size="13" fill="{TEXT}">'
    ]
    top = MARGIN
    for panel in panels:
        lines += _panel(panel, top)
        top += HEADING + LINE * len(panel.bars)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    longest = max([1.0, *(bar.share for bar in panel.bars)])
    lines = [f'<text x="{MARGIN}" y="{top + 24}" font-weight="bold">{escape(panel.title)}</text>']
    for number, bar in enumerate(sorted(panel.bars, key=lambda bar: -bar.share)):
        lines += _bar(bar, bar.share / longest, top + HEADING + LINE * number)
    return lines


def _bar(bar: Bar, part: float, top: int) -> list[str]:
    middle, width = top + BAR - 3, max(1.0, LONGEST * part)
    return [
        f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(bar.title)}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{bar.colour}"/>',
        f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{escape(bar.note)}</text>',
    ]
