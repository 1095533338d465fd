"""The parts of `monopod deploy` that are about a canary: its flags, `--continue`, and the page of its verdicts.

The page is one HTML file that needs nothing else. All text from elsewhere is escaped.
"""

import math
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from conf.base.console import BAD_COMMAND_LINE, Mistakes
from conf.base.quantities import significant
from conf.canary.verdict import MetricVerdict
from conf.commands.arguments import progress_of
from conf.commands.charts import Chart, document, figure
from conf.commands.deploy_message import Operation, notifier
from conf.rollout.canary.driver import Order, go_on
from conf.rollout.canary.judge import Judge
from conf.rollout.canary.state import Journal, Rules
from conf.rollout.release import NoRelease
from conf.rollout.report import NO_RELEASE, RegionResult, exit_status, result_lines, run_in_order
from conf.rollout.targets import RegionTrack, Target, deployer, target_of

TRACK = "prod"  # the only one that has users to give a share of
USUAL = (5, 25, 50)  # the shares that --canary without a value means, where value.py has none
NOT_THERE = "not there"
GAP = 120.0  # seconds without a look after which a curve is broken: pods are made ready meanwhile


def check_flags(arguments: Namespace) -> None:
    """Raise Mistakes where flags of a canary do not go together with others."""
    if arguments.goes_on and arguments.image:
        raise Mistakes(["--continue goes on with the image that the canary has: leave --image out"], BAD_COMMAND_LINE)
    if arguments.track != TRACK and (arguments.canary or arguments.goes_on):
        flag = "--continue" if arguments.goes_on else "--canary"
        raise Mistakes([f"{flag} is for prod alone: {arguments.track} has no requests of users to share"], BAD_COMMAND_LINE)


def shares_of(each: RegionTrack, arguments: Namespace) -> tuple[int, ...]:
    """Return the shares of a canary in percent, a step each; () for an ordinary release."""
    if each.track != TRACK:
        return ()
    if arguments.canary is None or arguments.canary is True:
        return each.settings.canary or (USUAL if arguments.canary else ())
    return tuple(arguments.canary)


def order_of(each: RegionTrack, target: Target, shares: tuple[int, ...], journal: Journal) -> Order:
    """Return the order to drive a canary of a track in a region."""
    settings = each.settings
    rules = Rules(settings.canary_step_second, settings.canary_undecided, target.pod_timeout)
    return Order(shares, rules, Judge(each.region, target.namespace, target.service, settings), journal)


def continue_canaries(arguments: Namespace, chosen: Sequence[RegionTrack]) -> int:
    """Resume each canary that was held or broken off, and return the exit status."""
    journals: list[Journal] = []

    def act(each: RegionTrack) -> RegionResult:
        say = progress_of(each.region.name, arguments)
        target, journal = target_of(each, arguments, say), Journal(each.region.name)
        journals.append(journal)
        try:
            done = go_on(target, order_of(each, target, (), journal), say)
        except NoRelease as error:
            return RegionResult(each.region.name, each.track, NOT_THERE, words=str(error))
        return RegionResult(each.region.name, each.track, "deployed", done.release.version)

    operation = Operation("deploy", chosen[0].name, arguments.track, deployer())
    results = run_in_order(arguments, chosen, act, paged(arguments.html, chosen[0].name, journals, notifier(operation)))
    return exit_status(results) or (NO_RELEASE if all(each.state == NOT_THERE for each in results) else 0)


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
