"""`python -m bench.examples`: measure every `monopod bench` line of the examples' READMEs, and write the figures below them."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import machine, speed
from bench.machine import Machine
from bench.report import table
from bench.served import BenchError, serve
from bench.work import ROOT
from serving.settings import SettingsError, load

HEAD = ["request", "sends", "load", "answers a second", "p50, ms", "p95, ms", "p99, ms", "most, ms", "refused or failed"]


def main() -> int:
    """Return 0 when all was measured and written."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.examples",
        description="Measure the examples.",
        epilog="example: python -m bench.examples --service examples/moderation",
    )
    parser.add_argument("--service", type=Path, metavar="DIR", help="this one alone")
    alone = parser.parse_args().service
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM then ends the started processes, as Ctrl-C does
    folders = [alone.resolve()] if alone else sorted(path.parent for path in ROOT.glob("examples/*/value.py"))
    try:
        for folder in folders:
            write(folder, machine.here())
    except (BenchError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def write(folder: Path, here: Machine) -> None:
    """Measure one example and write its README."""
    readme = folder / "README.md"
    lines, found = speed.lines(readme), []
    settings = load(folder / "value.py", None).settings
    own = f"/api/{settings.username}/{settings.service_name}"
    with serve(folder) as server:
        for line in lines:
            print(f"{time.strftime('%H:%M:%S')} {settings.service_name}: {line}", flush=True)
            found.append(speed.told(speed.start(line, server.url, own)))
            for note in found[-1]["notes"]:
                print(f"  note: {note}")
            if not found[-1]["good"]:
                raise BenchError(f"{readme}: no answer was 2xx; nothing was written")
    figures = as_text(lines, found, here, own)
    readme.write_text(speed.with_figures(readme.read_text(encoding="utf-8"), figures), encoding="utf-8")
    print(figures)


def as_text(lines: Sequence[str], found: Sequence[dict[str, Any]], here: Machine, own: str) -> str:
    """Return the machine's line and a table with a row for each bench line. own: the service's path, shown by its last part."""
    on = f"{speed.MEASURED}{here.date}: {here.cores} cores ({here.processor}), {here.system}, server and client sharing them."
    rows = [_row(line, one, own.rpartition("/")[0]) for line, one in zip(lines, found, strict=True)]
    return f"{on}\n\n" + table(HEAD, rows)


def _row(line: str, found: dict[str, Any], user: str) -> list[str]:
    method, _, url = found["request"].partition(" ")
    path = urlsplit(url).path.removeprefix(user)
    others = [f"{kind['count']} x {kind['name']}" for kind in found["kinds"] if not kind["name"].startswith("2")]
    others += [f"{found['not_sent']} x not sent"] if found["not_sent"] else []
    numbers = [f"{found['throughput']:.1f}", *(f"{found['ms'][name]:.1f}" for name in ("p50", "p95", "p99", "max"))]
    sent = speed.sends(line).replace("|", "\\|")
    return [f"{method} {path}", sent, speed.about(found), *numbers, ", ".join(others) or "none"]


if __name__ == "__main__":
    sys.exit(main())
