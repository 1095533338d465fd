"""`monopod top`: a table of regions and pods that is drawn again while it runs. The only module that imports rich.

Concurrency: each question works on a thread of its own, one at a time, so that a slow server delays no key. The thread is a
daemon: the end of the program does not wait for it. The drawing thread takes its result once it has ended.
"""

import json
import os
import select
import sys
import termios
import time
import tty
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from conf.base.console import printable, prints_mistakes
from conf.base.quantities import duration, percent, readable_bytes, significant
from conf.commands.health_command import track_records
from conf.commands.observed_tracks import observed_tracks, with_arms
from conf.observe.figures import ObservedTrack, PodFigures, Sources, TrackFigures
from conf.observe.health import CRITICAL, WARNING, WELL, Levels, Limits, level, limits_of, reasons
from conf.remote.parallel import asked

WINDOW = 120  # seconds that rates and quantiles of Prometheus are about: eight scrapes
HEAD = ("region", "track", "pods", "version", "req/s", "5xx", "429/s", "p50", "p95", "queue", "memory", "cores", "restarts/h")
LEFT = {"region", "track", "pods", "version"}  # aligned at the left
DROPPED = ("version", "429/s", "p50", "restarts/h", "queue", "5xx", "cores")  # on a narrow terminal, the first one first
STYLES = {WARNING: "yellow", CRITICAL: "bold red"}
ANY_WIDTH = 10_000  # columns, where no terminal limits them
KEY_SECONDS = 0.2  # between two looks at the keyboard, the terminal's size and the answer


class Cell(NamedTuple):
    """A text and its level of concern."""

    text: str
    level: str = WELL


@prints_mistakes
def top_command(arguments: Namespace) -> int:
    """Draw the table until q, or print it once where stdout is not a terminal."""
    observed = with_arms(observed_tracks(arguments))
    ask = partial(Sources([each.region for each in observed], WINDOW).ask, observed)
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    is_drawn = is_terminal and not arguments.once
    has_colours = is_terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
    console = Console(width=None if is_drawn else ANY_WIDTH, color_system="standard" if has_colours else None)
    if arguments.json:
        print(json.dumps(track_records(observed, ask()), indent=2))
    elif is_drawn:
        _watch(observed, ask, arguments.every, console)
    else:
        with console.capture() as captured:
            console.print(page(observed, ask(), console))
        print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))
    return 0


def page(observed: Sequence[ObservedTrack], found: Sequence[TrackFigures], console: Console) -> RenderableType:
    """Return the table, and below it the reasons and the notes."""
    shown = [(track, limits_of(each.settings, each.offline)) for each, track in zip(observed, found, strict=True)]
    shown = [(track, limits) for track, limits in shown if track.is_there]
    if not shown:
        return _line("no track has a pod: `monopod status` says what was deployed")
    below = [
        f"{track.region}, {track.workload}: {reason.level}: {reason.words}"
        for track, limits in shown
        for reason in reasons(track, limits)
    ]
    below += dict.fromkeys(f"{track.region}: {track.unseen}" for track, _ in shown if track.unseen)
    table = fitting_table([row for track, limits in shown for row in rows(track, limits)], console)
    return Group(table, *([_line("")] if below else []), *(_line(printable(each)) for each in below))


def rows(track: TrackFigures, limits: Limits) -> list[tuple[Cell, ...]]:
    """Return a row for a track, and one for each of its pods."""
    versions = ", ".join(sorted({pod.version for pod in track.pods if pod.version}))
    if track.trouble and not track.pods:
        head = (Cell("unknown", WARNING), *[Cell("")] * (len(HEAD) - 3))
    else:
        is_short = track.ready < track.wanted
        ready = Cell(
            f"{track.ready} of {max(track.wanted, len(track.pods))} ready",
            CRITICAL if is_short and not track.ready else WARNING if is_short else WELL,
        )
        head = (ready, Cell(printable(versions)), *_figures(_total(track), limits, is_sum=True))
    found = [(Cell(track.region), Cell(track.workload), *head)]
    for pod in track.pods:
        name = Cell(f"  {printable(pod.pod)}", CRITICAL if pod.ready == 0 else WELL)
        found.append((Cell(""), Cell(""), name, Cell(printable(pod.version)), *_figures(pod, limits)))
    return found


def fitting_table(found: Sequence[Sequence[Cell]], console: Console) -> Table:
    """Return rows under HEAD. Columns of DROPPED are left out until the others fit the console's width."""
    for dropped in range(len(DROPPED) + 1):
        shown = [number for number, name in enumerate(HEAD) if name not in DROPPED[:dropped]]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number in shown:
            table.add_column(HEAD[number], justify="left" if HEAD[number] in LEFT else "right", no_wrap=True, overflow="crop")
        for row in found:
            table.add_row(*(Text(row[number].text, STYLES.get(row[number].level, "")) for number in shown))
        if Measurement.get(console, console.options.update(width=ANY_WIDTH), table).maximum <= console.width:
            break
    return table


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="crop")


def _total(track: TrackFigures) -> PodFigures:
    """Return a track's figures as one: sums, and of memory and cores the pod that is nearest to its limit."""
    return PodFigures(
        "",
        rate=track.sum("rate"),
        valid=track.sum("valid"),
        errors=track.sum("errors"),
        refused=track.sum("refused"),
        p50=track.p50,
        p95=track.p95,
        queue_rows=track.sum("queue_rows"),
        queue_age=track.most("queue_age"),
        memory=track.most("memory_share"),
        memory_limit=1.0,
        cores=track.most("cores_share"),
        cores_asked=1.0,
        restarts=track.sum("restarts"),
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
    return "" if number is None else significant(number)


def _watch(observed: Sequence[ObservedTrack], ask: Callable[[], list[TrackFigures]], every: float, console: Console) -> None:
    """Draw until q is pressed. every: the least seconds from one question to the next. Raises what `ask` raises."""
    names = observed[0].settings
    head = _line(f"{names.service_name} of {names.username}, every {every:g} s; q ends")
    found: list[TrackFigures] | None = None
    answer: Future[list[TrackFigures]] | None = None
    due = 0.0
    drawn: object = None
    with _keys() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        while key(KEY_SECONDS if drawn else 0.0) not in ("q", "Q"):
            if answer is None and time.monotonic() >= due:
                answer, due = asked(ask), time.monotonic() + every
            if answer is not None and answer.done():
                found, answer = answer.result(), None
            if (id(found), console.size) != drawn:
                below = _line("asking …") if found is None else page(observed, found, console)
                live.update(_cropped(Group(head, _line(""), below), console), refresh=True)
                drawn = (id(found), console.size)


def _cropped(whole: RenderableType, console: Console) -> SegmentLines:
    """Return the lines that the console has room for, the last of which tells how many are left out."""
    lines, height = console.render_lines(whole, pad=False), console.height
    if len(lines) > height:
        more = _line(f"… and {len(lines) - height + 1} more lines: make the window higher, or use --once")
        lines = [*lines[: height - 1], *console.render_lines(more, pad=False)]
    return SegmentLines(lines, new_lines=True)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that returns the key that is pressed within some seconds, "" for none."""

    def key(seconds: float) -> str:
        if not is_terminal:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else ""

    is_terminal = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if is_terminal else []
    try:
        if is_terminal:
            tty.setcbreak(sys.stdin)
        yield key
    finally:
        if is_terminal:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
