"""The figures of tracks and pods as a table for a terminal.

Knows columns, colours and widths. Does not know how figures are asked for or judged: each cell comes with its level.
"""

from collections.abc import Sequence
from typing import NamedTuple

from conf.base.quantities import readable_bytes, significant
from conf.observe.judgement import CRITICAL, WARNING, WELL, Levels, Limits, level
from conf.observe.pod_figures import PodFigures, TrackFigures
from conf.observe.pod_logs.line_forms import printable

HEAD = ("region", "track", "pods", "version", "req/s", "5xx", "429/s", "p50", "p95", "queue", "memory", "cores", "restarts/h")
LEFT = {"region", "track", "pods", "version"}  # aligned at the left
DROPPED = ("version", "429/s", "p50", "restarts/h", "queue", "5xx", "cores")  # on a narrow terminal, the first one first
COLOURS = {WARNING: "\x1b[33m", CRITICAL: "\x1b[1;31m"}
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
GAP = "  "


class Cell(NamedTuple):
    """A text and its level of concern."""

    text: str
    level: str = WELL


Row = tuple[Cell, ...]


def rows(track: TrackFigures, limits: Limits) -> list[Row]:
    """Return a row for a track, and one for each of its pods."""
    versions = ", ".join(sorted({pod.version for pod in track.pods if pod.version}))
    if track.trouble:
        head = (Cell("unknown", WARNING), *[Cell("")] * (len(HEAD) - 3))
    else:
        ready = Cell(_ready(track), _ready_level(track))
        head = (ready, Cell(printable(versions)), *_figures(_total(track), limits, is_sum=True))
    found = [(Cell(track.region), Cell(track.half), *head)]
    for pod in track.pods:
        name = Cell(f"  {printable(pod.pod)}", CRITICAL if pod.ready == 0 else WELL)
        found.append((Cell(""), Cell(""), name, Cell(printable(pod.version)), *_figures(pod, limits)))
    return found


def lines(found: Sequence[Row], width: int, colours: bool) -> list[str]:
    """Return the lines of a table. width: of the terminal, 0 for any; columns beyond it are dropped."""
    shown = list(range(len(HEAD)))
    table = [tuple(Cell(name) for name in HEAD), *found]
    widths = [max(len(row[column].text) for row in table) for column in range(len(HEAD))]
    for name in DROPPED:
        if width and sum(widths[column] + len(GAP) for column in shown) - len(GAP) > width:
            shown.remove(HEAD.index(name))
    return [
        _line([(row[column], widths[column], HEAD[column] in LEFT) for column in shown], width, colours, is_head=number == 0)
        for number, row in enumerate(table)
    ]


def duration(seconds: float | None) -> str:
    """Return a time as a person reads it: 0.0123 -> "12 ms", 2.34 -> "2.3 s"."""
    if seconds is None:
        return ""
    return f"{significant(seconds, 2)} s" if seconds >= 1 else f"{significant(seconds * 1000)} ms"


def percent(share: float | None) -> str:
    return "" if share is None else f"{significant(100 * share)} %" if share < 0.01 else f"{100 * share:.0f} %"


def _ready(track: TrackFigures) -> str:
    return f"{track.ready} of {max(track.wanted, len(track.pods))} ready"


def _ready_level(track: TrackFigures) -> str:
    if track.wanted and not track.ready:
        return CRITICAL
    return WARNING if track.ready < track.wanted else WELL


def _total(track: TrackFigures) -> PodFigures:
    """Return a track's figures as one: sums, and of memory and cores the pod that is nearest to its limit."""
    return PodFigures(
        pod="",
        rate=track.sum(lambda pod: pod.rate),
        valid=track.sum(lambda pod: pod.valid),
        errors=track.sum(lambda pod: pod.errors),
        refused=track.sum(lambda pod: pod.refused),
        p50=track.p50,
        p95=track.p95,
        queue_rows=track.sum(lambda pod: pod.queue_rows),
        queue_age=track.most(lambda pod: pod.queue_age),
        memory=track.most(lambda pod: pod.memory_share),
        memory_limit=1.0,
        cores=track.most(lambda pod: pod.cores_share),
        cores_asked=1.0,
        restarts=track.sum(lambda pod: pod.restarts),
    )


def _figures(pod: PodFigures, limits: Limits, is_sum: bool = False) -> tuple[Cell, ...]:
    memory = "" if is_sum or not pod.memory_limit else f" of {readable_bytes(pod.memory_limit)}"
    cores = "" if is_sum or not pod.cores_asked else f" of {pod.cores_asked:g}"
    return (
        Cell(_number(pod.rate)),
        Cell(percent(pod.error_share), level(pod.error_share, limits.errors)),
        Cell(_number(pod.refused), WARNING if pod.refused else WELL),
        Cell(duration(pod.p50), level(pod.p50, limits.latency)),
        Cell(duration(pod.p95), level(pod.p95, limits.latency)),
        Cell(_number(pod.queue_rows), level(pod.queue_age, limits.queue_age)),
        _share(pod.memory_share, limits.memory, memory),
        _share(pod.cores_share, limits.cores, cores),
        Cell(_number(pod.restarts), level(pod.restarts, limits.restarts) if not is_sum else WELL),
    )


def _share(share: float | None, levels: Levels, of: str) -> Cell:
    return Cell(percent(share) + of if share is not None else "", level(share, levels))


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return significant(number)


def _line(cells: Sequence[tuple[Cell, int, bool]], width: int, colours: bool, is_head: bool) -> str:
    line, room = "", width or 10_000
    for cell, wide, left in cells:
        text = (cell.text.ljust(wide) if left else cell.text.rjust(wide))[:room]
        room -= len(text) + len(GAP)
        colour = BOLD if is_head else COLOURS.get(cell.level, "")
        line += (f"{colour}{text}{PLAIN}" if colours and colour and text.strip() else text) + GAP
        if room <= 0:
            break
    return line.rstrip()
