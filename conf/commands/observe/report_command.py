"""`monopod report`: the last days of a service, and what to change.

Knows where a report goes: the terminal, a program, a page. Does not know how it is made or judged.
"""

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from conf.base.console import Mistakes, prints_mistakes
from conf.commands.choices import load_regions
from conf.commands.observe.health_command import EXIT_STATUS
from conf.commands.observe.report_page import page
from conf.commands.observe.report_text import lines
from conf.commands.observe.watching import watched_tracks
from conf.observe.advice import advice
from conf.observe.gathering import TooSlow, gathered
from conf.observe.judgement import UNKNOWN
from conf.observe.pod_logs.line_forms import printable
from conf.observe.region_figures import ObservedTrack
from conf.observe.report_figures import RegionReport, SeenRelease, region_report
from conf.plan.placement import monthly_price
from conf.remote.cluster import Cluster, ClusterError
from conf.rollout.history import UnreadableHistory
from conf.rollout.preflight import load_history
from conf.rollout.targets import Target

REPORT_SECONDS = 120.0  # for a region: some twenty questions


@prints_mistakes
def report_command(arguments: Namespace) -> int:
    """Print the report or write its page. Return 42 where a region has no figures, else 0."""
    watched = watched_tracks(arguments)
    reports = _reports(watched, arguments.days, load_regions(arguments).currency)
    told = [
        (report, advice(report, each.settings, partial(_price, each))) for each, report in zip(watched, reports, strict=True)
    ]
    if arguments.html:
        _write(arguments.html, page(_title(watched, arguments.days), told, time.time()))
    if arguments.json:
        print(json.dumps([{**asdict(report), "advice": found} for report, found in told], indent=2))
    elif not arguments.html:
        print("\n".join(printable(line) for each in told for line in lines(*each)))
    for report in reports:
        if report.trouble and arguments.html:
            print(printable(f"{report.region}, {report.half}: {report.trouble}"), file=sys.stderr)
    return EXIT_STATUS[UNKNOWN] if any(report.trouble for report in reports) else 0


def _reports(watched: Sequence[ObservedTrack], days: int, currency: str) -> list[RegionReport]:
    keys = [(each.region.name, each.track, each.offline) for each in watched]
    asks = {key: partial(_report, each, days, currency) for key, each in zip(keys, watched, strict=True)}
    answers = gathered(asks, REPORT_SECONDS)
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
    return tuple(
        SeenRelease(at, each.version, f"by {each.by}, {each.state} {each.note}".rstrip()) for at, each in found if at >= since
    )


def _price(watched: ObservedTrack, memory: str) -> float | None:
    """Return the price of a pod for a month with another memory, None where no node takes it."""
    return monthly_price(replace(watched.settings, memory=memory), watched.region)


def _title(watched: Sequence[ObservedTrack], days: int) -> str:
    settings = watched[0].settings
    return f"{settings.service_name} of {settings.username}: the last {days} days"


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
