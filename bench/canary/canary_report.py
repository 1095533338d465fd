"""Writes the figures of `make bench-canary`, a section of docs/canary.md."""

import math
from dataclasses import dataclass

from bench.canary.measuring import LONG_LOOKS, LONG_STEP, Detection, Worse
from bench.canary.world import LOOKS, PODS, RATE, SCRAPE_SECONDS, STEPS
from bench.report import table

MAX_ALARMS, MAX_TIMES = 0.01, 2.0
INTRO = """## Figures

The releases are simulated, with the judge's own code. A service of {pods} pods gets {rate:.0f} requests a second in batches of
eight, which fail, are refused or are slow as a whole. Steps of {steps} % last {minutes:.0f} minutes and are looked at every
{scrape:.0f} s. Each pod has a factor on its bad shares, with a standard deviation of 10 %. In bursts of a minute, one a step on
average, the traffic doubles and bad shares grow up to twentyfold. Of all requests 1 % fail and 0.2 % are refused. Latencies are
log-normal with a median of 40 ms, and the histogram's bounds are the platform's.
"""
ALARMS = """### Releases without a change that are called worse

All judges see the same {releases:,} releases, and judge all metrics and steps.
"""
WORDS_ALARMS = """
- *Fixed-size tests* compare both arms at each step's end, each metric with an error of 1 %.
- The *Mann-Whitney gate* compares the bad shares of single scrapes by their ranks, with the same error.
- *Fixed thresholds* check the last minute once a minute. A check fails where a share is over the known one by one percentage
  point for errors and refusals, or by the margin of the latency. Five failed checks end the release.

The platform's judge meets less kind worlds in as many releases each:
"""
DETECTION = """### Requests until a change is found

Each change is in {releases:,} releases, in a step of {step} % that lasts until it is found. The table has the requests of both
arms together, in the median. Nine tenths of the releases need the number in brackets.
"""
FIXED = """
A fixed-size test looks once, at a number of requests that was chosen beforehand, and finds the change with a power of 80 %. The
metric that needs the fewest requests counts. All of these tests count a batch once. The median of the
platform's judge, as a multiple of them, stands in brackets.
"""
WORDS_FIXED = """
- *Same promise*: with the tolerance, and with an error of 1 % over all metrics and steps. This is the floor's test.
- *One metric, one look*: with the tolerance, and with an error of 1 % for the metric that changed.
- *Without tolerance*: the same, for any difference at all. The first table shows how often that calls equal versions worse.
"""
GOOD = """### Requests until the verdict is good

Each row has {releases:,} releases, in a step of {step} % that ends after {minutes:.0f} minutes. Requests are those of both
arms. The canary of the last row is a little worse than its margin of half a percentage point allows.
"""


@dataclass(frozen=True)
class Figures:
    """The figures of one run. alarms: of all judges. others: a world's name -> alarms. good: a world's name -> requests."""

    releases: int
    alarms: dict[str, int]
    others: dict[str, int]
    changes: tuple[Detection, ...]
    good_releases: int
    good: dict[str, Worse]


def write(figures: Figures) -> str:
    """Return the section's text."""
    world = {"pods": PODS, "rate": RATE, "minutes": LOOKS * SCRAPE_SECONDS / 60, "scrape": SCRAPE_SECONDS}
    long_minutes = LONG_LOOKS * SCRAPE_SECONDS / 60
    parts = [INTRO.format(steps=", ".join(map(str, STEPS)), **world), _floors(figures)]
    parts += [ALARMS.format(releases=figures.releases), _alarms(figures.alarms, figures.releases)]
    parts += [WORDS_ALARMS, _alarms(figures.others, figures.releases)]
    parts += [DETECTION.format(releases=figures.releases, step=LONG_STEP), _changes(figures.changes)]
    parts += [FIXED, _fixed(figures.changes), WORDS_FIXED]
    parts += [GOOD.format(releases=figures.good_releases, step=LONG_STEP, minutes=long_minutes), _good(figures.good)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def floors(figures: Figures) -> list[tuple[str, str, str, bool]]:
    """Return each floor: its subject, the wanted figure, the found one, and whether it is met."""
    alarms = next(iter(figures.alarms.values())) / figures.releases
    rows = [("releases without a change that are called worse", "at most 1 %", _percent(alarms), alarms <= MAX_ALARMS)]
    for each in figures.changes:
        times = each.platform.median / each.same
        about = f"{each.change.name}: requests, of a fixed-size test with the same promise"
        rows.append((about, "at most 2 times", f"{times:.2f}", times <= MAX_TIMES))
    return rows


def _floors(figures: Figures) -> str:
    rows = [[about, wanted, found, "yes" if met else "**no**"] for about, wanted, found, met in floors(figures)]
    return table(["floor", "wanted", "found", "met"], rows)


def _alarms(alarms: dict[str, int], releases: int) -> str:
    rows = [[name, f"{count:,}", _percent(count / releases)] for name, count in alarms.items()]
    return table(["", "releases", "of all"], rows)


def _changes(changes: tuple[Detection, ...]) -> str:
    rows = []
    for each in changes:
        cells = [f"{_requests(one.median)} ({_requests(one.late)})" for one in (each.platform, each.thresholds, each.gate)]
        rows.append([each.change.name, *cells])
    return table(["", "the platform's judge", "fixed thresholds", "Mann-Whitney gate every ten minutes"], rows)


def _fixed(changes: tuple[Detection, ...]) -> str:
    rows = []
    for each in changes:
        sizes = (each.same, each.alone, each.plain)
        cells = [f"{_requests(size)} ({each.platform.median / size:.2f})" for size in sizes]
        rows.append([each.change.name, *cells])
    head = ["", "same promise", "one metric, one look", "without tolerance"]
    return table(head, rows)


def _good(good: dict[str, Worse]) -> str:
    rows = [[name, _requests(each.median), _requests(each.late), _percent(each.found)] for name, each in good.items()]
    return table(["", "median", "nine tenths", "good in the end"], rows)


def _requests(number: float) -> str:
    return f"{round(number, -2):,.0f}" if math.isfinite(number) else "never"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
