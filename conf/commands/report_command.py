"""`monopod report`: the last days of a service, and what to change, as text, as JSON, or as a page."""

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from html import escape
from pathlib import Path

from conf.base.console import Mistakes, printable, prints_mistakes
from conf.base.quantities import GIB, counted, duration, money, percent, readable_bytes, significant
from conf.commands.arguments import load_regions
from conf.commands.charts import HOUR, Chart, document, figure, moment
from conf.commands.health_command import EXIT_STATUS
from conf.commands.observed_tracks import observed_tracks
from conf.observe.figures import ObservedTrack
from conf.observe.health import UNKNOWN
from conf.observe.service_report import Hour, Objective, RegionReport, SeenRelease, advice, region_report
from conf.plan.placement import monthly_price
from conf.remote.cluster import Cluster, ClusterError
from conf.remote.parallel import TooSlow, ask_all
from conf.rollout.history import Release, UnreadableHistory
from conf.rollout.preflight import load_history
from conf.rollout.targets import Target

REPORT_SECONDS = 120.0  # for a region: some twenty questions


@prints_mistakes
def report_command(arguments: Namespace) -> int:
    """Print the report or write its page. Return 42 where a region has no figures, else 0."""
    watched = observed_tracks(arguments)
    reports = _reports(watched, arguments.days, load_regions(arguments).currency)
    told = [
        (report, advice(report, each.settings, partial(_price, each))) for each, report in zip(watched, reports, strict=True)
    ]
    if arguments.html:
        of = watched[0].settings
        title = f"{of.service_name} of {of.username}: the last {arguments.days} days"
        _write(arguments.html, page(title, told, time.time()))
    if arguments.json:
        print(json.dumps([{**asdict(report), "advice": found} for report, found in told], indent=2))
    elif not arguments.html:
        print("\n".join(printable(line) for each in told for line in lines(*each)))
    for report in reports:
        if report.trouble and arguments.html:
            print(printable(f"{report.region}, {report.workload}: {report.trouble}"), file=sys.stderr)
    return EXIT_STATUS[UNKNOWN] if any(report.trouble for report in reports) else 0


def _reports(watched: Sequence[ObservedTrack], days: int, currency: str) -> list[RegionReport]:
    keys = [(each.region.name, each.track, each.offline) for each in watched]
    asks = {key: partial(_report, each, days, currency) for key, each in zip(keys, watched, strict=True)}
    answers = ask_all(asks, REPORT_SECONDS)
    for error in answers.failed.values():
        if not isinstance(error, TooSlow):
            raise error
    late = str(TooSlow(REPORT_SECONDS))
    return [answers.found.get(key) or RegionReport(*key[:2], late, offline=key[2]) for key in keys]


def _report(watched: ObservedTrack, days: int, currency: str) -> RegionReport:
    found = region_report(watched, days, _price(watched, watched.settings.memory), currency)
    releases = () if found.trouble else _releases(watched, time.time() - days * 86400)
    return replace(found, releases=releases or found.releases)


def _releases(watched: ObservedTrack, since: float) -> tuple[SeenRelease, ...]:
    """Return the releases that the history keeps; none where it cannot be read, since the metrics name versions too."""
    try:
        history = load_history(Target(Cluster(watched.region.context), watched.namespace, watched.settings.service_name), "")
    except (ClusterError, UnreadableHistory):
        return ()
    found = ((datetime.fromisoformat(each.at).timestamp(), each) for each in history.releases if each.at)
    return tuple(SeenRelease(at, each.version, release_words(each)) for at, each in found if at >= since)


def release_words(release: Release) -> str:
    return ", ".join(filter(None, (f"by {release.by}", release.state, release.note)))


def _price(watched: ObservedTrack, memory: str) -> float | None:
    """Return the price of a pod for a month with another memory, None where no node takes it."""
    return monthly_price(replace(watched.settings, memory=memory), watched.region, watched.own_pod)


def _write(file: Path, text: str) -> None:
    """Write a page as a whole or not at all."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise Mistakes([f"--html {file}: {error.strerror}"]) from error
    finally:
        beside.unlink(missing_ok=True)


def sections(report: RegionReport, advice: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each section's title and its lines. The page for a browser has the same sections."""
    if report.trouble:
        yield "No figures", [report.trouble]
        return
    yield from _of_records(report) if report.offline else _of_requests(report)
    releases = [f"{moment(each.at)}  {each.version}  {each.words}".rstrip() for each in report.releases]
    yield "Releases", releases or ["none in these days"]
    refusals = [f"{number:,.0f} {reason}" for reason, number in sorted(report.refusals.items(), key=lambda item: -item[1])]
    yield "Dead letters" if report.offline else "Refusals", refusals or ["none"]
    yield "Memory", [_memory(report)]
    yield "Cost", [_cost(report)]
    yield "What to change", list(advice)


def _of_requests(report: RegionReport) -> Iterator[tuple[str, list[str]]]:
    yield "Traffic", [*_traffic(report, "requests")]
    yield "Objectives", [_objective(each) for each in report.objectives]
    yield "Slowest hours", [_hour(each) for each in report.slowest] or ["no hour with requests"]


def _of_records(report: RegionReport) -> Iterator[tuple[str, list[str]]]:
    yield "Records", [*_traffic(report, "records")]
    worst = max(report.hours, key=lambda hour: hour.lag or 0.0)
    yield "Lag", [f"at most {worst.lag or 0.0:,.0f} records waited, in the hour to {moment(worst.at)}"]


def lines(report: RegionReport, advice: Sequence[str]) -> list[str]:
    found = [f"{report.region}, {report.workload}"]
    for title, words in sections(report, advice):
        found += [f"  {title}", *(f"    {each}" for each in words)]
    return found


def _traffic(report: RegionReport, what: str) -> Iterator[str]:
    """Yield how many requests or records there were. what: these words."""
    busiest = max(report.hours, key=lambda hour: hour.requests or 0.0)
    begin = moment(report.hours[0].at - HOUR)
    yield f"{report.total('requests'):,.0f} {what} in {counted(len(report.hours), 'hour')}, since {begin}"
    if busiest.requests:
        most = f"{busiest.requests:,.0f} {what}, {significant(busiest.requests / 3600)} a second"
        yield f"the busiest hour ended {moment(busiest.at)}: {most}"


def _objective(objective: Objective) -> str:
    wanted = f"{100 * objective.wanted:g} % of the {objective.words}"
    if objective.found is None:
        return f"no requests: {wanted}"
    used = f"{100 * (objective.budget_used or 0.0):.0f} % of what it lets fail"
    return f"{'kept' if objective.kept else 'MISSED'}: {wanted}; found {100 * objective.found:.4g} %, {used}"


def _hour(hour: Hour) -> str:
    halves = f"95 % within {duration(hour.p95)}, half within {duration(hour.p50)}"
    return f"to {moment(hour.at)}: {halves}, {hour.requests or 0:,.0f} requests"


def _memory(report: RegionReport) -> str:
    peak = report.peak("memory")
    if peak is None:
        return "not measured"
    return f"peak {readable_bytes(peak)} of {readable_bytes(report.memory)} declared, {percent(peak / report.memory)}"


def _cost(report: RegionReport) -> str:
    if report.price == 0:
        return "not known: the nodes of regions.yaml that take a pod have the price 0"
    if report.cost is None or report.price is None:
        return "not known: no kind of node of regions.yaml takes a pod"
    pods = significant(report.total("pods") / len(report.hours))
    each = f"{pods} ready {'pod' if pods == '1' else 'pods'} on average, each {money(report.price, report.currency)} a month"
    return f"{money(report.cost, report.currency)} in {counted(len(report.hours), 'hour')}: {each}"


def page(title: str, reports: Sequence[tuple[RegionReport, Sequence[str]]], made: float) -> str:
    """Return a page of HTML. reports: each with its advice. made: when, in seconds since 1970."""
    body = "".join(_region(report, advice) for report, advice in reports)
    return document(title, f"Made {moment(made)}. A green line is a release.", body)


def _region(report: RegionReport, advice: Sequence[str]) -> str:
    parts = [f"<h2>{escape(report.region)}, {escape(report.workload)}</h2>"]
    pictures = _pictures(report) if report.hours else {}
    for title, words in sections(report, advice):
        parts.append(f"<h3>{escape(title)}</h3>")
        parts += pictures.get(title, [])
        parts.append("<ul>" + "".join(f"<li>{escape(each)}</li>" for each in words) + "</ul>\n")
    return "".join(parts)


def _pictures(report: RegionReport) -> dict[str, list[str]]:
    """Return the pictures by the title of their section."""
    start, end, step = report.points[0].at - report.step, report.points[-1].at, report.step
    each = "an hour" if step == HOUR else f"in {counted(step // 60, 'minute')}"
    marks = [(each.at, f"{moment(each.at)}: {each.version}") for each in report.releases]

    def points(name: str) -> list[tuple[float, float]]:
        return [(hour.at, value) for hour in report.points if (value := getattr(hour, name)) is not None]

    def bars(title: str, name: str) -> list[Chart]:
        return [Chart(title, points(name), significant, marks=marks, bars=True, every=step)]

    limit = (report.memory, f"{readable_bytes(report.memory)} declared")
    charts = {
        "Traffic": bars(f"Requests {each}", "requests"),
        "Records": bars(f"Records {each}", "requests"),
        "Lag": bars("The most records that waited", "lag"),
        "Dead letters": bars(f"Dead letters {each}", "failed"),
        "Objectives": bars(f"Requests that failed {each}", "failed"),
        "Slowest hours": [Chart("Time of 95 % of the answers", points("p95"), duration, marks=marks, every=step)],
        "Memory": [Chart("Memory of the largest pod", points("memory"), readable_bytes, limit, marks, every=step, unit=GIB)],
    }
    return {title: [figure(each, start, end) for each in found] for title, found in charts.items()}
