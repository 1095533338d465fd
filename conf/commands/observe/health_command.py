"""`monopod health`: the figures of now judged once, for cron and for people.

Knows how a judgement looks, and its exit status. Does not know how figures are judged.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from conf.base.console import prints_mistakes
from conf.base.quantities import counted, significant
from conf.commands.observe.failure_causes import failure_causes
from conf.commands.observe.figures_table import duration
from conf.commands.observe.top_command import track_records
from conf.commands.observe.watching import watched_tracks, with_arms
from conf.observe.judgement import CRITICAL, TOO_NEW, UNKNOWN, WARNING, WELL, worst
from conf.observe.pod_logs.line_forms import printable
from conf.observe.region_figures import Sources

WINDOW = 300  # seconds that rates and quantiles of Prometheus are about
EXIT_STATUS = {WELL: 0, WARNING: 40, CRITICAL: 41, UNKNOWN: 42, TOO_NEW: 42}  # docs/observe.md lists them


@prints_mistakes
def health_command(arguments: Namespace) -> int:
    """Print a line for each reason for concern, or one that all is well; return the gravest level's exit status."""
    watched = with_arms(watched_tracks(arguments))
    records = track_records(watched, Sources([each.region for each in watched], WINDOW).ask(watched), failure_causes)
    if arguments.json:
        print(json.dumps(records, indent=2))
    else:
        for line in (line for record in records for line in _lines(record)):
            print(printable(line))
        for record in records:
            if record["note"]:
                words = f"{_where(record)}: from {record['source']}: {record['note']}"
                print(printable(words), file=sys.stderr)
        for words in dict.fromkeys(f"{record['region']}: {record['unseen']}" for record in records if record["unseen"]):
            print(printable(words), file=sys.stderr)
    return EXIT_STATUS[worst([record["level"] for record in records])]


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    where = _where(record)
    for reason in record["reasons"]:
        yield f"{where}: {reason['level']}: {reason['words']}"
        yield from (f"{where}: 5xx: {words}" for words in record["causes"] if reason["fails"])
    if not record["reasons"]:
        rate = sum(pod["rate"] or 0.0 for pod in record["pods"])
        slowest = f", 95 % of them within {duration(record['p95'])}" if record["p95"] is not None else ""
        pods = counted(len(record["pods"]), "pod")
        what = "records" if record["offline"] else "requests"
        yield f"{where}: {WELL}: {pods}, {significant(rate)} {what} a second{slowest}{_waiting(record)}"


def _where(record: Mapping[str, Any]) -> str:
    kind = "offline" if record["offline"] else record["arm"]
    return f"{record['region']}, {record['track']}{' ' if kind else ''}{kind}"


def _waiting(record: Mapping[str, Any]) -> str:
    lag = sum(pod["queue_rows"] or 0.0 for pod in record["pods"])
    return f", {lag:.0f} wait" if record["offline"] else ""
