"""`python -m bench.canary` simulates canaries. Figures go to docs/canary.md. Exits 1 where a floor is not reached."""

import argparse
import sys
import time

from bench.canary import measuring
from bench.canary.canary_report import Figures, floors, write
from bench.canary.measuring import CHANGES, MIXED_BATCH, MIXED_SIZES
from bench.canary.world import NONE, World
from bench.sections import CANARY, page, with_section

RELEASES = 10_000
MAKER = "make bench-canary"
BATCH = 8.0
OTHERS = {
    "pods differ by 20 %": (World(pods_differ=0.2), BATCH),
    "batches of 1, 2, 4, 8, 16 and 32": (World(sizes=MIXED_SIZES), MIXED_BATCH),
    "no batches": (World(sizes=(1,)), 1.0),
    "each pod stands still for two seconds once a step": (World(stalls=1), BATCH),
    "each pod stands still for two seconds once a step, no batches": (World(sizes=(1,), stalls=1), 1.0),
    "pods' speeds differ by 5 %": (World(speeds_differ=0.05), BATCH),
    "pods' speeds differ by 5 %, no batches": (World(sizes=(1,), speeds_differ=0.05), 1.0),
    "pods' speeds differ by 10 %": (World(speeds_differ=0.1), BATCH),
    "pods' speeds differ by 10 %, no batches": (World(sizes=(1,), speeds_differ=0.1), 1.0),
}
GOOD = {
    "no change, 1 % fail": (World(), NONE, BATCH),
    "no change, 0.1 % fail": (World(failing=0.0006), NONE, BATCH),
    "no change, 0.1 % fail, no batches": (World(failing=0.0006, sizes=(1,)), NONE, 1.0),
    "0.51 % more fail than 0.1 %": (World(failing=0.0006), measuring.barely_worse(), BATCH),
}


def figures(releases: int) -> Figures:
    """Return the figures of so many releases, and of fewer where each takes long."""
    few = releases // 40
    alarms = measuring.compared_alarms(World(), BATCH, releases, seed=1)
    _say("false alarms of all judges")
    others = {name: measuring.false_alarms(world, batch, releases, seed=2) for name, (world, batch) in OTHERS.items()}
    _say("false alarms in other worlds")
    changes = tuple(measuring.detection(World(), change, BATCH, releases, seed=3) for change in CHANGES)
    _say("requests until a change is found")
    good = {name: measuring.until_good(world, change, batch, few, seed=4) for name, (world, change, batch) in GOOD.items()}
    _say("requests until the verdict is good")
    return Figures(releases, alarms, others, changes, few, good)


def main() -> int:
    """Return 0 where all floors are reached."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.canary", description=__doc__, epilog="example: python -m bench.canary --releases 500 --print"
    )
    parser.add_argument("--releases", type=int, default=RELEASES, help=f"to simulate (default: {RELEASES})")
    parser.add_argument("--print", action="store_true", help="print the figures, and leave the page alone")
    arguments = parser.parse_args()
    made = figures(max(arguments.releases, 100))
    if arguments.print:
        print(write(made))
    else:
        CANARY.write_text(with_section(page(CANARY), write(made), MAKER, CANARY), encoding="utf-8")
    for about, wanted, found, met in floors(made):
        _say(f"{'met' if met else 'NOT MET'}: {about}: {found}, wanted {wanted}")
    return 0 if all(met for *_, met in floors(made)) else 1


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
