"""Alert rules: the platform's for every service, and what a service adds in alerts.yaml.

Knows the runtime's metrics by name. Does not know where Prometheus runs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.fields import List, Reader, Table, said
from conf.words import ALERT, DURATION, TEXT, TEXTS
from conf.yamls import compose

FILE = "alerts.yaml"
SERVICE = re.compile(r"""\bservice(=~?)["']([^"']*)["']""")  # what an expression asks of the label


@dataclass(frozen=True)
class Alert:
    """One rule as Prometheus has it."""

    alert: str = said(ALERT, "The alert's name.")
    expr: str = said(TEXT, "PromQL that finds something when it fires.")
    for_: str = said(DURATION, "How long it must hold.", "0s")
    labels: Mapping[str, str] = said(TEXTS, "Labels such as severity.", {})
    annotations: Mapping[str, str] = said(TEXTS, "Words for a person.", {})


@dataclass(frozen=True)
class Group:
    """A named list of rules."""

    name: str = said(TEXT, "The group's name.")
    rules: tuple[Alert, ...] = said(List(Alert), "Its rules.")


@dataclass(frozen=True)
class File:
    """alerts.yaml, in the form that promtool checks."""

    groups: tuple[Group, ...] = said(List(Group), "Groups of rules.")


class AlertsError(Exception):
    """alerts.yaml cannot be used. mistakes: a line each, `alerts.yaml:7: what is wrong; what to do`."""

    def __init__(self, mistakes: list[str]):
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


def load(service: Path) -> tuple[Alert, ...]:
    """Read a service's own rules; none where it has no alerts.yaml. Raises AlertsError with every mistake."""
    path = service / FILE
    if not path.exists():
        return ()
    try:
        return read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise AlertsError([f"{FILE}: cannot be read as UTF-8 text; save it anew, or delete it"]) from None


def read(text: str) -> tuple[Alert, ...]:
    """Read the text of an alerts.yaml; one with comments alone holds no rules."""
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.splitlines()):
        return ()
    root, mistakes = compose(text)
    reader = Reader(FILE, mistakes)
    found = reader.take(Table(File), root, "") if root else None
    if reader.mistakes or not isinstance(found, File):
        raise AlertsError(reader.sentences())
    return tuple(rule for group in found.groups for rule in group.rules)


def strangers(rules: Sequence[Alert], name: str) -> list[str]:
    """Return a warning for each rule that asks for other services alone, as one does that was copied with its service."""
    found = []
    for rule in rules:
        asked = SERVICE.findall(rule.expr)
        if asked and not any(name == text if sign == "=" else re.fullmatch(text, name) for sign, text in asked):
            found.append(
                f'{FILE}: {rule.alert} asks for service{asked[0][0]}"{asked[0][1]}", and this one is {name}: the rule would '
                f'never fire for it; write service="{name}"'
            )
    return found


def own_alerts(name: str, namespace: str, timeout: float) -> tuple[Alert, ...]:
    """Return the platform's rules for one track of a service."""
    where = f'namespace="{namespace}",service="{name}"'
    answers = f"sum(rate(monopod_requests_total{{{where}}}[5m]))"
    errors = f'sum(rate(monopod_requests_total{{{where},code=~"5.."}}[5m]))'
    slow = f"histogram_quantile(0.99, sum by (le) (rate(monopod_request_duration_seconds_bucket{{{where}}}[5m])))"

    def rule(alert: str, expr: str, for_: str, severity: str, words: str) -> Alert:
        return Alert(alert, expr, for_, {"severity": severity}, {"summary": f"{namespace}/{name}: {words}"})

    return (
        rule("NoPodAnswers", f"(sum(monopod_ready{{{where}}}) or vector(0)) < 1", "2m", "critical", "no pod is ready"),
        rule("ServerErrors", f"{errors} > 0.01 * {answers}", "5m", "critical", "over 1 % of the answers are 5xx"),
        rule(
            "Overloaded",
            f"sum(rate(monopod_shed_total{{{where}}}[5m])) > 0",
            "10m",
            "warning",
            "requests are refused, add pods",
        ),
        rule("Slow", f"{slow} > {0.8 * timeout:.4g}", "10m", "warning", "the slowest requests come near the deadline"),
        rule(
            "Restarts",
            f"changes(process_start_time_seconds{{{where}}}[30m]) > 2",
            "0s",
            "warning",
            "a pod restarts again and again",
        ),
        rule(
            "ReloadFailing",
            f"max by (pod, file) (monopod_reload_failed{{{where}}}) > 0",
            "1m",
            "warning",
            "a changed file cannot be loaded and the older one is used, the log tells why",
        ),
    )
