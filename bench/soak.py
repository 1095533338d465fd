"""`python -m bench.soak` loads each service under its memory limit, and writes the figures to docs/soak.md.

Fails where memory keeps growing, where the limit kills the service, or where a request fails with another error than 429.
"""

import argparse
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import machine, speed
from bench.cgroup import Group, group
from bench.report import table
from bench.served import BenchError, Served, serve
from bench.work import ROOT
from serving.settings import Settings, SettingsError, load, size_in_bytes

SECONDS = 60.0
SAMPLE_SECONDS = 0.2
GROWTH_MB = 8.0  # between the second quarter and the last; docs/soak.md argues it
RUNS = 2  # at most; a service runs again where its memory grows in the first run
REFUSED = "429"
LOG_LINES = 5  # lines shown of the log of a service that ended
ROOT_LINE = "--file examples/images/coffee.jpg --concurrency 8"  # the root's README has no Speed block
INTRO = """# Soak

<!-- Made by `make soak`; do not edit. -->

After reading this page you can say how much memory each service holds under load, and whether any of them leaks.

{machine}

Each service runs in a control group that holds no more than its `memory`, as its pod would. The first line of its
README's `## Speed` block loads it for {seconds:g} s. Memory is what the process holds (resident, shared libraries
included), in MB, sampled five times a second. A service *holds* when both of these are true:

- Nothing was killed for want of memory, and no request failed but by 429.
- The median of the last quarter's memory is at most {growth:g} MB above the median of the second quarter.

The first quarter is left out, because buffers, thread stacks and malloc's arena grow to the size that the load needs. A single
large request does not change the median of a quarter. The growth that is allowed is for an arena whose size still varies where
requests differ in size.

The two medians lie half a run apart. So a service with 100 requests a second fails if it keeps {kept} KB of each. The
column *fails from* has the least leak a request that fails, by the number of a service's answers. A service that grows
more is loaded for as long again, and then that run decides. A buffer that fills slowly comes to an end, and a leak does
not.

"""
HEAD = ["service", "load", "requests", "answered", "refused", "p99, ms", "limit"]
LAST = ["grows", "fails from", "verdict"]


@dataclass(frozen=True)
class Row:
    """One service. Memory in MB: limit, after each quarter of the load, and grows between the second's and the last's median.

    failures: why it does not hold, in words.
    """

    service: str
    load: str
    requests: int = 0
    answered: int = 0
    refused: int = 0
    p99: float = 0.0
    limit: float = 0.0
    quarters: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    grows: float = 0.0
    failures: tuple[str, ...] = ()


def main() -> int:
    """Return 0 when every service holds."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, epilog="example: python -m bench.soak --service examples/moderation"
    )
    parser.add_argument("--seconds", type=float, help=f"of load on each (default: {SECONDS:g})")
    parser.add_argument("--service", type=Path, metavar="DIR", help="this one alone")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM then ends the started processes, as Ctrl-C does
    seconds, alone = arguments.seconds or SECONDS, arguments.service
    try:
        here = machine.here()
        lines = {folder.resolve(): load_of(folder.resolve()) for folder in ([alone] if alone else services())}
        rows = [soak(folder, line, seconds) for folder, line in lines.items()]
    except (BenchError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    kept = math.ceil(least_leak(100 * seconds))
    text = INTRO.format(machine=here, seconds=seconds, growth=GROWTH_MB, kept=kept) + as_table(rows, seconds)
    if alone or arguments.seconds:
        print(as_table(rows, seconds))  # a trial is not for the docs
    else:
        (ROOT / "docs" / "soak.md").write_text(text, encoding="utf-8")
    for row in rows:
        print(f"{row.service}: {verdict(row)}")
    return 1 if any(row.failures for row in rows) else 0


def services() -> list[Path]:
    """Return the root and every example."""
    return [ROOT, *sorted(path.parent for path in ROOT.glob("examples/*/value.py"))]


def load_of(folder: Path) -> str:
    """Return the bench line that loads a service. Raises BenchError where its README has none."""
    return ROOT_LINE if folder == ROOT else speed.lines(folder / "README.md")[0]


def soak(folder: Path, line: str, seconds: float) -> Row:
    """Serve a folder under its memory limit and load it. Raises BenchError where no limit can be set."""
    settings = load(folder / "value.py", None).settings
    print(f"{time.strftime('%H:%M:%S')} {settings.service_name} ...", flush=True)
    own = f"/api/{settings.username}/{settings.service_name}"
    with group(f"monopod-soak-{settings.service_name}", size_in_bytes(settings.memory)) as held:
        try:
            with serve(folder, held.command) as server:
                for _ in range(RUNS):
                    run = speed.start(line, server.url, own, f"--seconds={seconds}")
                    samples = watch(run, held.resident)
                    row = judge(settings, speed.told(run), samples, held.kills(), _ended(held, server))
                    if row.failures or row.grows <= GROWTH_MB:
                        return row
                return replace(row, failures=(f"its memory grows by {row.grows:.0f} MB, at most {GROWTH_MB:g} are allowed",))
        except BenchError as error:
            why = f"over its memory of {settings.memory} it was killed; " if held.kills() else ""
            return Row(settings.service_name, line, failures=(f"{why}{error}",))


def watch(run: "subprocess.Popen[str]", resident: Callable[[], float]) -> list[float]:
    """Return samples of the memory, in MB, while a load runs."""
    samples = []
    try:
        while run.poll() is None:
            samples.append(resident())
            time.sleep(SAMPLE_SECONDS)
    finally:
        run.terminate()  # after Ctrl-C the load would go on alone
    return samples


def judge(settings: Settings, found: dict[str, Any], samples: Sequence[float], kills: int, ended: str) -> Row:
    """Return a service's row. Its failures leave out growth, which a single run cannot prove.

    found: the figures of bench. samples: MB, at even times. ended: how the service's process ended, or "".
    """
    bad = [kind for kind in found["kinds"] if not kind["name"].startswith("2") and kind["name"] != REFUSED]
    failures = [f"{kind['count']} requests ended with {kind['name']} {kind['text']}".strip() for kind in bad]
    if kills:
        failures.insert(0, f"over its memory of {settings.memory} it was killed")
    elif ended:
        failures.insert(0, ended)
    if not found["good"]:
        failures.append("no request was answered")
    refused = sum(kind["count"] for kind in found["kinds"] if kind["name"] == REFUSED)
    p99 = found["ms"]["p99"] if found["ms"] else 0.0
    limit = size_in_bytes(settings.memory) / 1e6
    memory = (limit, quarters(samples), growth(samples))
    counts = (found["requests"], found["good"], refused)
    return Row(settings.service_name, speed.about(found), *counts, p99, *memory, tuple(failures))


def quarters(samples: Sequence[float]) -> tuple[float, ...]:
    """Return the memory at the end of each quarter: the median of its last tenth."""
    ends = [len(samples) * number // 4 for number in range(1, 5)]
    tenth = max(1, len(samples) // 40)
    return tuple(statistics.median(samples[max(0, end - tenth) : max(1, end)]) for end in ends)


def growth(samples: Sequence[float]) -> float:
    """Return the growth from the median of the second quarter to the median of the last, MB."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter] or samples[:1])


def least_leak(answered: float) -> float:
    """Return the least leak of each request, in KB, that fails. answered: requests, half of which lie between the medians."""
    return GROWTH_MB * 1000 / (answered / 2)


def as_table(rows: Sequence[Row], seconds: float) -> str:
    after = [f"after {seconds * number / 4:g} s" for number in range(1, 5)]
    return table([*HEAD, *after, *LAST], [_cells(row) for row in rows])


def verdict(row: Row) -> str:
    return "**fails**: " + "; ".join(row.failures) if row.failures else "holds"


def _cells(row: Row) -> list[str]:
    counts = [str(count) for count in (row.requests, row.answered, row.refused)]
    memory = [f"{value:.0f}" for value in (row.limit, *row.quarters)]
    leak = f"{least_leak(row.answered):.0f} KB" if row.answered else "-"
    return [row.service, row.load, *counts, f"{row.p99:.1f}", *memory, f"{row.grows:+.1f}", leak, _in_a_cell(verdict(row))]


def _in_a_cell(words: str) -> str:
    return " ".join(words.replace("|", "/").split())


def _ended(held: Group, server: Served) -> str:
    """Return how a service ended under load, or "" where it did not."""
    if held.resident():
        return ""
    last = " / ".join(server.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return f"its process ended; it said last: {last}"


if __name__ == "__main__":
    sys.exit(main())
