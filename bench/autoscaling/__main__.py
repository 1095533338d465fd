"""`python -m bench.autoscaling`: simulate a week for each way to choose the number of pods, and write docs/autoscaling.md."""

import argparse
import sys

from bench.autoscaling import costs, picture, report, runs, week
from bench.autoscaling.runs import Figures
from bench.sections import AUTOSCALING, page, with_section
from bench.served import BenchError
from bench.work import ROOT
from conf.clusters.regions import load as load_regions
from serving.settings import load

MAKER = "make bench-autoscaling"
PICTURE = ROOT / "docs" / "autoscaling-week.svg"
REGION = "hk"
ABOUT = "Pods over the day of the highest minute, by four ways, above the pods that the load needed"


def main() -> int:
    """Return 0 when the week was simulated."""
    parser = argparse.ArgumentParser(prog="python -m bench.autoscaling", description="A week of load, simulated.")
    parser.add_argument("--costs", action="store_true", help="measure the costs of batches on this machine first")
    parser.add_argument("--week", action="store_true", help="make week.csv again first")
    arguments = parser.parse_args()
    try:
        with_section(page(AUTOSCALING), "", MAKER, AUTOSCALING)  # a mistake in the page should be found before the simulation
        if arguments.costs:
            costs.FILE.write_text(costs.written(costs.measured()), encoding="utf-8")
        if arguments.week:
            week.FILE.write_text(week.written(week.made()), encoding="utf-8")
        found = _figures()
        AUTOSCALING.write_text(with_section(page(AUTOSCALING), report.section(found), MAKER, AUTOSCALING), encoding="utf-8")
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    PICTURE.write_text(_picture(found), encoding="utf-8")
    print(report.section(found))
    return 0


def _figures() -> Figures:
    regions = load_regions(ROOT / "conf" / "regions.yaml")
    value = load(costs.EXAMPLE / "value.py", tuple(regions.regions))
    return runs.figures(value.in_region(REGION), regions.regions[REGION], regions.currency)


def _picture(found: Figures) -> str:
    """Return the picture of the day with the highest minute."""
    begin = int(found.rates.argmax()) // week.MINUTES * week.MINUTES
    day = slice(begin, begin + week.MINUTES)
    pods = {way.title: way.weeks[runs.START].pods[day] for way in found.ways}
    return picture.draw([(title, pods[title]) for title in runs.DRAWN], pods[runs.FOREKNOWN], ABOUT)


if __name__ == "__main__":
    sys.exit(main())
