"""`python -m bench.spent`: sample what a small request's time is spent on, and write that into docs/performance.md.

Python runs one thread at a time, the one that holds the interpreter's lock. The
cost of a request is the time for which each part of the server holds that lock. py-spy reads the stack of the holder, some
hundred times a second.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import machine, process, sections, tools, trees
from bench.report import table
from bench.served import HERE, BenchError, Tree, serve
from bench.spent_parts import shares
from bench.work import Work, digits_json

MAKER = "make bench-spent"
CONNECTIONS = 32
SECONDS = 10
RATE = 200  # samples a second
ABOUT = """## What a small request's time is spent on

The request is {about}, from {connections} connections.
Python runs one thread at a time, the one that holds the interpreter's lock. The table has the microseconds of processor time
that an answer costs. It divides them as samples of the thread that holds the lock divide: {rate} a second, over {seconds} s.
Both were measured one after the other, on {cores} cores.
"""


@dataclass(frozen=True)
class Spent:
    """The microseconds of processor time that an answer costs, and each part's share of them."""

    cost: float
    shares: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.spent", description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", metavar="COMMIT_OR_FOLDER", help="another state of this project, measured as `before`")
    given, began = parser.parse_args().tree, machine.usage()
    try:
        with contextlib.ExitStack() as stack:
            tree = stack.enter_context(trees.older(given)) if given else None
            before = measure(digits_json(), tree) if tree else None
            text = section(digits_json(), measure(digits_json(), HERE), before)
        print(text)
        if not (noise := began.noise(machine.usage(), [os.getpid()])).quiet:
            print(f"THE MACHINE WAS NOT QUIET, so nothing is kept: {noise}", file=sys.stderr)
            return machine.NOT_QUIET
        sections.PERFORMANCE.write_text(
            sections.with_section(sections.page(sections.PERFORMANCE), text, MAKER, sections.PERFORMANCE), encoding="utf-8"
        )
    except (BenchError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def measure(work: Work, tree: Tree) -> Spent:
    """Load a checkout's server: first for what an answer costs, then for the samples, since sampling slows it."""
    program = Path(sys.executable).with_name("py-spy")
    if not program.is_file():
        raise BenchError(f"{program} is missing; install it with: make .venv/dev")
    with serve(work.folder, tree=tree) as server:
        tools.closed(server.url, work, CONNECTIONS, 1)
        used = process.cpu(server.pid)
        load = tools.closed(server.url, work, CONNECTIONS, SECONDS)
        cost = (process.cpu(server.pid) - used).total / (load.rate * load.seconds)
        with tools.wrk(server.url, work, CONNECTIONS, SECONDS + 2), tempfile.NamedTemporaryFile("r") as samples:
            command = ["py-spy", "record", "--pid", str(server.pid), "--gil", "--format", "raw", "--output", samples.name]
            command += ["--rate", str(RATE), "--duration", str(SECONDS)]
            told = subprocess.run([str(program), *command[1:]], capture_output=True, text=True, timeout=SECONDS + 60)
            if told.returncode:
                raise BenchError(f"py-spy took no samples: {told.stderr.strip()}")
            return Spent(cost * 1e6, shares(samples))


def section(work: Work, now: Spent, before: Spent | None) -> str:
    """Return the page's section. before: of an older checkout, None where none was measured."""
    columns = [now] if before is None else [before, now]
    head = ["microseconds an answer", *(["before"] if before else []), "now"]
    rows = [[part, *(f"{one.cost * one.shares[part]:.0f}" for one in columns)] for part in now.shares]
    rows.append(["**all**", *(f"**{one.cost:.0f}**" for one in columns)])
    about = ABOUT.format(about=work.about, connections=CONNECTIONS, rate=RATE, seconds=SECONDS, cores=os.cpu_count())
    return about + "\n" + table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
