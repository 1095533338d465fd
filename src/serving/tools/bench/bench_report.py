"""The report of `monopod bench`: figures as text, and as JSON.

Knows words, and when figures need a warning. Does not know how they were measured.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict

from serving.tools.bench.figures import Figures, Kind, Spread
from serving.tools.bench.load_generator import MOST_IN_FLIGHT, Load

LATE_MS, LATE_PART = 5.0, 0.1  # a generator that is later than both (p99) is a warning; LATE_PART is of the answers' p99
BUSY = 0.9  # of a core
HEAD = ("", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms")


def as_text(found: Figures, load: Load, request: str) -> str:
    """Return what was refused, a heading, a table with a line for each kind of end, and notes. request: its method and URL."""
    lines = [*_refused(found), f"{request}, {about(load)}", "", *_table([HEAD, *(_row(kind) for kind in found.kinds)]), ""]
    lines += [f"{found.throughput:.1f} answers of 2xx a second; the generator was {found.late_p99_ms:.1f} ms late (p99)"]
    return "\n".join([*lines, *(f"note: {note}" for note in notes(found, load) if note not in lines)]) + "\n"


def as_json(found: Figures, load: Load, request: str) -> str:
    """Return the figures, the load and the notes as a JSON object."""
    whole = {"request": request, "load": asdict(load), **asdict(found), "notes": notes(found, load)}
    return json.dumps(whole, indent=2) + "\n"


def about(load: Load) -> str:
    many = "1 connection" if load.concurrency == 1 else f"{load.concurrency} connections"
    how = f"{load.rate:g} requests a second" if load.rate else many
    return f"{how}, {load.seconds:g} s after {load.warm_up:g} s of warm-up"


def notes(found: Figures, load: Load) -> list[str]:
    """Return what a reader must know before believing the figures."""
    return [*_stopped(found, load), *_refused(found), *_not_sent(found, load), *_late(found)]


def _stopped(found: Figures, load: Load) -> Iterator[str]:
    if found.stopped:
        words = f"stopped after {found.seconds:.1f} of {load.seconds:g} s"
        yield f"{words}; {found.unfinished} requests had no answer yet" if found.unfinished else words
    if not found.requests:
        yield "nothing was measured: no request that was due after the warm-up has ended"
    elif not found.good:
        yield "no answer was 2xx: nothing here says how fast the service is"
    elif found.good < found.requests:
        yield "percentiles are of each line alone: those of 2xx do not hold what was refused or had no answer"


def _refused(found: Figures) -> Iterator[str]:
    for kind in found.kinds:
        if kind.name.isdecimal() and not kind.name.startswith("2"):
            told = f"; the first said: {kind.text}" if kind.text else " and said nothing"
            yield f"{kind.count} of {found.requests} answers were {kind.name}{told}"
        elif not kind.name.isdecimal():
            yield f"{kind.count} of {found.requests} requests had no answer: {kind.name}"


def _not_sent(found: Figures, load: Load) -> Iterator[str]:
    if found.not_sent:
        due = found.not_sent + found.requests + found.unfinished
        words = f"{found.not_sent} of {due} requests were due and not sent, since {MOST_IN_FLIGHT} had no answer yet"
        yield f"{words}: the service does not keep up with {load.rate:g} a second"


def _late(found: Figures) -> Iterator[str]:
    late = found.late_p99_ms > max(LATE_MS, LATE_PART * (found.ms.p99 if found.ms else 0))
    if late or found.cpu > BUSY:
        yield (
            f"the generator itself was late: {found.late_p99_ms:.1f} ms (p99), while it used {found.cpu:.0%} of a core; it is "
            "in the latencies. Ask for less, or run it where a core is free"
        )


def _row(kind: Kind) -> tuple[str, ...]:
    return (kind.name, str(kind.count), *_cells(kind.ms))


def _cells(ms: Spread) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in (ms.p50, ms.p95, ms.p99, ms.max))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    return [
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
        for name, *cells in rows
    ]
