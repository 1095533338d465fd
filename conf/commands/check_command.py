"""`monopod check`: print every mistake of a service, or what runs where and what it costs."""

import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict

from conf.base.console import Mistakes, prints_mistakes, table
from conf.base.quantities import counted, money
from conf.clusters.regions import Regions
from conf.commands.arguments import load_regions
from conf.plan.plan import TRACKS
from conf.rules.check import Report, Row, check
from conf.rules.other_services import OtherService, other_services

OFFLINE_HEAD = ("region", "track", "offline pods", "source", "group", "sinks", "dead letters")
HEAD = ("region", "track", "pods", "cpu", "memory", "GPU GiB", "answers at", "a month")
NUMBERS = ("pods", "offline pods", "cpu", "memory", "GPU GiB", "a month")


@prints_mistakes
def check_command(arguments: Namespace) -> int:
    """Print a service's report, and return 1 where it has mistakes."""
    regions = load_regions(arguments)
    others: tuple[OtherService, ...] = ()
    warnings: tuple[str, ...] = ()
    if arguments.others:
        if not arguments.others.is_dir():
            raise Mistakes([f"--others: {arguments.others} is not a folder; name one that holds a folder for each service"])
        others, warnings = other_services(arguments.others, arguments.service, regions)
    tracks = (arguments.track,) if arguments.track else TRACKS
    report = check(arguments.service, regions, tracks, arguments.image, others)
    report.warnings.extend(warnings)
    print(_as_json(report, regions) if arguments.json else "".join(_paragraphs(report, regions)), end="")
    return 1 if report.mistakes else 0


def _as_json(report: Report, regions: Regions) -> str:
    found = {
        "mistakes": report.mistakes,
        "warnings": report.warnings,
        "currency": regions.currency,
        "runs": [asdict(row) for row in report.rows],
        **_own_names(report),
    }
    return json.dumps(found, indent=2) + "\n"


def _paragraphs(report: Report, regions: Regions) -> Iterator[str]:
    if report.mistakes:
        yield "".join(f"{line}\n" for line in (*report.mistakes, *(f"note: {warning}" for warning in report.warnings)))
        yield f"{counted(len(report.mistakes), 'mistake')}; nothing may be applied\n"
        return
    rows = [
        (
            row.region,
            row.track,
            str(row.replicas),
            f"{row.cpu:g}",
            row.memory,
            f"{row.gpu_memory:g}",
            ", ".join(row.answers),
            "-" if row.price is None else money(row.price, regions.currency),
        )
        for row in report.rows
    ]
    yield table(HEAD, rows, NUMBERS)
    offline = [
        (row.region, row.track, str(of.replicas), of.source, of.group, ", ".join(of.sinks), f"kafka:{of.dead_letters}")
        for row in report.rows
        if (of := row.offline)
    ]
    yield "\n" + table(OFFLINE_HEAD, offline, NUMBERS) if offline else ""
    hours = "".join(map(_hours, report.rows))
    yield "\n" + hours if hours else ""
    names = "".join(f"{what}: {', '.join(own)}\n" for what, own in _own_names(report).items() if own)
    yield "\n" + names if names else ""
    total = sum(row.price for row in report.rows if row.track == "prod" and row.price is not None)
    yield f"\nprod costs {money(total, regions.currency)} a month; grey and ab cost while they run\n"
    yield "".join(f"note: {warning}\n" for warning in report.warnings)


def _own_names(report: Report) -> dict[str, list[str]]:
    """Return the names of the alerts and the titles of the panels that a service brings."""
    own = report.service.own if report.service else None
    return {
        "alerts": [each.alert for each in own.alerts] if own else [],
        "panels": [each.title for each in own.panels] if own else [],
    }


def _hours(row: Row) -> str:
    """Return a line on the hours of a row, "" where it has none."""
    if row.hours is None:
        return ""
    hours, mean = ", ".join(row.hours.hours), f"{row.hours.mean_pods:.1f}"
    return f"{row.region}: pods {hours} ({row.hours.timezone}), else {row.replicas}; {mean} on average\n"
