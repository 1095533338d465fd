"""`python -m bench`: measure the server against a bare loop, write docs/performance.md, and say which targets are met."""

import argparse
import os
import subprocess
import sys
import time

from bench import lifecycle, machine, pressure, report, throughput, tools
from bench.sections import PERFORMANCE, page, with_section
from bench.served import BenchError
from bench.work import digits_binary, digits_json, image

MAKER = "make bench"


def main() -> int:
    """Return 0 when all was measured, whether or not every target is met: figures are for people to judge.

    Return machine.NOT_QUIET where others used the cores meanwhile, and nothing is kept.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="The server against a bare loop.", epilog="example: python -m bench --quick"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less than two minutes, for trying out: prints, and writes nothing"
    )
    quick = parser.parse_args().quick
    if words := tools.missing():
        print("\n".join(words), file=sys.stderr)
        return 1
    began = time.monotonic()
    try:
        with_section(page(PERFORMANCE), "", MAKER, PERFORMANCE)  # a mistake in the page should be found before the measurement
        before = machine.usage()
        text = report.write(found := measure(quick))
        noise = before.noise(machine.usage(), [os.getpid()])
    except (BenchError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if quick or not noise.quiet:
        print(text)
    else:
        PERFORMANCE.write_text(with_section(page(PERFORMANCE), text, MAKER, PERFORMANCE), encoding="utf-8")
    for about, wanted, value, met in report.verdicts(found):
        print(f"{'met   ' if met else 'MISSED'}  {about}: {value} ({wanted})")
    print(f"took {time.monotonic() - began:.0f} s")
    if not noise.quiet:
        print(f"THE MACHINE WAS NOT QUIET, so nothing is kept: {noise}", file=sys.stderr)
        return machine.NOT_QUIET
    return 0


def measure(quick: bool) -> report.Figures:
    """Measure one part after the other; nothing else of ours runs meanwhile."""
    here = machine.here()
    tools.build()
    rounds, seconds = (1, 2) if quick else (7, 3)
    say("throughput of the image model")
    speeds = [throughput.measure(image(), rounds, seconds - 1, seconds)]
    say("throughput of digits")
    speeds += [throughput.measure(work(), rounds if quick else 5, 1, 2) for work in (digits_json, digits_binary)]
    say("pings")
    pings = pressure.pings(image(), 1 if quick else 3, 3 if quick else 5)
    say("overload")
    overload = pressure.overload(image(), 1 if quick else 3, seconds, 5 if quick else 20)
    say("start and memory")
    life = lifecycle.measure(image(), 1 if quick else 5, seconds)
    return report.Figures(here, speeds, pings, overload, life)


def say(part: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {part} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
