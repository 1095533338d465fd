"""`monopod bench`: measure a running service under load, and report the figures as text or as JSON."""

import asyncio
import json
import resource
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict

from serving.base.terminal import print_mistakes, progress, table
from serving.settings import SettingsError, load
from serving.tools.bench import http_client
from serving.tools.bench.http_client import BenchError, Body, bodies
from serving.tools.bench.load_generator import (
    MAX_IN_FLIGHT,
    AnswerKind,
    BenchFigures,
    Load,
    RunResult,
    Send,
    Spread,
    Tell,
    figures,
    run,
)

PORT = 8080
LATE_MS, LATE_PART = 5.0, 0.1  # a generator that is later than both (p99) is a warning; LATE_PART is of the answers' p99
BUSY = 0.9  # of a core
COLUMNS = ("", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms")


def bench_command(arguments: Namespace) -> int:
    """Print the figures. Return 0 where at least one answer was 2xx, 130 where Ctrl-C ended the run, else 1."""
    try:
        given, headers = _given(arguments), dict(map(_header, arguments.header))
        url, sent = _asked(arguments, headers, given)
    except (BenchError, SettingsError, OSError) as error:
        told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print_mistakes(told, arguments.json)
        return 1
    rate = arguments.rate or 0.0
    asked = Load(0 if rate else arguments.concurrency, rate, arguments.seconds, arguments.warm_up)
    _allow_many_files()
    with progress(asked.warm_up + asked.seconds, "bench", " s") as tell:
        result = asyncio.run(_measure(http_client.client(url, sent, headers, arguments.timeout, arguments.vary), asked, tell))
    found, request = figures(result), f"{'POST' if sent else 'GET'} {http_client.without_password(url)}"
    print((as_json if arguments.json else as_text)(found, asked, request), end="")
    return 130 if result.stopped else 0 if found.good else 1


async def _measure(sender: AbstractAsyncContextManager[Send], asked: Load, tell: Tell) -> RunResult:
    async with sender as send:
        return await run(send, asked, tell)


def _given(arguments: Namespace) -> list[Body]:
    """Return the bodies of the requests. Raises BenchError where --vary has no picture, and as `bodies` does."""
    found = bodies(arguments.file, arguments.data, arguments.form)
    if arguments.vary and all(len(body.pieces) == 1 for body in found):
        raise BenchError("--vary: makes each picture a new file, but no picture is sent; leave it out")
    return found


def _asked(arguments: Namespace, headers: Mapping[str, str], given: list[Body]) -> tuple[str, list[Body]]:
    """Return the URL to ask, and the bodies: the service's own route and example where it tells them. Raises BenchError.

    An application tells no example, and gets a GET where no body is given.
    """
    url = _own_url(arguments) if arguments.url is None else arguments.url
    http_client.reach(url)
    try:
        url, content = http_client.own_route(url, headers)
    except BenchError:
        if not given and arguments.url is None:
            raise
        return url, given  # another route, or another server
    return url, given or ([http_client.example(content)] if content else [])


def _own_url(arguments: Namespace) -> str:
    settings = load(arguments.service / "value.py", None).settings
    return f"http://localhost:{PORT}/api/{settings.username}/{settings.service_name}"


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not name.strip() or not colon or not line.isprintable():
        raise BenchError(f"--header {line!r}: write 'Name: value'")
    return name.strip(), value.strip()


def _allow_many_files() -> None:
    """Raise the soft limit on open files, often 1024, to the hard limit: each in-flight request holds a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def as_text(found: BenchFigures, load: Load, request: str) -> str:
    """Return what was refused, a heading, a table with a line for each kind of end, and notes. request: its method and URL."""
    heading = f"{request}, {about(load)}"
    rows = table(COLUMNS, [_row(kind) for kind in found.kinds], right=COLUMNS[1:])
    lines = [*_refused(found), heading, "", rows]
    lines += [f"{found.throughput:.1f} answers of 2xx a second; the generator was {found.late_p99_ms:.1f} ms late (p99)"]
    return "\n".join([*lines, *(f"note: {note}" for note in notes(found, load) if note not in lines)]) + "\n"


def as_json(found: BenchFigures, load: Load, request: str) -> str:
    """Return the figures, the load and the notes as a JSON object."""
    whole = {"request": request, "load": asdict(load), **asdict(found), "notes": notes(found, load)}
    return json.dumps(whole, indent=2) + "\n"


def about(load: Load) -> str:
    many = "1 connection" if load.concurrency == 1 else f"{load.concurrency} connections"
    how = f"{load.rate:g} requests a second" if load.rate else many
    return f"{how}, {load.seconds:g} s after {load.warm_up:g} s of warm-up"


def notes(found: BenchFigures, load: Load) -> list[str]:
    """Return what a reader must know before believing the figures."""
    return [*_stopped(found, load), *_refused(found), *_not_sent(found, load), *_late(found)]


def _stopped(found: BenchFigures, load: Load) -> Iterator[str]:
    if found.stopped:
        words = f"stopped after {found.seconds:.1f} of {load.seconds:g} s"
        yield f"{words}; {found.unfinished} requests had no answer yet" if found.unfinished else words
    if not found.requests:
        yield "nothing was measured: no request that was due after the warm-up has ended"
    elif not found.good:
        yield "no answer was 2xx: nothing here says how fast the service is"
    elif found.good < found.requests:
        yield "percentiles are of each line alone: those of 2xx do not hold what was refused or had no answer"


def _refused(found: BenchFigures) -> Iterator[str]:
    for kind in found.kinds:
        if kind.name.isdecimal() and not kind.name.startswith("2"):
            told = f"; the first said: {kind.text}" if kind.text else " and said nothing"
            yield f"{kind.count} of {found.requests} answers were {kind.name}{told}"
        elif not kind.name.isdecimal():
            yield f"{kind.count} of {found.requests} requests had no answer: {kind.name}"


def _not_sent(found: BenchFigures, load: Load) -> Iterator[str]:
    if found.not_sent:
        due = found.not_sent + found.requests + found.unfinished
        words = f"{found.not_sent} of {due} requests were due and not sent, since {MAX_IN_FLIGHT} had no answer yet"
        yield f"{words}: the service does not keep up with {load.rate:g} a second"


def _late(found: BenchFigures) -> Iterator[str]:
    late = found.late_p99_ms > max(LATE_MS, LATE_PART * (found.ms.p99 if found.ms else 0))
    if late or found.cpu > BUSY:
        yield (
            f"the generator itself was late: {found.late_p99_ms:.1f} ms (p99), while it used {found.cpu:.0%} of a core; it is "
            "in the latencies. Ask for less, or run it where a core is free"
        )


def _row(kind: AnswerKind) -> tuple[str, ...]:
    return (kind.name, str(kind.count), *_cells(kind.ms))


def _cells(ms: Spread) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in (ms.p50, ms.p95, ms.p99, ms.max))
