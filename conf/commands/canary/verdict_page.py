"""A canary's verdicts as one HTML page that needs nothing else: what happened, and a curve of each metric.

Knows HTML, and what a verdict holds. Does not know where counts come from. All text from elsewhere is escaped.
"""

import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from conf.base.quantities import significant
from conf.canary.judging import MetricVerdict
from conf.commands.charts import Chart, document, figure
from conf.rollout.canary.journal import Journal
from conf.rollout.report import RegionResult, result_lines

GAP = 120.0  # seconds without a look after which a curve is broken: pods are made ready meanwhile


def write_page(file: Path | None, service: str, journals: Sequence[Journal], results: Sequence[RegionResult]) -> None:
    """Write the page of a command's canaries, where a file is named. results: how they came out. Raises OSError."""
    if file:
        file.write_text(page(service, journals, results, time.time()), encoding="utf-8")


def paged(
    file: Path | None, service: str, journals: Sequence[Journal], notify: Callable[[Sequence[RegionResult]], None]
) -> Callable[[Sequence[RegionResult]], None]:
    """Return a function that writes the page of a command's results, and passes them on."""

    def tell(results: Sequence[RegionResult]) -> None:
        write_page(file, service, journals, results)
        notify(results)

    return tell


def page(service: str, journals: Sequence[Journal], results: Sequence[RegionResult], made: float) -> str:
    """Return the page. made: when, in seconds since 1970."""
    outcomes = {each.region: list(result_lines(each)) for each in results}
    title = f"Canary of {service}"
    body = "".join(_region(each, outcomes.get(each.region, ())) for each in journals) or "<p>No canary was driven.</p>"
    return document(title, f"Made {_clock(made)} UTC. A green line is the begin of a step.", body)


def _region(journal: Journal, outcome: Sequence[str]) -> str:
    parts = [f"<h2>{escape(journal.region)}: {escape(journal.version)} beside {escape(journal.old_version)}</h2>"]
    parts.append(_list("Outcome", outcome))
    for number, step in enumerate(journal.verdicts, 1):
        parts.append(_list(f"The verdict on step {number}, at {step.share} %: {step.state}", step.words))
    if journal.looks:
        parts += [_metric(journal, each.metric.name) for each in journal.looks[-1].verdict.metrics]
    parts.append(_list("What happened", [f"{_clock(at)} {words}" for at, words in journal.lines]))
    return "".join(parts)


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(each.strip())}</li>" for each in lines)
    return f"<h3>{escape(title)}</h3><ul>{items}</ul>\n" if lines else ""


def _metric(journal: Journal, name: str) -> str:
    """Return the two curves of a metric: how sure it is that it is worse, and by how much it may be at most."""
    found = [(look.at, each) for look in journal.looks for each in look.verdict.metrics if each.metric.name == name]
    steps = {look.step: look for look in reversed(journal.looks)}
    marks = [(look.at, f"{look.share} %") for look in steps.values()]
    newest: MetricVerdict = found[-1][1]
    threshold = math.log10(newest.threshold)
    evidence = [(at, max(0.0, each.log_evidence / math.log(10))) for at, each in found]
    most = [(at, 100 * max(0.0, each.most_worse)) for at, each in found]
    margin = 100 * newest.metric.margin
    charts = (
        Chart("Evidence that it is worse", evidence, _power, (threshold, "worse"), marks, every=GAP),
        Chart("Most by which it may be worse", most, _points, (margin, f"good below {margin:g}"), marks, every=GAP),
    )
    start, end = journal.looks[0].at, journal.looks[-1].at
    return f"<h3>{escape(name)}</h3>{''.join(figure(each, start, end) for each in charts)}\n"


def _power(value: float) -> str:
    return f"{10**value:,.0f}" if value < 6 else f"10^{value:.0f}"


def _points(value: float) -> str:
    return f"{significant(value, 2)} points"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
