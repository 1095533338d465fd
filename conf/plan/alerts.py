"""Alert rules: the platform's rules for every service, and the rules that a service adds in alerts.yaml.

Knows the names of the runtime's metrics. Does not know where Prometheus runs.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conf.base.value_kinds import ALERT, DURATION, TEXT, TEXTS
from conf.base.yaml_settings import FileError, List, Reader, Table, yaml_field
from conf.base.yamls import compose
from serving.settings import UnreadableError, text_of

FILE = "alerts.yaml"
LARGEST_FILE = 64  # KiB, enough for some hundred rules
SIMPLE = re.compile(r"[\w-]*(\.[*+])?[\w-]*")  # any other pattern is not judged: to match it may take for ever


@dataclass(frozen=True)
class Alert:
    """One rule, in the form of Prometheus."""

    alert: str = yaml_field(ALERT, "The alert's name.")
    expr: str = yaml_field(TEXT, "PromQL that returns something while the alert is to fire.")
    for_: str = yaml_field(DURATION, "The time for which it must hold before it fires.", "0s")
    labels: Mapping[str, str] = yaml_field(TEXTS, "Labels such as severity.", {})
    annotations: Mapping[str, str] = yaml_field(TEXTS, "Texts for a person.", {})


@dataclass(frozen=True)
class Group:
    """A named list of rules."""

    name: str = yaml_field(TEXT, "The group's name.")
    rules: tuple[Alert, ...] = yaml_field(List(Alert), "The group's rules.")


@dataclass(frozen=True)
class File:
    """alerts.yaml, in the form that promtool checks."""

    groups: tuple[Group, ...] = yaml_field(List(Group), "Groups of rules.")


class AlertsError(FileError):
    """alerts.yaml cannot be used."""


def load(service: Path) -> tuple[Alert, ...]:
    """Return a service's own rules, none without an alerts.yaml. service: its folder. Raises AlertsError with every mistake."""
    path = service / FILE
    if not os.path.lexists(path):
        return ()
    try:
        text = text_of(path, LARGEST_FILE)
    except UnreadableError as error:
        raise AlertsError([f"{FILE}: {error}; save it anew as text, or delete it"]) from None
    return read(text)


def read(text: str) -> tuple[Alert, ...]:
    """Return the rules in the text of an alerts.yaml, none for comments alone. Raises AlertsError with every mistake."""
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.splitlines()):
        return ()
    root, mistakes = compose(text)
    reader = Reader(FILE, mistakes)
    found = reader.read(Table(File), root, "") if root else None
    if reader.mistakes or not isinstance(found, File):
        raise AlertsError(reader.sentences())
    return tuple(rule for group in found.groups for rule in group.rules)


def copied_rule_warnings(rules: Sequence[Alert], name: str, namespaces: Sequence[str]) -> list[str]:
    """Return a warning for each rule that asks only for other services or namespaces, or for all namespaces.

    A service that began as a copy has rules that ask for the service it was copied from.
    name: the service's own. namespaces: of its tracks, prod first.
    """
    found = []
    for rule in rules:
        service, place = (_asked(rule.expr, label) for label in ("service", "namespace"))
        if service and not any(_admits(each, name) for each in service):
            found.append(_never(rule, "service", service[0], name))
        if place and not any(_admits(each, one) for each in place for one in namespaces):
            found.append(_never(rule, "namespace", place[0], namespaces[0]))
        if service and not place:
            found.append(
                f"{FILE}: {rule.alert} asks for no namespace, so that what the tracks grey and ab do makes it fire too; write "
                f'namespace="{namespaces[0]}" beside service'
            )
    return found


def _asked(expr: str, label: str) -> list[tuple[str, str]]:
    """Return the matchers of a label in an expression, each as operator, = or =~, and text."""
    return re.findall(rf"""\b{label}(=~?)["']([^"']*)["']""", expr)


def _admits(asked: tuple[str, str], name: str) -> bool:
    sign, text = asked
    if sign == "=":
        return name == text
    each = text.split("|")
    return not all(map(SIMPLE.fullmatch, each)) or any(re.fullmatch(one, name) for one in each)


def _never(rule: Alert, label: str, asked: tuple[str, str], name: str) -> str:
    """Return the warning about a rule whose matchers all name another service or namespace."""
    return (
        f'{FILE}: {rule.alert} asks for {label}{asked[0]}"{asked[1]}", and this one is {name}: the rule would '
        f'never fire for it; write {label}="{name}"'
    )


def labelled(rule: Alert, name: str, namespace: str, track: str) -> Alert:
    """Return a rule with the labels by which Alertmanager tells services and tracks apart. The rule's own labels win."""
    return replace(rule, labels={"namespace": namespace, "service": name, "track": track, **rule.labels})


def platform_alerts(name: str, namespace: str, timeout: float) -> tuple[Alert, ...]:
    """Return the platform's rules for one track of a service, without the labels that labelled adds. timeout: seconds.

    No rule counts errors that clients cause: malformed requests, slow uploads, deadlines too short for any answer.
    """
    where = f'namespace="{namespace}",service="{name}"'
    answers = f"sum(rate(monopod_requests_total{{{where}}}[5m]))"
    errors = f'sum(rate(monopod_requests_total{{{where},code=~"5..",reason!="short_deadline"}}[5m]))'
    refused = f'sum(rate(monopod_shed_total{{{where},reason="queue_full"}}[5m]))'
    slow = f"histogram_quantile(0.99, sum by (le) (rate(monopod_answer_duration_seconds_bucket{{{where}}}[5m])))"
    ready = f"(sum(monopod_ready{{{where}}}) or vector(0))"
    restarts = f"changes(process_start_time_seconds{{{where}}}[30m])"
    failing = f"max by (pod, file) (monopod_reload_failed{{{where}}})"
    reload_words = "a changed file cannot be loaded and the older one is used, the log tells why"
    rules = (
        ("NoPodAnswers", f"{ready} < 1", "2m", "critical", "no pod is ready"),
        ("ServerErrors", f"{errors} > 0.01 * {answers}", "5m", "critical", "over 1 % of the answers are 5xx"),
        ("Overloaded", f"{refused} > 0", "10m", "warning", "requests are refused, add pods"),
        ("Slow", f"{slow} > {0.8 * timeout:.4g}", "10m", "warning", "the slowest requests come near the deadline"),
        ("Restarts", f"{restarts} > 2", "0s", "warning", "a pod restarts again and again"),
        ("ReloadFailing", f"{failing} > 0", "1m", "warning", reload_words),
    )
    return tuple(
        Alert(alert, expr, for_, {"severity": severity}, {"summary": f"{namespace}/{name}: {words}"})
        for alert, expr, for_, severity, words in rules
    )
